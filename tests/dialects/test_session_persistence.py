"""The sessionPersistence of a rule of the Gateway API."""

import pytest
import yaml

from plait.dialects.gateway_api.session_persistence import session
from plait.model.document import Cursor, Document
from plait.model.names import ObjectRef
from plait.model.routing import Session, SessionKind

REF = ObjectRef("gateway.networking.k8s.io", "HTTPRoute", "shop", "it")


def read(text: str) -> tuple[Session | None, list[tuple[str, str, str]]]:
    """What is read, and the severity, field and code of each finding."""
    cursor = Cursor.of(Document(REF, "gateway.networking.k8s.io/v1", "", yaml.safe_load(text)))
    found = session(cursor.at("sessionPersistence"), "unnamed")
    assert cursor.unread() == ()
    return found, [(one.severity, one.field.rpartition(".")[2], one.code) for one in cursor.findings]


@pytest.mark.parametrize(
    ("said", "kind", "name", "lifetime"),
    [
        ("{}", SessionKind.COOKIE, "unnamed", None),
        ("{sessionName: Stay}", SessionKind.COOKIE, "Stay", None),
        ("{type: Cookie, cookieConfig: {lifetimeType: Session}}", SessionKind.COOKIE, "unnamed", None),
        (
            "{absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}",
            SessionKind.COOKIE,
            "unnamed",
            3600,
        ),
        ("{type: Header, sessionName: X-Stay}", SessionKind.HEADER, "x-stay", None),
    ],
)
def test_a_session_is_kept_by_a_cookie_or_a_header(
    said: str, kind: SessionKind, name: str, lifetime: float | None
) -> None:
    assert read(f"sessionPersistence: {said}") == (Session(kind=kind, name=name, lifetime=lifetime), [])


def test_without_a_word_there_is_none() -> None:
    assert read("{}") == (None, [])


@pytest.mark.parametrize(
    ("said", "field", "code"),
    [
        ("{idleTimeout: 5m}", "idleTimeout", "session.timeout"),
        ("{absoluteTimeout: 5m}", "absoluteTimeout", "session.timeout"),
        ("{type: Header, absoluteTimeout: 5m}", "absoluteTimeout", "session.timeout"),
        ("{type: Header, cookieConfig: {lifetimeType: Session}}", "cookieConfig", "session.no-effect"),
    ],
)
def test_what_a_session_can_not_have_is_told_and_the_rest_holds(said: str, field: str, code: str) -> None:
    found, findings = read(f"sessionPersistence: {said}")
    assert found is not None
    assert found.lifetime is None
    assert findings == [("warning", field, code)]


@pytest.mark.parametrize(
    ("said", "field", "code"),
    [
        ("{cookieConfig: {lifetimeType: Permanent}}", "sessionPersistence", "field.required"),
        ("{sessionName: 'a b'}", "sessionName", "header.name"),
        ("{sessionName: 5}", "sessionName", "field.type"),
        ("{type: cookie}", "type", "field.choice"),
        ("{cookieConfig: {lifetimeType: Forever}}", "lifetimeType", "field.choice"),
        ("{absoluteTimeout: soon}", "absoluteTimeout", "field.duration"),
        ("{idleTimeout: soon}", "idleTimeout", "field.duration"),
        ("[]", "sessionPersistence", "field.type"),
    ],
)
def test_what_can_not_be_read_makes_no_session(said: str, field: str, code: str) -> None:
    found, findings = read(f"sessionPersistence: {said}")
    assert found is None
    assert ("error", field, code) in findings


def test_a_name_has_an_end() -> None:
    assert read(f"sessionPersistence: {{sessionName: {'a' * 129}}}")[0] is None
