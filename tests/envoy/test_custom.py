"""ext_authz: of whom Envoy asks nothing.  tests/envoy/test_ext_authz.py has it ask."""

from dataclasses import replace

import pytest

from plait.envoy.filters.admission import expression
from plait.envoy.filters.ext_authz import CUSTOM, EXT_AUTHZ
from plait.model.authorizer import Authorizer
from plait.model.catalog import Protocol
from plait.model.mesh import InboundPort
from plait.model.policy import Action, AuthorizationPolicy, MtlsMode, Operation
from tests.compiler.facts import allows, origin, policy, principal

CHECKS = Authorizer(name="checks", grpc=False, host="checks", port=80, origin=origin("IstioOperator", "it"))


def asking(*policies: AuthorizationPolicy, protocol: Protocol = Protocol.HTTP) -> InboundPort:
    return InboundPort(
        number=8080,
        protocol=protocol,
        address="127.0.0.1",
        port=8080,
        app_address="127.0.0.1",
        app_port=8080,
        mtls=MtlsMode.STRICT,
        services=(),
        policies=policies,
        authorizer=CHECKS,
        origins=(),
    )


OF_FRONTEND = policy("custom", Action.CUSTOM, allows(principal("frontend")))


@pytest.mark.parametrize(
    ("port", "asked"),
    [
        (asking(OF_FRONTEND), True),
        (asking(), False),
        (asking(policy("deny", Action.DENY, allows())), False),
        (asking(replace(OF_FRONTEND, dry_run=True)), False),
        (replace(asking(OF_FRONTEND), authorizer=None), False),
    ],
)
def test_somebody_is_asked_for_whom_a_policy_holds_that_says_so(port: InboundPort, asked: bool) -> None:  # noqa: FBT001  # a parameter
    for one in (CUSTOM, EXT_AUTHZ):
        assert (one.on_inbound(port) is not None) == asked


def test_at_a_port_of_tcp_nobody_is_asked_and_what_the_rules_name_is_denied() -> None:
    port = asking(OF_FRONTEND, protocol=Protocol.TCP)
    assert expression(port) == expression(replace(port, policies=(replace(OF_FRONTEND, action=Action.DENY),)))
    assert expression(port) != "true"
    by_path = policy("custom", Action.CUSTOM, allows(operations=[Operation(paths=("/a",))]))
    assert expression(replace(port, policies=(by_path,))) == "false"
