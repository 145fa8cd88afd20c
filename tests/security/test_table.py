"""The table of cases, judged three ways: as written, by our reading of what is rendered, and by a real Envoy."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from plait.envoy import names
from plait.explain.authorization import explain
from plait.explain.request import Decision, Request, Verdict
from plait.model.mesh import View
from plait.resource import Snapshot
from tests.security.cases import Case, Group, groups, rule
from tests.security.mesh import Target, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
GROUPS = groups()
_TOKEN = "a token does not hold"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    async with running(GROUPS[0].facts(), bounded=False) as made:
        yield made


async def test_there_are_enough_cases() -> None:
    assert sum(len(one.cases) for one in GROUPS) >= 250
    titles = [(one.theme, one.title) for one in GROUPS]
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("group", [pytest.param(one, id=f"{one.theme}: {one.title}") for one in GROUPS])
async def test_everybody_agrees(target: Target, group: Group) -> None:
    seen, snapshot = target.compiled(group.facts())
    await target.say(snapshot, verifies=not group.verifies)
    wrong = []
    for case in group.cases:
        told = {
            "written": _written(case),
            "rendered": _rendered(case, seen, snapshot, target),
            "Envoy": await _real(case, target),
        }
        if len(set(told.values())) > 1:
            wrong.append((case, told))
    assert wrong == []


def _written(case: Case) -> tuple[str, str]:
    """The verdict, and what denies."""
    if case.then in {"allowed", "closed"}:
        return case.then, ""
    if case.then == "token":
        return "denied", _TOKEN
    return "denied", case.denied_by or names.NO_ALLOW


def _rendered(case: Case, seen: View, snapshot: Snapshot, target: Target) -> tuple[str, str]:
    if case.then == "token":  # what a token says is taken as given there, once it holds
        return _written(case)
    (port,) = (one for one in seen.inbound if one.number == case.port)
    request = Request(
        caller=case.caller,
        address=case.address,
        destination=port.address,
        port=port.port,
        sni=case.sni,
        method=case.method,
        host=case.host,
        path=case.path,
        headers={name.lower(): value for name, value in case.headers.items()},
        claims=None if case.unseen else case.claims,
    )
    found = explain(snapshot, port, request, http=not case.tcp)
    watched = [one.rule.name for one in found.watched if one.rule is not None]
    assert watched == ([rule(case.seen)] if case.seen else []), case
    if found.decision is Decision.NO_CERTIFICATE:
        return "closed", ""
    if found.verdict is Verdict.ALLOWED:
        return "allowed", ""
    if found.rule is None:
        return "denied", names.NO_ALLOW
    assert found.rule.origin is not None
    return "denied", found.rule.name


async def _real(case: Case, target: Target) -> tuple[str, str]:
    verdict = await target.ask(case)
    why = await target.why() if verdict == "denied" else ""
    return verdict, _TOKEN if why.startswith("jwt_authn_access_denied") else why
