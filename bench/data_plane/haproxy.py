"""A pair of HAProxies with mutual TLS between, each of which proves who it is; the server lets in the client alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.data_plane import certificates
from bench.data_plane.certificates import SERVER_NAME
from bench.data_plane.ground import Ground, Standing, at
from bench.data_plane.load import Protocol
from bench.data_plane.processes import LOOPBACK, free_ports, listens, pin, started

_COMMON = """
global
  nbthread 1
  maxconn 2000
defaults
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
"""
_IS_CLIENT = "{ ssl_c_verify 0 } { ssl_c_s_dn(cn) -m str client }"


@contextmanager
def stand(ground: Ground) -> Iterator[Standing]:
    folder = ground.folder / "haproxy"
    folder.mkdir()
    files = certificates.issued(folder)
    client, server = free_ports(2)
    tcp, h2 = ground.protocol is Protocol.TCP, ground.protocol is Protocol.GRPC
    mode = "tcp" if tcp else "http"
    plain = " proto h2" if h2 else ""
    alpn = "" if tcp else f" alpn {'h2' if h2 else 'http/1.1'}"
    shut = "tcp-request session reject" if tcp else "http-request deny"
    texts = {
        "server": f"""
listen server
  mode {mode}
  bind {LOOPBACK}:{server} ssl crt {files["server"].own} ca-file {files["server"].roots} verify required{alpn}
  {shut} unless {_IS_CLIENT}
  server app {LOOPBACK}:{ground.server}{plain}
""",
        "client": f"""
listen client
  mode {mode}
  bind {LOOPBACK}:{client}{plain}
  server server {LOOPBACK}:{server} ssl crt {files["client"].own} ca-file {files["client"].roots} verify required \
sni str({SERVER_NAME}) verifyhost {SERVER_NAME}{alpn}
""",
    }
    ports = {"server": server, "client": client}
    with ExitStack() as stack:
        proxies = []
        for name, text in texts.items():
            file, log = folder / f"{name}.cfg", folder / f"haproxy-{name}.log"
            file.write_text(_COMMON + text)
            command = ("haproxy", "-db", "-f", str(file))
            pid = stack.enter_context(started(command, log, ground.cores.proxies))
            listens(ports[name], pid, log)
            pin(pid, ground.cores.proxies)
            proxies.append(pid)
        yield Standing(target=at(client), proxies=tuple(proxies))
