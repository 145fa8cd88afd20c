"""What the API says of what the control plane knows."""

from __future__ import annotations

from plait.model.names import WorkloadKey
from plait.run import views
from plait.telemetry.spans import Kind, Span


def span(id_: str, **attributes: str) -> Span:
    return Span(
        trace="d" * 32,
        id=id_,
        name="egress",
        kind=Kind.CLIENT,
        start=0,
        end=1_000_000,
        workload=WorkloadKey("bistro", "frontend"),
        attributes=attributes,
    )


def test_the_flags_of_a_span_are_told_in_plain_words() -> None:
    found = views.trace((span("1"), span("2", response_flags="UF,URX"))).spans
    assert found[0].flags == ()
    assert [words.partition(".")[0] for words in found[1].flags] == [
        "No connection to the callee could be made: it refused, did not answer in time, or mutual TLS failed",
        "The request failed as often as it may be tried; of a connection: all attempts to connect failed",
    ]
