"""Where an application is said to listen, against where it is reached."""

from __future__ import annotations

import pytest

from plait.agent.shim.listening import misplaced

HERE = ("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("found", "answering", "message"),
    [
        ([], False, ""),
        ([HERE], False, ""),
        ([("0.0.0.0", 80)], False, ""),
        ([("::", 80)], False, ""),
        ([("::1", 80), HERE], True, ""),
        ([("::1", 80)], False, "listens on [::1]:80, but is reached at 127.0.0.1:80"),
        ([("::1", 80)], True, "listens on [::1]:80, but is reached at 127.0.0.1:80"),
        ([("::", 81)], True, ""),
        (
            [("::", 81), ("127.0.0.1", 82)],
            False,
            "listens on 127.0.0.1:82, [::]:81, but is reached at 127.0.0.1:80",
        ),
    ],
)
def test_where_an_application_is_reached_is_told_to_one_that_listens_elsewhere(
    *, found: list[tuple[str, int]], answering: bool, message: str
) -> None:
    assert misplaced((HERE,), found, answering=answering, exactly=False) == message
