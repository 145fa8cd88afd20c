"""docs/cli-output.md shows what commands print: its JSON has the very fields of the answers."""

from __future__ import annotations

import json
from typing import Any

from plait.api.proxies import ProxyView
from plait.api.rollouts import Canaries, CanaryHistory
from plait.api.services import ObjectView, Refusals, ServiceView
from plait.api.views import (
    AuthorityStatus,
    Findings,
    LogLine,
    Proxies,
    Status,
    TappedRequest,
    TokenList,
    Traces,
    TraceView,
    Traffic,
)
from plait.codec import Codec
from plait.telemetry.graph import Graph
from tests.docs.pages import ROOT, blocks


def shown(first: str) -> Any:
    """The example that begins with this key."""
    examples = [json.loads(block) for block in blocks(ROOT / "docs" / "cli-output.md", "json")]
    return next(example for example in examples if next(iter(example)) == first)


def test_the_examples_have_every_field_and_no_other() -> None:
    status = shown("mesh")
    findings = {"findings": status.pop("findings")}
    assert status.pop("canaries") == []  # shown under another command
    for codec, example in (
        (Codec[Any](Status), status),
        (Codec[Any](Findings), findings),
        (Codec[Any](Proxies), shown("proxies")),
        (Codec[Any](LogLine), shown("replica")),
        (Codec[Any](TappedRequest), shown("time")),
        (Codec[Any](AuthorityStatus), shown("trust_domain")),
        (Codec[Any](TokenList), shown("tokens")),
        (Codec[Any](Canaries), shown("canaries")),
        (Codec[Any](CanaryHistory), shown("events")),
        (Codec[Any](Traces), shown("traces")),
        (Codec[Any](TraceView), shown("trace")),
        (Codec[Any](Graph), shown("until")),
        (Codec[Any](Traffic), shown("by")),
        (Codec[Any](ServiceView), shown("namespace")),
        (Codec[Any](Refusals), shown("refusals")),
        (Codec[Any](ObjectView), shown("written")),
        (Codec[Any](ProxyView), shown("status")),
    ):
        assert codec.to_json(codec.from_json(example)) == example
