"""Who may look: whoever opened the link that `plait dashboard` prints, in that browser.

The dashboard is served on the loopback, where any process and any page in a browser may try.  The link carries a
token; whoever brings it gets a cookie, and nothing else opens anything.  A page that got its own name to lead here
(DNS rebinding) still names itself in `Host`, and one that opens a WebSocket names itself in `Origin`.
"""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from plait.dashboard.address import TOKEN

COOKIE = "plait-dashboard"
_POLICY = (
    "default-src 'self'; connect-src 'self' {sockets}; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; "  # Vue compiles its templates in the browser
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; "
    "font-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TOLD = "open the link that `plait dashboard` printed: it has a token\n"
_ONCE_MORE = '<!doctype html><meta http-equiv="refresh" content="0"><title>Plait</title>'


class Guard:
    """ASGI around the dashboard; `place` is HOST:PORT, where it is served."""

    def __init__(self, app: ASGIApp, *, place: str, token: str) -> None:
        port = place.rpartition(":")[2]
        self._app = app
        self._hosts = {place, f"localhost:{port}"}
        self._token = token
        self._cookie = f"{COOKIE}-{port}"  # cookies know no ports, and there may be two meshes
        policy = _POLICY.format(sockets=" ".join(sorted(f"ws://{one}" for one in self._hosts)))
        self._headers = [
            (name.lower().encode(), value.encode())
            for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal is None:
            await self._app(scope, receive, self._with_headers(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(code=1008)(scope, receive, send)
        else:
            await refusal(scope, receive, self._with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        named = headers.getlist("host")
        if len(named) != 1 or named[0].lower() not in self._hosts:
            return PlainTextResponse("this is not the host that was asked for\n", 403)
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{one}" for one in self._hosts}:
            return PlainTextResponse("another site may not ask here\n", 403)
        if self._proves(_cookie(headers, self._cookie)):
            return None if TOKEN not in _query(scope) else self._let_in(scope)
        if scope["type"] == "http" and self._proves(_query(scope).get(TOKEN, "")):
            return self._let_in(scope)
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") == "navigate":
            return HTMLResponse(
                _ONCE_MORE, 401
            )  # a link elsewhere brings no strict cookie: from here it does
        return PlainTextResponse(_TOLD, 401)

    def _proves(self, shown: str) -> bool:
        return hmac.compare_digest(shown.encode(errors="replace"), self._token.encode())

    def _let_in(self, scope: Scope) -> Response:
        """The same place without the token, which is not to stay in the browser's history."""
        rest = urlencode({name: value for name, value in _query(scope).items() if name != TOKEN})
        response = RedirectResponse(f"/{scope['path'].lstrip('/')}{'?' if rest else ''}{rest}", 303)
        response.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
        return response

    def _with_headers(self, send: Send) -> Send:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *self._headers]}
            await send(message)

        return sent


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope.get("query_string", b"").decode(errors="replace")))


def _cookie(headers: Headers, name: str) -> str:
    return cookie_parser(headers.get("cookie", "")).get(name, "")
