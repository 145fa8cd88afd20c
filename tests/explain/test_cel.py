"""cel: what admission writes means here what it means to Envoy; anything else is refused."""

from typing import Any

import pytest

from plait.explain.cel import evaluate
from plait.explain.request import UnknownError

ATTRIBUTES = {
    "connection": {"mtls": True, "name": "spiffe://a/ns/b/sa/c"},
    "destination": {"port": 80},
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("true", True),
        ("!true || false", False),
        ("true || false && false", True),
        ("(true || false) && false", False),
        ("'a\\'b' == 'a\\U00000027b'", True),
        ("connection.mtls ? 'yes' : 'no'", "yes"),
        ("!connection.mtls ? 'a' : connection.mtls ? 'b' : 'c'", "b"),
        ("connection.name in ['x', 'spiffe://a/ns/b/sa/c']", True),
        ("connection.name in []", False),
        ("connection.name.startsWith('spiffe://a')", True),
        ("connection.name.endsWith('/sa/d')", False),
        ("connection.name.contains('/ns/b/')", True),
        ("connection.name.matches('^spiffe://[^/]+/ns/b')", True),
        ("(connection.mtls ? connection.name : '').matches('/sa/[^/]+$')", True),
        ("destination.port == 80 && destination.port != 81", True),
        ("true || connection.absent", True),
        ("false && connection.absent", False),
    ],
)
def test_an_expression_is_evaluated(expression: str, value: Any) -> None:
    assert evaluate(expression, ATTRIBUTES) == value


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "true true",
        "connection.absent == 'a'",
        "absent.name == 'a'",
        "connection.name.size('a')",
        "connection.name.replace('a', 'b')",
        "destination.port.startsWith('8')",
        "connection.name && true",
        "connection.name ? 'a' : 'b'",
        "(true",
        "[1, 2",
        "'a\\q'",
        "'open",
        "a @ b",
        "{'a': 1}",
        "connection['name'] == 'a'",
    ],
)
def test_what_is_not_understood_is_not_guessed(expression: str) -> None:
    with pytest.raises(UnknownError):
        evaluate(expression, ATTRIBUTES)
