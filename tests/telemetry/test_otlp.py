"""Exports of spans, as protobuf and as JSON, and what is kept of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from plait.envoy import api
from plait.model.names import WorkloadKey
from plait.telemetry import otlp
from plait.telemetry.spans import LONGEST, MOST_ATTRIBUTES, Kind, Span, Teller, kept, without_query

KEY = WorkloadKey("bistro", "reviews")
TRACE, ID, PARENT = "5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174", "eee19b7ec3c1b173"

EXPORT: dict[str, Any] = {
    "resourceSpans": [
        {
            "resource": {
                "attributes": [
                    {"key": "service.name", "value": {"stringValue": "critics"}},
                    {"key": "service.instance.id", "value": {"stringValue": "bistro/reviews/3"}},
                ]
            },
            "scopeSpans": [
                {
                    "scope": {"name": "library"},
                    "spans": [
                        {
                            "traceId": TRACE,
                            "spanId": ID,
                            "parentSpanId": PARENT,
                            "name": "GET /reviews?token=abc",
                            "kind": 3,
                            "startTimeUnixNano": "1544712660000000000",
                            "endTimeUnixNano": 1544712661000000000,
                            "status": {"code": 2, "message": "no answer"},
                            "someday": {"unknown": True},
                            "attributes": [
                                {"key": "http.status_code", "value": {"intValue": "503"}},
                                {"key": "retried", "value": {"boolValue": True}},
                                {"key": "share", "value": {"doubleValue": 0.5}},
                                {
                                    "key": "names",
                                    "value": {
                                        "arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}]}
                                    },
                                },
                                {
                                    "key": "request",
                                    "value": {
                                        "kvlistValue": {
                                            "values": [
                                                {"key": "cookie", "value": {"stringValue": "s3cret"}},
                                                {"key": "size", "value": {"intValue": "3"}},
                                            ]
                                        }
                                    },
                                },
                            ],
                        }
                    ],
                }
            ],
        }
    ]
}


def spans(request: Any, teller: Teller = Teller.APPLICATION) -> tuple[Span, ...]:
    return tuple(otlp.spans(request, KEY, teller))


def test_json_says_the_same_as_protobuf() -> None:
    request = otlp.read(json.dumps(EXPORT).encode(), text=True)
    (span,) = spans(request)
    assert spans(otlp.read(api.serialize(request))) == (span,)
    assert otlp.size(request) == 1
    assert span == Span(
        trace=TRACE,
        id=ID,
        parent=PARENT,
        name="GET /reviews",
        kind=Kind.CLIENT,
        start=1544712660000000000,
        end=1544712661000000000,
        workload=KEY,
        replica=3,
        teller=Teller.APPLICATION,
        service="critics",
        failed=True,
        message="no answer",
        attributes={
            "http.status_code": "503",
            "retried": "true",
            "share": "0.5",
            "names": "a, 1",
            "request": "size=3",
        },
    )


def test_whose_a_span_is_no_claim_decides() -> None:
    export = json.loads(json.dumps(EXPORT).replace("bistro/reviews/3", "bistro/payments/3"))
    (span,) = spans(otlp.read(json.dumps(export).encode(), text=True))
    assert (span.workload, span.replica) == (KEY, None)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        b'{"resourceSpans": 5}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "xy"}]}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"name": 5}]}]}]}',
    ],
)
def test_what_is_no_export_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="JSON"):
        otlp.read(body, text=True)


def test_bytes_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not an export of spans"):
        otlp.read(b"\xff\xff\xff")


def test_a_span_without_proper_ids_is_none() -> None:
    export = json.loads(json.dumps(EXPORT).replace(TRACE, TRACE[:8]))
    assert spans(otlp.read(json.dumps(export).encode(), text=True)) == ()


@pytest.mark.parametrize("time", [2**62, 2**64 - 1])
def test_a_span_of_no_time_is_none(time: int) -> None:
    export = json.loads(json.dumps(EXPORT).replace("1544712660000000000", str(time)))
    assert spans(otlp.read(json.dumps(export).encode(), text=True)) == ()


def test_a_text_that_is_none_hides_nothing_else() -> None:
    """Envoy passes on what bytes callers send."""
    body = api.serialize(otlp.read(json.dumps(EXPORT).encode(), text=True))
    broken = body.replace(b"no answer", b"no \xff\xfeswer")
    assert broken != body
    (span,) = spans(otlp.read(broken))
    assert (span.trace, span.attributes["http.status_code"]) == (TRACE, "503")
    assert span.message.endswith("swer")


def test_what_is_claimed_moves_nobodys_cursor() -> None:
    export = json.loads(json.dumps(EXPORT).replace("critics", "a\\u001b[2Jb").replace("no answer", "\\u0007"))
    (span,) = spans(otlp.read(json.dumps(export).encode(), text=True))
    assert (span.service, span.message) == ("a\ufffd[2Jb", "\ufffd")


def test_who_exports_is_told_what_is_left_out() -> None:
    assert otlp.answer() == b""
    assert json.loads(otlp.answer(text=True)) == {}
    assert json.loads(otlp.answer(7, text=True))["partialSuccess"]["rejectedSpans"] == "7"


@pytest.mark.parametrize(
    "name",
    [
        "http.request.header.authorization",
        "http.request.header.Cookie",
        "http.response.header.set_cookie",
        "http.request.header.proxy-authorization",
        "db.password",
        "api_key",
        "url.query",
    ],
)
def test_credentials_are_kept_by_nobody(name: str) -> None:
    assert kept([(name, "s3cret"), ("size", "3")]) == {"size": "3"}


def test_no_query_is_kept() -> None:
    said = {
        "url.full": "https://me:pass@host:1/a/b?token=1#x",
        "http.url": "http://h/a?b",
        "http.target": "/a?b",
        "note": "what?",
    }
    assert kept(said.items()) == {
        "url.full": "https://host:1/a/b",
        "http.url": "http://h/a",
        "http.target": "/a",
        "note": "what?",
    }
    assert without_query("GET /x?y") == "GET /x"


def test_a_span_has_bounds() -> None:
    found = kept((str(number), "x" * 5000) for number in range(1000))
    assert len(found) == MOST_ATTRIBUTES
    assert set(map(len, found.values())) == {LONGEST}
