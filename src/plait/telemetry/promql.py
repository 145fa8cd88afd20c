"""Asking a Prometheus over HTTP: the one door to it, with an end to how long an answer may take and be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

_LARGEST = 16 * 2**20
"""Bytes of an answer."""
_SAID = 200
"""Letters of what it says that are passed on."""


class PrometheusError(Exception):
    """It can't be reached, or does not answer as a Prometheus does; the message says what it said."""


def check_address(address: str) -> None:
    """ValueError for what is no URL that a Prometheus can have."""
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{_shown(address)} is not the URL of a Prometheus, such as http://127.0.0.1:9090")
    _ = parts.port


async def answered(
    address: str, path: str, asked: Mapping[str, str], *, within: float, insecure: bool = False
) -> Any:
    """The `data` of its answer, within so many seconds; `insecure`: whoever it is.  PrometheusError."""
    shown = f"the Prometheus at {_shown(address)}"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=within)) as http,
            http.post(
                f"{address.rstrip('/')}{path}", data=asked, ssl=not insecure, allow_redirects=False
            ) as response,
        ):
            body = b""
            while part := await response.content.readany():
                body += part
                if len(body) > _LARGEST:
                    raise PrometheusError(f"{shown} answers more than {_LARGEST} bytes")
            status = response.status
    except TimeoutError as error:
        raise PrometheusError(f"{shown} does not answer within {within:g} s") from error
    except aiohttp.InvalidURL as error:
        raise PrometheusError(f"{shown} does not answer: its address is no URL") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise PrometheusError(f"{shown} does not answer: {error}") from error
    return _data(body, status, shown)


async def value(address: str, query: str, *, within: float, insecure: bool = False) -> float | None:
    """The one number that a query comes to now; None: there is none.  PrometheusError, also for several."""
    data = await answered(address, "/api/v1/query", {"query": query}, within=within, insecure=insecure)
    try:
        if data["resultType"] == "scalar":
            return float(data["result"][1])
        if data["resultType"] != "vector":
            raise PrometheusError(f"the query is for a {data['resultType']}, and not for one value")
        found = [float(one["value"][1]) for one in data["result"]]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise PrometheusError(
            f"the Prometheus at {_shown(address)} says no value that can be read"
        ) from error
    if len(found) > 1:
        raise PrometheusError(f"the query has {len(found)} values: let it add them up")
    return found[0] if found else None


def _data(body: bytes, status: int, shown: str) -> Any:
    try:
        answer = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and answer.get("status") == "success" and "data" in answer:
        return answer["data"]
    said = answer.get("error") if isinstance(answer, dict) else None
    text = f"says: {str(said)[:_SAID]}" if said else f"answers with HTTP {status}, and as no Prometheus does"
    raise PrometheusError(f"{shown} {text}")


def _no_constant(name: str) -> float:
    """Numbers come as texts; JSON has no such words."""
    raise ValueError(name)


def _shown(address: str) -> str:
    """An address without who asks there, and with what password."""
    try:
        parts = urlsplit(address)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "an address that is no URL"
    return f"{parts.scheme}://{parts.hostname}{port}{parts.path}"
