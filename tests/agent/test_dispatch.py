"""A round of the shim's selector: what one call closes, a later one of the same round does not touch."""

from __future__ import annotations

import os
import selectors
import socket

from plait.agent.shim.shell import dispatch


def test_what_an_earlier_call_of_a_round_has_closed_is_not_called() -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []
    with selectors.DefaultSelector() as selector:

        def end_the_other(number: int) -> None:
            other = pairs[1 - number][0]
            called.append(number)
            selector.unregister(other)
            other.close()

        for number, (heard, rung) in enumerate(pairs):
            selector.register(heard, selectors.EVENT_READ, lambda _, number=number: end_the_other(number))
            rung.send(b"x")
        dispatch(selector, 0)
        assert len(called) == 1
    for heard, rung in pairs:
        heard.close()
        rung.close()


def test_a_descriptor_that_is_somebody_elses_by_now_is_not_called() -> None:
    first, second = socket.socketpair(), socket.socketpair()
    called: list[str] = []
    with selectors.DefaultSelector() as selector:

        def replace_second(_: int) -> None:
            called.append("first")
            number = second[0].fileno()
            selector.unregister(second[0])
            second[0].close()
            again = socket.socket(fileno=os.dup2(first[1].fileno(), number))
            replaced.append(again)
            selector.register(again, selectors.EVENT_WRITE, lambda _: called.append("again"))

        replaced: list[socket.socket] = []
        selector.register(first[0], selectors.EVENT_READ, replace_second)
        selector.register(second[0], selectors.EVENT_READ, lambda _: called.append("second"))
        first[1].send(b"x")
        second[1].send(b"x")
        dispatch(selector, 0)
    assert called in (["first"], ["second", "first"])
    for one in (*first, *second, *replaced):
        one.close()
