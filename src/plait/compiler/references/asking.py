"""Whether those are there whom proxies call themselves: for the keys of tokens, and for a word on requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plait.compiler.asking import alike, authorizers, custom, may_ask, port_of
from plait.compiler.hosts import hint
from plait.compiler.references.findings import error, warning
from plait.compiler.scopes import scopes
from plait.compiler.selection import Selection
from plait.model.authentication import KeysAt, RequestAuthentication, TokenRule
from plait.model.authorizer import Authorizer, MeshConfig
from plait.model.catalog import Member
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.names import service_host
from plait.model.policy import AuthorizationPolicy


def check_tokens(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    """Rules about tokens for nobody, and keys that nobody has."""
    for one in mesh.request_authentications:
        under = _under(mesh, selected, one)
        if one.selector and not under:
            yield warning("policy.no-workloads", "no workload has the labels that this selects", one.origin)
        for name in one.targets:
            if service_host(one.namespace, name) not in mesh.services:
                message = f"there is no Service {name} in namespace {one.namespace}"
                yield warning("policy.unknown-target", message, one.origin)
        for rule in one.rules:
            yield from _keys(mesh, rule, under)


def _under(mesh: Mesh, selected: Selection, one: RequestAuthentication) -> Sequence[Member]:
    if not one.targets:
        return selected.under(one)
    services = (mesh.services.get(service_host(one.namespace, name)) for name in one.targets)
    return [member for service in services if service is not None for member in selected.behind(service)]


def _keys(mesh: Mesh, rule: TokenRule, under: Sequence[Member]) -> Iterator[Finding]:
    keys = rule.keys
    if not isinstance(keys, KeysAt):
        return
    problem = _problem(mesh, keys.host, keys.port)
    if problem:
        message = f"{problem}: tokens of this issuer are refused"
        yield error("token.keys-unreachable", message, rule.origin)
        return
    blind = sorted(_blind(mesh, under, keys.host))
    if blind:
        message = (
            f"workloads in {', '.join(blind)} don't see {keys.host}: tokens of this issuer are refused there"
        )
        yield warning("token.keys-hidden", message, rule.origin)


def _problem(mesh: Mesh, host: str, port: int) -> str:
    """Why nobody could call a port of a service; "" when it can be called."""
    service = mesh.services.get(host)
    if service is None:
        return f"there is no service {host}{hint(host, mesh.services)}"
    if service.port(port) is None:
        return f"{host} has no port {port}, but {', '.join(str(one.number) for one in service.ports)}"
    if port_of(mesh.services, host, port) is None:
        return f"port {port} of {host} is not declared to be HTTP"
    return ""


def _blind(mesh: Mesh, under: Sequence[Member], host: str) -> Iterator[str]:
    """The namespaces of workloads that don't see a service."""
    known = scopes(mesh)
    seen: set[str] = set()
    for member in under:
        if member.namespace in seen or host in known.of(member.namespace, member.labels).sight.services:
            continue
        seen.add(member.namespace)
        yield member.namespace


def check_configs(mesh: Mesh) -> Iterator[Finding]:
    """Settings of the whole mesh that are not its own or differ, and authorizers that are not there."""
    for one in mesh.mesh_configs:
        if one.trust_domain not in ("", mesh.settings.trust_domain):
            message = (
                f"the trust domain of this mesh is {mesh.settings.trust_domain}, and stays that: "
                f"{one.trust_domain} has no effect"
            )
            yield error("meshconfig.trust-domain", message, one.origin)
        for asked in one.authorizers:
            yield from _authorizer(mesh, asked)
    yield from _differing(mesh.mesh_configs)


def _authorizer(mesh: Mesh, one: Authorizer) -> Iterator[Finding]:
    problem = _problem(mesh, one.host, one.port)
    if not problem and not may_ask(mesh.services, one):
        problem = f"gRPC is asked for, and port {one.port} of {one.host} is declared to be HTTP/1"
    if problem:
        message = f"{problem}: what would be asked of it is denied"
        yield error("provider.unreachable", message, one.origin)


def _differing(configs: Sequence[MeshConfig]) -> Iterator[Finding]:
    first: dict[str, Authorizer] = {}
    naming = [config for config in configs if config.trust_domain_aliases]
    for config in configs:
        for one in config.authorizers:
            before = first.setdefault(one.name, one)
            if not alike((before, one)):
                message = (
                    f"{before.origin.ref} says otherwise who {one.name} is: nobody is asked by this name"
                )
                yield error("provider.twice", message, one.origin)
    for config in naming[1:]:
        if config.trust_domain_aliases != naming[0].trust_domain_aliases:
            message = f"{naming[0].origin.ref} already says which aliases there are, and stays in force"
            yield error("meshconfig.said-twice", message, config.origin)


def check_custom(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    """Policies that ask nobody, or somebody else than another one does, or whom their workloads don't see."""
    known = authorizers(mesh.mesh_configs)
    asked: dict[Member, AuthorizationPolicy] = {}
    for one in custom(mesh.policies):
        under = selected.under(one)
        found = known.get(one.provider)
        if found is None:
            several = f"; there are {', '.join(sorted(known))}" if known else ""
            message = f"there is no provider {one.provider!r} in a meshConfig{several}: what its rules name is denied"
            yield error("policy.unknown-provider", message, one.origin)
        elif blind := sorted(_blind(mesh, under, found.host)) if found.host in mesh.services else []:
            message = (
                f"workloads in {', '.join(blind)} don't see {found.host}: what its rules name is denied there"
            )
            yield warning("policy.hidden-provider", message, one.origin)
        own = mesh.services.get(found.host) if found is not None else None
        if own is not None and not set(under).isdisjoint(selected.behind(own)):
            message = f"{own.host} would be asked about what it is asked: what its rules name is denied there"
            yield error("policy.asks-itself", message, one.origin)
        before = next(
            (first for member in under if (first := asked.setdefault(member, one)).provider != one.provider),
            None,
        )
        if before is not None:
            message = f"{before.origin.ref} asks another provider over the same workload: what both name is denied there"
            yield error("policy.providers", message, one.origin)
