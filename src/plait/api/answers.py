"""How the API answers: JSON, streams, and every error in one form with the status that fits."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from plait.api.plane import Unavailable
from plait.api.targets import NotFound, NotReady
from plait.api.views import Failure, Problem
from plait.codec import Codec, CodecError
from plait.telemetry.promql import PrometheusError

_log = logging.getLogger(__name__)

FAILURE: Codec[Failure] = Codec(Failure)


class Refused(Exception):  # noqa: N818 - the answer to what was asked
    """It makes no sense as things are; the message says why."""


REFUSALS = (CodecError, ValueError, NotFound, NotReady, Refused, Unavailable, PrometheusError)
"""What a request may be refused with; everything else is an error of our own."""


def answer(codec: Codec[Any], value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=codec.encode(value) + b"\n", status=status, content_type="application/json")


def page(text: bytes) -> web.Response:
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


@asynccontextmanager
async def streaming(request: web.Request, content_type: str) -> AsyncIterator[web.StreamResponse]:
    """An answer in the making."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
    await response.prepare(request)
    with begun(request):
        yield response


@contextmanager
def begun(request: web.Request) -> Iterator[None]:
    """What fails once an answer has begun can only cut it off: another answer would come too late."""
    try:
        yield
    except ConnectionResetError:
        raise
    except Exception as error:
        _log.exception("%s %s failed half-way", request.method, request.path)
        raise ConnectionResetError("the answer can't be finished") from error


def refusal(error: Exception) -> tuple[int, Failure]:
    match error:
        case NotFound():
            status, code = 404, "not_found"
        case NotReady():
            status, code = 409, "not_ready"
        case Refused():
            status, code = 409, "refused"
        case Unavailable() | PrometheusError():
            status, code = 503, "unavailable"
        case _:
            status, code = 400, "bad_request"
    return status, Failure(error=Problem(code=code, message=str(error)))


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as JSON; those of our own making are logged and say nothing about themselves."""
    try:
        return await handler(request)
    except REFUSALS as error:
        status, failure = refusal(error)
    except web.HTTPException as error:
        status, failure = error.status, Failure(error=Problem(code="bad_request", message=error.reason))
        if status == 404:
            failure = Failure(error=Problem(code="not_found", message=f"there is no {request.path} here"))
    except Exception as error:
        if isinstance(error, ConnectionResetError):
            raise  # nobody is left to be answered
        _log.exception("%s %s failed", request.method, request.path)
        status = 500
        failure = Failure(
            error=Problem(code="internal", message="an error of Plait's own; see the control plane's log")
        )
    return answer(FAILURE, failure, status=status)


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
