"""What is kept of the last pushes of a stream: in order, answered by type, and in little memory."""

from __future__ import annotations

import sys
from typing import Any

from plait.resource import CLUSTER, ENDPOINTS, ROUTES
from plait.xds.messages import Accepted, Rejected, Response
from plait.xds.pushes import KEPT, Outcome, Push, Pushes
from tests.xds.talk import resource


def response(type_url: str = CLUSTER, resources: int = 1, removed: int = 0) -> Response:
    return Response(
        type_url=type_url,
        nonce="1",
        resources=tuple(resource(f"c:{number}@1") for number in range(resources)),
        removed=tuple(map(str, range(removed))),
    )


def accepted(type_url: str = CLUSTER, latency: float = 0.25) -> Accepted:
    return Accepted(type_url=type_url, names=(), removed=(), latency=latency)


def rejected(reason: str, type_url: str = CLUSTER) -> Rejected:
    return Rejected(type_url=type_url, names=(), reason=reason, latency=0.5)


def told(pushes: Pushes) -> list[tuple[str, Outcome]]:
    return [(one.type_url, one.outcome) for one in pushes]


def test_a_push_says_how_much_it_was_and_how_it_was_answered() -> None:
    pushes = Pushes()
    pushes.sent(response(resources=3, removed=2), 4711, 1_900_000_000.5)
    (push,) = pushes
    assert push == Push(
        at=1_900_000_000.5,
        type_url=CLUSTER,
        resources=3,
        removed=2,
        bytes=4711,
        outcome=Outcome.SENT,
        latency=None,
        reason="",
    )
    pushes.answered(accepted())
    (push,) = pushes
    assert (push.outcome, push.latency, push.bytes) == (Outcome.ACKNOWLEDGED, 0.25, 4711)


def test_an_answer_belongs_to_the_push_of_its_type_that_waits_for_one() -> None:
    pushes = Pushes()
    for type_url in (CLUSTER, ENDPOINTS):
        pushes.sent(response(type_url), 1, 0)
    pushes.answered(rejected("no"))
    pushes.sent(response(), 1, 0)
    assert told(pushes) == [
        (CLUSTER, Outcome.SENT),
        (ENDPOINTS, Outcome.SENT),
        (CLUSTER, Outcome.REJECTED),
    ]
    pushes.answered(accepted())
    pushes.answered(accepted(ROUTES))
    assert [(one.outcome, one.latency, one.reason) for one in pushes] == [
        (Outcome.ACKNOWLEDGED, 0.25, ""),
        (Outcome.SENT, None, ""),
        (Outcome.REJECTED, 0.5, "no"),
    ]


def test_a_rejection_without_words_is_one() -> None:
    pushes = Pushes()
    pushes.sent(response(), 1, 0)
    pushes.answered(rejected(""))
    assert told(pushes) == [(CLUSTER, Outcome.REJECTED)]


def test_the_last_ones_are_kept_and_an_answer_that_comes_late_changes_none_of_them() -> None:
    pushes = Pushes()
    pushes.sent(response(ROUTES), 1, 0)
    for number in range(KEPT):
        pushes.sent(response(ENDPOINTS), number, 1 + number)
        pushes.answered(accepted(ENDPOINTS))
    pushes.answered(rejected("late", ROUTES))
    assert told(pushes) == [(ENDPOINTS, Outcome.ACKNOWLEDGED)] * KEPT
    assert [one.at for one in pushes] == [float(number) for number in range(KEPT, 0, -1)]


def test_ten_pushes_take_less_than_two_kilobytes_and_reasons_are_cut() -> None:
    pushes = Pushes()
    for number in range(3 * KEPT):
        pushes.sent(response(resources=2), 1_000_000 + number, 1_900_000_000.0 + number)
        pushes.answered(accepted(latency=number / 7))
    assert _size(pushes) <= 2048
    pushes.sent(response(), 1, 0)
    pushes.answered(rejected("x" * 100_000))
    assert _size(pushes) <= 2048 + 500


def _size(pushes: Pushes) -> int:
    """Bytes of all that is held, but for what is the same for all streams."""

    def of(value: Any) -> int:
        inner = sum(map(of, value)) if isinstance(value, tuple) else 0
        shared = value is None or value == CLUSTER or (isinstance(value, int) and value < 256)
        return 0 if shared else sys.getsizeof(value) + inner

    return sys.getsizeof(pushes) + of(pushes._kept)
