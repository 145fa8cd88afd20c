"""Who may join and who signs: tokens and the authority."""

from __future__ import annotations

from aiohttp import web

from plait.api.answers import answer
from plait.api.plane import Plane
from plait.api.targets import NotFound
from plait.api.views import AuthorityStatus, RotationRequest, TokenList, TokenRequest, TokenView
from plait.codec import Codec

_AUTHORITY: Codec[AuthorityStatus] = Codec(AuthorityStatus)
_ROTATION: Codec[RotationRequest] = Codec(RotationRequest)
_TOKEN_REQUEST: Codec[TokenRequest] = Codec(TokenRequest)
_TOKEN: Codec[TokenView] = Codec(TokenView)
_TOKENS: Codec[TokenList] = Codec(TokenList)


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/authority", paths.authority),
        web.post("/v1/authority/rotate", paths.rotate),
        web.get("/v1/tokens", paths.tokens),
        web.post("/v1/tokens", paths.create_token),
        web.delete("/v1/tokens/{id}", paths.revoke_token),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def authority(self, _request: web.Request) -> web.Response:
        return answer(_AUTHORITY, self._plane.authority())

    async def rotate(self, request: web.Request) -> web.Response:
        self._plane.rotate(_ROTATION.decode(await request.read()).what)
        return answer(_AUTHORITY, self._plane.authority(), status=202)

    async def tokens(self, _request: web.Request) -> web.Response:
        return answer(_TOKENS, TokenList(tokens=self._plane.tokens()))

    async def create_token(self, request: web.Request) -> web.Response:
        asked = _TOKEN_REQUEST.decode(await request.read())
        return answer(_TOKEN, self._plane.create_token(asked.agent, asked.lifetime), status=201)

    async def revoke_token(self, request: web.Request) -> web.Response:
        token_id = request.match_info["id"]
        if not self._plane.revoke_token(token_id):
            raise NotFound(f"there is no join token {token_id}")
        return web.json_response({})
