"""Compilation: a broken new version of an object does not undo its last good one."""

from dataclasses import replace

import pytest

from plait import dialects
from plait.model.change import Located, Stated
from plait.model.document import Document
from plait.model.finding import Severity
from plait.model.names import ObjectRef
from plait.model.reading import Reading
from plait.model.rollout import Analysis, Canary, Shift
from plait.model.settings import MeshSettings
from plait.run.compilation import HELD, Compilation
from plait.sources.files.parse import parse
from tests.compiler.facts import origin, workload

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: bistro}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 80, targetPort: 8080}]
"""
OTHER = SERVICE.replace("name: reviews", "name: other")
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: bistro}
spec:
  hosts: [reviews]
  http: [{timeout: %s, route: [{destination: {host: %s}}]}]
"""
ROUTE_REF = ObjectRef("networking.istio.io", "VirtualService", "bistro", "reviews")
HOST = "reviews.bistro.svc.cluster.local"


def documents(*texts: str) -> tuple[Located, ...]:
    change = parse("mesh.yaml", "---".join(texts).encode())
    assert isinstance(change, Stated), change
    return change.documents


def timeout(compilation: Compilation, *texts: str) -> float | None:
    mesh = compilation.compile(documents(*texts)).mesh
    return mesh.common.routes[HOST][0].rules[0].timeout


def test_an_error_in_reading_keeps_the_last_good_version_until_it_is_mended() -> None:
    compilation = Compilation(MeshSettings())
    assert timeout(compilation, SERVICE, ROUTE % ("5s", "reviews")) == 5
    broken = compilation.compile(documents(SERVICE, ROUTE % ("soon", "reviews")))
    assert broken.mesh.common.routes[HOST][0].rules[0].timeout == 5
    assert set(broken.held) == {ROUTE_REF}
    errors = [finding for finding in broken.findings if finding.severity is Severity.ERROR]
    assert [(finding.field, HELD in finding.message) for finding in errors] == [
        ("spec.http[0].timeout", True)
    ]
    assert timeout(compilation, SERVICE, ROUTE % ("7s", "reviews")) == 7


def test_an_error_between_objects_keeps_the_last_good_version_too() -> None:
    compilation = Compilation(MeshSettings())
    timeout(compilation, SERVICE, ROUTE % ("5s", "reviews"))
    broken = compilation.compile(documents(SERVICE, ROUTE % ("6s", "nowhere")))
    assert broken.mesh.common.routes[HOST][0].rules[0].timeout == 5
    assert [finding.code for finding in broken.findings if finding.severity is Severity.ERROR] == [
        "route.unknown-host"
    ]


def test_what_was_good_is_found_again_after_two_broken_versions() -> None:
    compilation = Compilation(MeshSettings())
    timeout(compilation, SERVICE, ROUTE % ("5s", "reviews"))
    timeout(compilation, SERVICE, ROUTE % ("soon", "reviews"))
    assert timeout(compilation, SERVICE, ROUTE % ("later", "reviews")) == 5


def test_an_object_that_is_written_no_more_is_not_held() -> None:
    compilation = Compilation(MeshSettings())
    timeout(compilation, SERVICE, ROUTE % ("5s", "reviews"))
    assert HOST not in compilation.compile(documents(SERVICE)).mesh.common.routes
    assert not compilation.good.keys() & {ROUTE_REF}


def test_a_broken_object_without_a_good_version_takes_effect_as_far_as_it_can_be_read() -> None:
    compiled = Compilation(MeshSettings()).compile(documents(SERVICE, ROUTE % ("soon", "reviews")))
    assert compiled.held == {}
    assert compiled.mesh.common.routes[HOST][0].rules[0].timeout is None


def test_what_was_good_stays_known_while_something_else_breaks_it() -> None:
    compilation = Compilation(MeshSettings())
    timeout(compilation, SERVICE, OTHER, ROUTE % ("5s", "other"))
    compilation.compile(documents(SERVICE, ROUTE % ("5s", "other")))
    assert timeout(compilation, SERVICE, ROUTE % ("soon", "other")) == 5


def test_where_a_rollout_stands_is_heeded_with_a_version_that_is_held_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A mistake elsewhere leads nobody back to what was there before a rollout."""
    old = workload("reviews")
    new = replace(old, process=replace(old.process, env=(("VERSION", "2"),)))
    plan = Canary(
        namespace="bistro",
        name="reviews",
        target=old.key,
        service="reviews",
        port=80,
        analysis=Analysis(steps=(10,)),
        origin=origin("Canary", "reviews"),
    )

    understood = dialects.read

    def read(document: Document) -> Reading:
        found = understood(document)
        return replace(found, facts=(*found.facts, new, plan)) if document.ref.kind == "Service" else found

    monkeypatch.setattr(dialects, "read", read)
    compilation = Compilation(MeshSettings())
    for name in ("reviews", "nowhere"):
        found = compilation.compile(
            documents(SERVICE, ROUTE % ("5s", name)),
            shifts={plan.key: Shift(primary=old, candidate=new, weight=30)},
        )
        (rule,) = found.mesh.common.routes[HOST][0].rules
        assert [one.weight for one in rule.backends] == [70, 30]
    assert found.held
