"""How an authority changes while its certificates are in use: the state machine alone, without keys or a clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.identity import rotation
from plait.identity.rotation import Holder, Issuer, Phase, State
from plait.identity.trust import Held, Trust, fingerprint

LIFETIME = 100.0


def issuer(name: str, root: str) -> Issuer:
    return Issuer(name=name, chain=f"<{name}>", root=f"<{root}>")


FIRST = rotation.first(issuer("i1", "r1"), ("<r1>",), 0.0)


def holder(name: str, trust: Trust, now: float, *, present: bool = True) -> Holder:
    """Somebody who has got all that he was told by `now`."""
    held = Held(
        issuer=trust.issuer, issued=now, signed=now, expires=now + LIFETIME, roots=fingerprint(trust.roots)
    )
    return Holder(name=name, held=held, present=present)


def test_another_root_is_trusted_by_all_before_it_is_used_and_the_old_one_until_none_needs_it() -> None:
    here, there = holder("here", FIRST.trust, 0.0), holder("there", FIRST.trust, 0.0)
    spreading = rotation.begin(FIRST, issuer("i2", "r2"), ("<r2>",), 1.0)
    assert (spreading.phase, spreading.trust.roots, spreading.trust.issuer) == (
        Phase.SPREADING, "<r2><r1>", "i1",
    )  # fmt: skip
    assert rotation.awaited(spreading, [here, there], 2.0) == ("here", "there")
    here = replace(here, held=replace(here.held, roots=fingerprint("<r2><r1>")))
    assert rotation.awaited(spreading, [here, there], 2.0) == ("there",)
    assert rotation.step(spreading, [here, there], 2.0) is spreading
    there = replace(there, held=replace(there.held, roots=fingerprint("<r2><r1>")))

    renewing = rotation.step(spreading, [here, there], 3.0)
    assert (renewing.phase, renewing.trust.roots, renewing.trust.issuer) == (
        Phase.RENEWING, "<r2><r1>", "i2",
    )  # fmt: skip
    assert here.held.outdated(renewing.trust)
    here = holder("here", renewing.trust, 4.0)
    assert rotation.awaited(renewing, [here, there], 4.0) == ("there",)
    assert rotation.step(renewing, [here, there], 4.0) is renewing

    steady = rotation.step(renewing, [here, holder("there", renewing.trust, 5.0)], 5.0)
    assert (steady.phase, steady.trust.roots, steady.trust.issuer) == (Phase.STEADY, "<r2>", "i2")
    assert [one.number for one in (FIRST, spreading, renewing, steady)] == [1, 2, 3, 4]


def test_another_issuer_under_the_same_root_signs_at_once() -> None:
    renewing = rotation.begin(FIRST, issuer("i2", "r1"), ("<r1>",), 1.0)
    assert (renewing.phase, renewing.trust.issuer, renewing.trust.roots) == (Phase.RENEWING, "i2", "<r1>")
    assert rotation.awaited(renewing, [holder("x", FIRST.trust, 0.5)], 2.0) == ("x",)
    assert rotation.step(renewing, [holder("x", renewing.trust, 2.0)], 2.0).phase is Phase.STEADY


def test_the_same_issuer_has_everybody_renew() -> None:
    renewing = rotation.begin(FIRST, FIRST.issuer, FIRST.roots, 10.0)
    old = holder("x", FIRST.trust, 5.0)
    assert rotation.awaited(renewing, [old], 11.0) == ("x",)
    assert rotation.awaited(renewing, [holder("x", renewing.trust, 10.0)], 11.0) == ()


def test_nobody_is_waited_for_longer_than_his_certificate_holds() -> None:
    away = holder("away", FIRST.trust, 0.0, present=False)
    spreading = rotation.begin(FIRST, issuer("i2", "r2"), ("<r2>",), 1.0)
    assert rotation.step(spreading, [away], LIFETIME - 1) is spreading
    renewing = rotation.step(spreading, [away], LIFETIME)
    assert renewing.phase is Phase.RENEWING
    assert rotation.step(renewing, [away], LIFETIME).phase is Phase.STEADY


def test_who_is_away_is_not_waited_for_when_nothing_can_be_signed() -> None:
    away, here = holder("away", FIRST.trust, 0.0, present=False), holder("here", FIRST.trust, 0.0)
    spreading = rotation.begin(FIRST, issuer("i2", "r2"), ("<r2>",), 1.0)
    assert rotation.awaited(spreading, [away, here], 2.0, only_present=True) == ("here",)


@dataclass
class World:
    """Replicas that do what an agent has them do, late, in any order, or not at all for a while."""

    state: State = FIRST
    now: float = 1.0
    issuers: dict[str, str] = field(default_factory=lambda: {"i1": "<r1>"})
    """The root of each."""
    told: dict[str, Trust] = field(default_factory=dict)
    holders: dict[str, Holder] = field(default_factory=dict)

    def check(self) -> None:
        """Of any two who hold a certificate, each trusts the root of the other's."""
        living = [one.held for one in self.holders.values() if one.held.expires > self.now]
        for one in living:
            trusted = self.roots[one.roots]
            for other in living:
                assert self.issuers[other.issuer] in trusted, (one, other, self.state)

    @property
    def roots(self) -> dict[str, str]:
        return {fingerprint(trust.roots): trust.roots for trust in self.words}

    words: list[Trust] = field(default_factory=lambda: [FIRST.trust])


ACTIONS = "hhheeesssnnraatoooo"
"""How often each is: heeds roots, hears of them, starts, a new certificate, rotations, time, and going on."""


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 2)), min_size=40, max_size=80),
)
def test_whoever_holds_a_certificate_is_always_trusted_by_everybody_else(
    steps: list[tuple[str, int]],
) -> None:
    """Whatever comes late and in whatever order; others are started, and rotations begun again and again."""
    world = World()
    for action, number in steps:
        name = str(number)
        known = world.told.get(name)
        match action:
            case "h" if name in world.holders and known is not None:
                held = replace(world.holders[name].held, roots=fingerprint(known.roots))
                world.holders[name] = Holder(name=name, held=held)
            case "e":
                world.told[name] = world.state.trust
            case "n" if name in world.holders:  # a certificate comes with the latest word
                world.told[name] = world.state.trust
                world.holders[name] = holder(name, world.state.trust, world.now)
            case "s":
                world.told[name] = world.state.trust
                world.holders.setdefault(name, holder(name, world.state.trust, world.now))
            case "r" | "a":  # of a new root, and of the newest
                made = len(world.issuers) + 1
                root = f"r{made}" if action == "r" else list(world.issuers.values())[-1].strip("<>")
                new = issuer(f"i{made}", root)
                world.issuers[new.name] = new.root
                world.state = rotation.begin(world.state, new, (new.root,), world.now)
            case "t":
                world.now += 1 + number * 20
            case _:
                world.state = rotation.step(world.state, world.holders.values(), world.now)
        world.words.append(world.state.trust)
        world.check()


@pytest.mark.parametrize("lifetime", [60.0, 600.0, 86_400.0])
def test_when_a_certificate_was_signed_can_be_told_from_it(lifetime: float) -> None:
    from plait.identity.trust import BACKDATED, backdated  # noqa: PLC0415

    back = backdated(lifetime)
    assert back == min(BACKDATED, lifetime / 10)
    assert min(BACKDATED, (lifetime + back) / 11) == pytest.approx(back)
