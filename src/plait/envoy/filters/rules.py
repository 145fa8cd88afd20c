"""What of a policy's rule can hold at one port."""

from __future__ import annotations

from plait.model.policy import Action, Operation, PolicyRule


def at_http(rule: PolicyRule, port: int) -> tuple[Operation, ...] | None:
    """The operations of a rule that are possible at a port of HTTP: none for any, None when the rule can't hold."""
    possible = tuple(operation for operation in rule.operations if _is_for(operation, port))
    return None if rule.operations and not possible else possible


def holds_at_tcp(rule: PolicyRule, action: Action, port: int) -> bool:
    """Whether a rule can hold at a port where no HTTP is seen.

    What it says of HTTP can't be looked at there: an ALLOW rule then allows nothing, a DENY rule denies without
    looking at it (Istio's reading).
    """
    possible = at_http(rule, port)
    if not possible:
        return possible is not None
    return action is not Action.ALLOW or not all(_asks_http(operation) for operation in possible)


def _is_for(operation: Operation, port: int) -> bool:
    return (not operation.ports or port in operation.ports) and port not in operation.not_ports


def _asks_http(operation: Operation) -> bool:
    return bool(operation.methods or operation.not_methods or operation.paths or operation.not_paths)
