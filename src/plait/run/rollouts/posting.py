"""A POST of JSON to somebody outside of the mesh: no redirect is followed, and little is read of what comes back.

Addresses may hold secrets.  What is told of an answer or a failure names the host at most; an answer that repeats more
of the address (many do that with a path they don't know) is told without it, and an error that does is not handed on.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp

_MOST_READ = 4096
_LONGEST_TEXT = 300
_SECRET = 6
"""Parts of an address that have fewer letters are none."""
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "plait"}
_PATIENT = aiohttp.ClientTimeout(total=None)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, and how its body begins, in one line."""

    status: int
    text: str = ""

    @property
    def agrees(self) -> bool:
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """All of it in plain words."""
        return f"answered {self.status}" + (f": {self.text}" if self.text else "")


class Unreached(Exception):  # noqa: N818 - what it says of somebody
    """Nobody has answered; the message says why, in plain words."""


async def post(address: str, body: Any) -> Reply:
    """Send JSON and hear the answer; Unreached.  It takes as long as it takes: the caller bounds it."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        async with (
            aiohttp.ClientSession(timeout=_PATIENT, auto_decompress=False) as http,
            http.post(address, data=json.dumps(body), headers=_HEADERS, allow_redirects=False) as response,
        ):
            return Reply(response.status, _line(await _beginning(response), parts))
    except aiohttp.ClientConnectorDNSError:
        why = f"nobody knows the host {host}, as seen from the control plane, which is outside of the mesh"
    except aiohttp.ClientConnectorCertificateError:
        why = f"the certificate of {host} can't be trusted"
    except aiohttp.ClientConnectorSSLError:
        why = f"no TLS can be spoken with {host}"
    except aiohttp.ClientConnectorError as error:
        why = f"{host} can't be reached: {os.strerror(error.errno) if error.errno else 'no connection'}"
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, ValueError):
        why = "the address is none of HTTP"
    except (aiohttp.ClientError, OSError):
        why = f"{host} has broken off, or does not speak HTTP"
    raise Unreached(why)


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    data = b""
    while more := await response.content.read(_MOST_READ - len(data)):
        data += more
    return data


def _line(data: bytes, parts: SplitResult) -> str:
    words = " ".join(data.decode(errors="replace").split())
    for secret in (parts.path, parts.query, *parts.path.split("/"), parts.password):
        if secret and len(secret) >= _SECRET:
            words = words.replace(secret, "...")
    text = "".join(one if one.isprintable() else "?" for one in words)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
