"""authorization: what can't be told from what is rendered is not told.  tests/security/test_table.py has the rest."""

from collections.abc import Callable
from typing import Any

import pytest

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import api, build, names
from plait.envoy.render import Renderer
from plait.explain.authorization import explain
from plait.explain.request import Decision, Explanation, Request, UnknownError, Verdict
from plait.model.catalog import Protocol
from plait.model.mesh import InboundPort
from plait.model.policy import Action, AuthorizationPolicy, Operation
from plait.resource import EXTENSION, ROUTES, Snapshot
from tests.compiler.facts import SETTINGS, allows, listens, policy, principal, replica, workload

WEB = workload("web", listens(8080), listens(9000, Protocol.TCP))
CALLER = "spiffe://cluster.local/ns/bistro/sa/frontend"
NAME = "inbound|8080||"
_RBAC = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
DELETES = policy("shut", Action.DENY, allows(operations=[Operation(methods=("DELETE",))]))


def told(*policies: AuthorizationPolicy) -> tuple[dict[str, dict[str, Any]], tuple[InboundPort, ...]]:
    mesh, _ = merge((WEB, *policies), SETTINGS)
    one = replica(WEB)
    seen = view(mesh, one)
    snapshot = Renderer().render(seen, endpoints(mesh, [one]))
    return {kind: dict(snapshot.get(kind, {})) for kind in snapshot}, seen.inbound


def asked(snapshot: Snapshot, port: InboundPort, method: str = "GET", caller: str = CALLER) -> Explanation:
    return explain(
        snapshot, port, Request(caller=caller, port=port.port, method=method), http=port.number == 8080
    )


def changed(snapshot: dict[str, dict[str, Any]], change: Callable[[Any], None]) -> None:
    """The routes of the port, with something in them that is not rendered today."""
    routes = api.parse(ROUTES, snapshot[ROUTES][NAME].body)
    change(routes)
    snapshot[ROUTES][NAME] = build.resource(ROUTES, NAME, routes)


def shadow(action: str, **policies: Any) -> Any:
    anything = {"permissions": [{"any": True}], "principals": [{"any": True}]}
    rules = {"action": action, "policies": dict.fromkeys(policies, anything)}
    return api.pack(api.message(_RBAC)(rbac={"shadow_rules": rules}))


def test_without_policies_nothing_denies_it() -> None:
    snapshot, (http, tcp) = told()
    for port in (http, tcp):
        assert asked(snapshot, port) == Explanation(verdict=Verdict.ALLOWED, decision=Decision.NOTHING)
        without = asked(snapshot, port, caller="")
        assert without == Explanation(verdict=Verdict.DENIED, decision=Decision.NO_CERTIFICATE)


def test_the_rule_that_lets_in_is_told() -> None:
    snapshot, (http, _) = told(policy("allow", Action.ALLOW, allows(principal("frontend"))))
    found = asked(snapshot, http)
    assert found.rule is not None
    assert found.rule.name == "ns[bistro]-policy[allow]-rule[0]"
    assert found.rule.origin is not None


def test_what_an_authorizer_is_asked_about_is_denied_for_sure_or_not_told() -> None:
    snapshot, (http, _) = told(DELETES)
    config = shadow("DENY", asks=True)
    changed(snapshot, lambda routes: routes.typed_per_filter_config["rbac-custom"].CopyFrom(config))
    assert asked(snapshot, http, "DELETE").verdict is Verdict.DENIED
    with pytest.raises(UnknownError, match="an authorizer is asked"):
        asked(snapshot, http)


def test_what_nobody_is_asked_about_is_told() -> None:
    snapshot, (http, _) = told()
    config = shadow("DENY")
    changed(snapshot, lambda routes: routes.typed_per_filter_config["rbac-custom"].CopyFrom(config))
    assert asked(snapshot, http).verdict is Verdict.ALLOWED


@pytest.mark.parametrize(
    "change",
    [
        lambda rbac: rbac.matcher.on_no_match.SetInParent(),
        lambda rbac: rbac.rules.policies["new"].condition.SetInParent(),
        lambda rbac: setattr(rbac.rules, "action", 7),
    ],
)
def test_rules_that_are_not_known_are_not_judged(change: Callable[[Any], None]) -> None:
    snapshot, (http, _) = told(DELETES)

    def write(routes: Any) -> None:
        said = api.message(_RBAC).FromString(routes.typed_per_filter_config[names.RBAC_DENY].value)
        change(said.rbac)
        routes.typed_per_filter_config[names.RBAC_DENY].CopyFrom(api.pack(said))

    changed(snapshot, write)
    with pytest.raises(UnknownError):
        asked(snapshot, http)


def test_what_is_not_told_to_a_proxy_is_not_judged() -> None:
    snapshot, (http, tcp) = told()
    del snapshot[ROUTES][NAME], snapshot[EXTENSION]["inbound|9000||"]
    for port in (http, tcp):
        with pytest.raises(UnknownError):
            asked(snapshot, port)
