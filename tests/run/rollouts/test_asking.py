"""Everybody is asked at once, nobody for ever, and whoever fails has not agreed."""

from __future__ import annotations

import asyncio

import pytest

from plait.model.names import ObjectRef
from plait.model.rollout import Analysis, Canary, HookType, MetricTemplate, Plans, Webhook
from plait.rollout.status import Answer, Finding, Needs, Status, Verdict
from plait.run.rollouts import asking as module
from plait.run.rollouts.asking import Answers
from tests.run.rollouts.scene import Others, canary, hook, metric, origin, until

ALL = Needs(hooks=("a", "b"), metrics=("m", "n"))
TEMPLATE = ObjectRef("flagger.app", "MetricTemplate", "bistro", "t")
CANARY = canary(
    analysis=Analysis(
        steps=(10,),
        webhooks=(hook("a"), hook("b"), hook("c")),
        metrics=(metric("m"), metric("n", template=TEMPLATE), metric("o")),
    )
)
PLANS = Plans(
    templates=(
        MetricTemplate(
            namespace="other", name="t", provider="plait", query="wrong", origin=origin("MetricTemplate", "t")
        ),
        MetricTemplate(
            namespace="bistro", name="t", provider="plait", query="q", origin=origin("MetricTemplate", "t")
        ),
    )
)


async def ask(others: Others, needs: Needs = ALL) -> Answers:
    return await others.asking.all(CANARY, needs, Status(), PLANS, 0.0)


async def test_all_that_are_needed_are_asked_at_once_and_nobody_else() -> None:
    others = Others(
        held={"a": asyncio.Event(), "m": asyncio.Event()}, answers={"b": Answer(agreed=False, text="no")}
    )
    task = asyncio.create_task(ask(others))
    await until(lambda: len(others.asked) == 4, "four to be asked")
    assert set(others.asked) == {"a", "b", "m", "n by q"}
    for event in others.held.values():
        event.set()
    found = await task
    assert found.hooks == {"a": Answer(agreed=True), "b": Answer(agreed=False, text="no")}
    assert [one.metric for one in found.verdicts] == ["m", "n"]


async def test_who_takes_too_long_has_not_agreed_and_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_LOOK", 0.01)
    monkeypatch.setattr(module, "_BEYOND", -9.99)
    others = Others(held={"a": asyncio.Event(), "m": asyncio.Event()})
    found = await ask(others)
    assert found.hooks["a"] == Answer(agreed=False, text="no answer within 0.01 s")
    assert found.hooks["b"].agreed
    assert found.verdicts[0] == Verdict(
        metric="m", finding=Finding.UNKNOWN, text="m: no answer within 0.01 s"
    )
    assert set(others.cancelled) == {"a", "m"}


async def test_a_mistake_of_ours_opens_nothing(caplog: pytest.LogCaptureFixture) -> None:
    found = await ask(Others(broken=True))
    assert [one.agreed for one in found.hooks.values()] == [False, False]
    assert {one.finding for one in found.verdicts} == {Finding.UNKNOWN}
    assert "a mistake" in caplog.text


async def test_of_two_webhooks_of_one_name_both_have_to_agree() -> None:
    class Once(Others):
        async def ask(self, canary: Canary, hook: Webhook, status: Status) -> Answer:
            return Answer(agreed=hook.type is HookType.CONFIRM_PROMOTION)

    twice = canary(analysis=Analysis(webhooks=(hook("a"), hook("a", HookType.CONFIRM_PROMOTION))))
    found = await Once().asking.all(twice, Needs(hooks=("a",)), Status(), PLANS, 0.0)
    assert found.hooks == {"a": Answer(agreed=False)}
