"""How one proxy looks from outside: by what its agent reported, what it was sent, and where that is written."""

from __future__ import annotations

from dataclasses import replace

from plait.api.proxies import PushView
from plait.api.views import ProxyStatus, Written
from plait.identity.trust import Held
from plait.model.names import ObjectRef, Origin
from plait.resource import CLUSTER, ROUTES
from plait.run.proxies import proxy
from plait.sources.files.parse import parse
from plait.sources.store import Store
from plait.xds.messages import Rejection, TypeStatus
from plait.xds.pushes import Outcome, Push
from plait.xds.server import ProxyStatus as XdsStatus
from tests.link.meshes import replica_key, report
from tests.xds.talk import resource

NODE = str(replica_key())
FILE = """\
# Above it.
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: careful, namespace: bistro}
spec:
  host: menu
  trafficPolicy:
    outlierDetection: {}
"""
RULE = ObjectRef("networking.istio.io", "DestinationRule", "bistro", "careful")
SERVICE = ObjectRef("", "Service", "bistro", "menu")


def refuses(*origins: Origin, type_url: str = CLUSTER, version: str = "1") -> TypeStatus:
    made = replace(resource(f"c:A@{version}"), origins=origins)
    return TypeStatus(
        type_url=type_url,
        wanted=1,
        acknowledged=0,
        sent=1,
        unanswered=False,
        latency=None,
        rejections=(Rejection(resource=made, reason="no"),),
    )


def status(*types: TypeStatus) -> XdsStatus:
    return XdsStatus(node=NODE, connected=1_900_000_000.0, synced=True, types=types)


def test_a_replica_whose_proxy_is_away_is_shown_with_what_is_known_of_it() -> None:
    held = Held(issuer="x", issued=0.0, signed=0.0, expires=1_900_000_000.0, roots="y")
    for gone in (None, replace(status(), connected=None, synced=False)):
        found = proxy(replace(report(), held=held), gone, (), Store())
        assert found.status == ProxyStatus(
            namespace="bistro", name="frontend", replica=0, connected=None, synced=False
        )
        assert (found.identity, found.certificate_expires) == ("spiffe://x", "2030-03-17T17:46:40+00:00")
        assert (found.pushes, found.written) == ((), ())
    assert proxy(report(), None, (), Store()).certificate_expires is None


def test_pushes_are_told_in_milliseconds_and_short_names() -> None:
    push = Push(
        at=1_900_000_000.25,
        type_url=ROUTES,
        resources=3,
        removed=1,
        bytes=4711,
        outcome=Outcome.REJECTED,
        latency=0.0123456,
        reason="no",
    )
    waits = replace(push, outcome=Outcome.SENT, latency=None, reason="")
    found = proxy(report(), status(), (waits, push), Store())
    told = PushView(
        at="2030-03-17T17:46:40.250+00:00",
        type="RouteConfiguration",
        resources=3,
        removed=1,
        bytes=4711,
        outcome="rejected",
        latency_ms=12.346,
        reason="no",
    )
    assert found.pushes == (replace(told, outcome="sent", latency_ms=None, reason=""), told)


def test_what_is_refused_is_traced_to_all_objects_behind_it_each_once() -> None:
    store = Store()
    store.apply(parse("careful.yaml", FILE.encode()))
    fields = (Origin(SERVICE), Origin(RULE, "spec.trafficPolicy.outlierDetection"))
    again = refuses(Origin(RULE, "spec.host"), type_url=ROUTES)
    found = proxy(report(), status(refuses(*fields), again), (), store)
    assert found.written == (
        Written(kind="Service", namespace="bistro", name="menu"),
        Written(
            kind="DestinationRule",
            namespace="bistro",
            name="careful",
            field="spec.trafficPolicy.outlierDetection",
            file="careful.yaml",
            line=8,
        ),
    )
