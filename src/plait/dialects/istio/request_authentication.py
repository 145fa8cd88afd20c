"""RequestAuthentication: whose tokens workloads take.

What can't be read whole closes.  A rule keeps the places that can be read and loses its keys, so that what stands
there is refused.  When it can't be read whom the object is for, that is so in its whole namespace: with its keys it
would give identities to workloads that were never meant to know them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from plait.dialects.checks import is_token, seconds
from plait.dialects.fields import has_strangers
from plait.dialects.istio.callees import callee
from plait.dialects.istio.policy_targets import targets
from plait.dialects.istio.shared import SECURITY_VERSIONS, selector
from plait.dialects.jwks import public_keys
from plait.dialects.kind import Kind, Subject
from plait.model.authentication import (
    USUAL_PLACES,
    KeysAt,
    PlaceKind,
    RequestAuthentication,
    TokenPlace,
    TokenRule,
)
from plait.model.document import Cursor
from plait.model.names import Origin
from plait.model.reading import Fact

_SHOWN = 80
_LONGEST = 256
"""Letters of what is looked for by a regular expression."""
_SPACED = ("permission", "scope")
"""Istio takes these claims apart in any case."""
_WITHOUT_TOKENS = ("host", "content-length", "transfer-encoding", "connection", "te", "upgrade")
_RESERVED = (*_WITHOUT_TOKENS, "cookie", "authorization")
_RESERVED_PREFIXES = ("x-envoy-", "x-forwarded-", "x-plait-")
_PATH = re.compile(r"[!-~]*\Z")


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    selected, targeted = selector(spec), targets(spec, subject)
    rules = tuple(_rule(item, subject) for item in spec.at("jwtRules").each())
    lost = not rules and bool(spec.at("jwtRules").error_count())
    if not rules and not lost:
        spec.warn("token.no-rules", "without jwtRules it has no effect")
    if selected is None or targeted is None or lost or has_strangers(spec):
        message = "it can't be read whole: no token holds in its whole namespace where one may stand by it"
        spec.error("token.closed", message)
        selected, targeted = (), ()
        rules = tuple(replace(rule, keys=None) for rule in rules) or (TokenRule(origin=subject.origin(spec)),)
    return (
        RequestAuthentication(
            namespace=subject.namespace,
            name=subject.name,
            selector=selected,
            targets=targeted,
            rules=rules,
            origin=subject.origin(root),
        ),
    )


def closed(subject: Subject) -> tuple[Fact, ...]:
    """No token holds in the whole namespace."""
    return (
        RequestAuthentication(
            namespace=subject.namespace,
            name=subject.name,
            rules=(TokenRule(origin=Origin(subject.ref)),),
            origin=Origin(subject.ref),
        ),
    )


def _rule(item: Cursor, subject: Subject) -> TokenRule:
    if not isinstance(item.value, Mapping):
        item.error("field.type", "expected an object: a rule")
        return TokenRule(origin=subject.origin(item))
    issuer = item.at("issuer").text()
    if not issuer and not item.at("issuer").error_count():
        item.at("issuer").error("field.required", "an issuer is missing: whose tokens are these?")
    places = tuple(dict.fromkeys(_places(item))) or USUAL_PLACES
    rule = TokenRule(
        issuer=issuer,
        audiences=_texts(item.at("audiences")),
        keys=_keys(item, subject),
        places=places,
        forward=item.at("forwardOriginalToken").boolean(),
        payload_header=_header(item.at("outputPayloadToHeader"), places),
        claim_headers=tuple(_claims(item.at("outputClaimToHeaders"), places)),
        spaced_claims=tuple(dict.fromkeys((*_SPACED, *_texts(item.at("spaceDelimitedClaims"))))),
        origin=subject.origin(item),
    )
    if item.error_count() or item.unread():
        item.error("token.rule-closed", "this rule can't be read whole: no token holds by it")
        return replace(rule, keys=None)
    return rule


def _keys(item: Cursor, subject: Subject) -> str | KeysAt | None:
    inline, uri = item.at("jwks"), item.at("jwksUri")
    wait = seconds(item.at("timeout"), 5.0, least=0.001) or 5.0
    if inline.value and uri.value:
        uri.error("token.keys", "jwks and jwksUri: keep one")
    if inline.value:
        return public_keys(inline)
    if uri.value:
        return _keys_at(uri, wait, subject) if uri.is_text() else None
    message = "no jwks and no jwksUri: nothing is looked up by the name of an issuer"
    item.error("token.no-keys", message)
    return None


def _keys_at(cursor: Cursor, wait: float, subject: Subject) -> KeysAt | None:
    try:
        url = urlsplit(cursor.value)
        port = url.port
    except ValueError:
        cursor.error("token.keys-uri", "this is no URL")
        return None
    host = callee(url.hostname or "", subject.namespace)
    if url.scheme != "http" or not host or "@" in url.netloc or url.fragment or not _PATH.match(cursor.value):
        message = "keys are fetched from a Service of the mesh (http://SERVICE.NAMESPACE:PORT/PATH), over mutual TLS"
        shown = "" if "@" in cursor.value else f"{cursor.value[:_SHOWN]!r}: "  # there may be a password in it
        cursor.error("token.keys-uri", f"{shown}{message}; or write them into jwks")
        return None
    path = url.path or "/"
    return KeysAt(host=host, port=port or 80, path=f"{path}?{url.query}" if url.query else path, timeout=wait)


def _places(item: Cursor) -> Iterator[TokenPlace]:
    """Where tokens of a rule stand, as far as that can be read."""
    for place in item.at("fromHeaders").each():
        found = _in_header(place.at("name"), place.at("prefix"))
        if found is not None:
            yield found
    for field, kind in (("fromParams", PlaceKind.PARAM), ("fromCookies", PlaceKind.COOKIE)):
        for one in item.at(field).each():
            name = one.text()
            if is_token(name) and len(name) <= _LONGEST:
                yield TokenPlace(kind, name)
            elif not one.error_count():
                message = f"{name[:_SHOWN]!r} is no name of a {kind}, or has more than {_LONGEST} letters"
                one.error("match.name", message)


def _in_header(header: Cursor, before: Cursor) -> TokenPlace | None:
    name, prefix = header.text().lower(), before.text()
    if not is_token(name) or name in _WITHOUT_TOKENS:
        header.error("header.name", f"{name[:_SHOWN]!r} is no name of a header that can hold a token")
        return None
    if "," in prefix or not (prefix.isprintable() and prefix.isascii()) or len(prefix) > _LONGEST:
        message = f"a prefix is a part of one value, without a comma, of {_LONGEST} letters at most"
        before.error("header.value", message)
        return None
    return TokenPlace(PlaceKind.HEADER, name, prefix)


def _header(cursor: Cursor, places: tuple[TokenPlace, ...]) -> str:
    """A header that tells the application something; "" when there is none, or it can't be."""
    name = cursor.text().lower()
    if not name:
        return ""
    held = any(place.kind is PlaceKind.HEADER and place.name == name for place in places)
    if not is_token(name):
        cursor.error("header.name", f"{name[:_SHOWN]!r} is no name of a header")
    elif name in _RESERVED or name.startswith(_RESERVED_PREFIXES) or held:
        cursor.error("header.reserved", f"{name[:_SHOWN]!r} already says something else")
    else:
        return name
    return ""


def _claims(cursor: Cursor, places: tuple[TokenPlace, ...]) -> Iterator[tuple[str, str]]:
    for item in cursor.each():
        name, claim = _header(item.at("header"), places), item.at("claim").text()
        for field, value in (("header", item.at("header").value), ("claim", claim)):
            if not value and not item.at(field).error_count():
                item.at(field).error("field.required", f"a {field} is missing")
        if name and claim:
            yield name, claim


def _texts(cursor: Cursor) -> tuple[str, ...]:
    """Texts that say something; none of them when one says nothing, which is an error."""
    for item in cursor.each():
        if item.value == "":
            item.error("policy.empty", "an empty value matches nothing")
    return cursor.strings()


REQUEST_AUTHENTICATION = Kind(
    group="security.istio.io",
    name="RequestAuthentication",
    versions=SECURITY_VERSIONS,
    read=read,
    closed=closed,
)
