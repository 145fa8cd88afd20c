"""The control plane as a process: `python -m plait.run.control_plane`, started by `plait up`.

It serves xDS with mutual TLS on a Unix socket (and on TCP when told to), the link and joins on two more, and its
HTTP API on a fourth (and on TCP when told to); all in the state directory, for the user who runs the mesh alone.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import grpc.aio

from plait.api.events import Events
from plait.api.listening import serving, serving_tcp
from plait.codec import CodecError
from plait.envoy import names
from plait.identity.authority import Authority, AuthorityError
from plait.identity.files import Insecure
from plait.identity.keys import validity
from plait.identity.tokens import Tokens
from plait.link.credentials import join_server_credentials, mtls_server_credentials
from plait.link.server import Link
from plait.link.transport import SERVER_OPTIONS, listen
from plait.model.settings import (
    CERTIFICATE_LIFETIME,
    LONGEST_CONNECTION,
    MeshSettings,
    OutboundTrafficPolicy,
)
from plait.run import views
from plait.run.custody import Custody
from plait.run.intake import Intake
from plait.run.loop import Loop
from plait.run.peers import authorize, sender
from plait.run.plane import ControlPlane
from plait.run.registry import Registry
from plait.run.rollouts.alerts import Alerts
from plait.run.rollouts.asking import Asking
from plait.run.rollouts.evidence import Evidence
from plait.run.rollouts.loop import Rollouts
from plait.run.rollouts.webhooks import Webhooks
from plait.run.signing import Signing
from plait.run.state_directory import StateDirectory
from plait.run.tracing import Tracing
from plait.sources.files.folder import Folder
from plait.telemetry.store import Store
from plait.xds.exports import Exports
from plait.xds.server import Server
from plait.xds.transport.listener import Listener
from plait.xds.transport.tls import mutual

log = logging.getLogger(__name__)

_LOOK = 1.0
"""Seconds between two looks at how busy the process is."""
_CALM, _BURST = 0.05, 1.0
"""Less than this part of a core is calm; so many seconds of CPU since the last time are a burst."""


def join_tokens(path: Path) -> Tokens:
    """The join tokens kept in a file; none when it is damaged: they can be made anew, a mesh can't wait for that."""
    try:
        return Tokens(path)
    except (Insecure, CodecError) as error:
        log.warning("every join token is forgotten: %s: %s", path, error)
        path.unlink()
        return Tokens(path)


async def serve(  # noqa: PLR0913 - what `plait up` may say
    state: StateDirectory,
    paths: Sequence[Path],
    settings: MeshSettings,
    *,
    address: str = "",
    api: str = "",
    own_authority: Path | None = None,
    prometheus: str = "",
) -> None:
    """Run until SIGTERM or SIGINT; `address` is HOST:PORT for xDS over TCP, `api` for the API, "" for none.

    `own_authority`: the folder of a user's own authority; `prometheus`: the URL of what is asked of traffic in place
    of the store.  AuthorityError.
    """
    trust_domain = settings.trust_domain
    state.create()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    authority = Authority.open(
        state.authority,
        trust_domain=trust_domain,
        now=time.time(),
        lifetime=settings.certificate_lifetime,
        folder=own_authority,
    )
    registry = Registry.load(state.control_plane / "registry.jsonl")
    custody = Custody(
        authority,
        registry,
        state.control_plane / "identity.json",
        tell=lambda trust: loop.link.trust(trust),  # noqa: PLW0108 - there is no loop yet
        present=lambda: loop.link.connected(),  # noqa: PLW0108
    )
    server = Server(
        lambda node, peer: authorize(registry, trust_domain, node, peer),
        expires=lambda peer: validity(peer.certificate.decode())[1],
        notify=lambda _, answer: loop.answered(answer),
    )
    loop = Loop(
        settings=settings,
        registry=registry,
        server=server,
        events=Events(),
        held_path=state.control_plane / "held.json",
    )
    tokens = join_tokens(state.control_plane / "tokens.json")
    tracing = Tracing(state.control_plane / "traces.db", lambda found: loop.notice("tracing", found))
    telemetry = Store(state.control_plane / "telemetry.db", partial(views.own_labels, registry))
    intake = Intake(registry, telemetry)
    signing = Signing(authority, tokens, registry, loop.doubts)
    plane = ControlPlane(loop, signing, custody, tracing, intake, telemetry, prometheus)
    loop.link = Link(plane, trust_domain=trust_domain)
    asking = Asking(evidence=Evidence(plane.queries()), webhooks=Webhooks(), alerts=Alerts())
    loop.rollouts = Rollouts(state.control_plane / "rollouts.json", asking, loop)
    loop.metrics.watch(server, loop.link, intake, loop.severities)
    folder = Folder(paths)
    loop.start(await asyncio.to_thread(folder.load))
    _keep_out_of_garbage_collection()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracing.close)
        exports = Exports(
            {**tracing.handlers, names.LOGS_PATH: loop.taps.take},
            lambda peer: sender(registry, trust_domain, peer),
        )
        proxies = Listener(server, mutual(custody.keypair), exports=exports)
        stack.push_async_callback(telemetry.close)
        stack.push_async_callback(proxies.close)
        # Open to every user, since each Envoy may have its own; the directories above it let nobody but ours through.
        await proxies.listen(state.xds_socket, mode=0o666)
        if address:
            await proxies.listen_tcp(address)
        for path, handlers, credentials in (
            (state.link_socket, loop.link.handlers(), mtls_server_credentials(custody.keypair)),
            (state.join_socket, loop.link.join_handlers(), join_server_credentials(custody.keypair)),
        ):
            one = grpc.aio.server(options=SERVER_OPTIONS)
            one.add_generic_rpc_handlers(handlers)
            listen(one, path, credentials)
            await one.start()
            stack.push_async_callback(one.stop, None)
        stack.push_async_callback(loop.link.close)
        stack.callback(server.close)
        if api:
            served = serving_tcp(plane, api, token=state.api_token, place=state.api_address)
            await stack.enter_async_context(served)
        await stack.enter_async_context(serving(plane, state.api_socket))
        log.info("serving %d documents from %s", len(loop.store.documents()), ", ".join(map(str, paths)))
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(loop.run()),
                tasks.create_task(loop.time_pushes()),
                tasks.create_task(loop.rollouts.run()),
                tasks.create_task(_watch(folder, loop)),
                tasks.create_task(custody.run()),
                tasks.create_task(tracing.run()),
                tasks.create_task(telemetry.run()),
                tasks.create_task(_give_back()),
            ]
            await stop.wait()
            for task in running:
                task.cancel()
        loop.events.close()
        loop.taps.close_all()


def _keep_out_of_garbage_collection() -> None:
    """What is known by now mostly stays, and what comes with each proxy stays for long: both are rarely looked through.

    A look at everything takes a third of a second with a thousand proxies, and would come in the midst of a change.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def _give_back() -> None:
    """After each burst of work, give what it has freed back to the system.

    The C library keeps it, between what is still used: 40 MB after a thousand proxies have connected at once.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    given, before = 0.0, time.process_time()
    while trim is not None:
        await asyncio.sleep(_LOOK)
        now = time.process_time()
        if now - before < _CALM * _LOOK and now - given > _BURST:
            trim(0)
            given = now = time.process_time()
        before = now


async def _watch(folder: Folder, loop: Loop) -> None:
    async for change in folder.watch():
        loop.changed(change)


def main() -> None:
    """Run as `plait up` calls it."""
    parser = argparse.ArgumentParser(prog="plait.run.control_plane")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--trust-domain", required=True)
    parser.add_argument("--listen", default="", metavar="HOST:PORT")
    parser.add_argument("--trust-domain-alias", action="append", default=[])
    parser.add_argument("--certificate-lifetime", type=float, default=CERTIFICATE_LIFETIME)
    parser.add_argument("--longest-connection", type=float, default=LONGEST_CONNECTION)
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--api", default="", metavar="HOST:PORT")
    parser.add_argument("--prometheus", default="", metavar="URL")
    parser.add_argument(
        "--outbound-traffic-policy",
        type=OutboundTrafficPolicy,
        choices=list(OutboundTrafficPolicy),
        default=OutboundTrafficPolicy.REGISTRY_ONLY,
    )
    parser.add_argument("paths", type=Path, nargs="+")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    settings = MeshSettings(
        trust_domain=arguments.trust_domain,
        trust_domain_aliases=tuple(arguments.trust_domain_alias),
        outbound_traffic_policy=arguments.outbound_traffic_policy,
        certificate_lifetime=arguments.certificate_lifetime,
        longest_connection=arguments.longest_connection,
    )
    state = StateDirectory(arguments.state_dir)
    try:
        asyncio.run(
            serve(
                state,
                arguments.paths,
                settings,
                address=arguments.listen,
                api=arguments.api,
                own_authority=arguments.ca,
                prometheus=arguments.prometheus,
            )
        )
    except AuthorityError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
