"""docs/fields.md: every field of the kinds of traffic management, whether it is honoured, and what proves it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tests.fields.destination_rule
import tests.fields.grpc_route
import tests.fields.http_route
import tests.fields.istio_operator
import tests.fields.rate_limit
import tests.fields.reference_grant
import tests.fields.request_authentication
import tests.fields.sidecar
import tests.fields.telemetry
import tests.fields.virtual_service  # noqa: F401  # they register their cases
from plait.dialects import DIALECTS
from plait.dialects.istio.telemetry_providers import INSTEAD
from plait.model.document import child
from tests.dialects.whole import WHOLE
from tests.fields.cases import API_VERSIONS, CASES
from tests.fields.lifted import LIFTED

_POLICIES = (
    "spec.trafficPolicy",
    "spec.trafficPolicy.portLevelSettings[]",
    "spec.subsets[].trafficPolicy",
    "spec.subsets[].trafficPolicy.portLevelSettings[]",
)
TOLD: Mapping[str, Mapping[str, tuple[object, str]]] = {
    "DestinationRule": {
        f"{policy}.{field}": told
        for policy in _POLICIES
        for field, told in {
            "connectionPool.http.h2UpgradePolicy": ("DO_NOT_UPGRADE", "traffic.http-version"),
            "connectionPool.http.useClientProtocol": (True, "traffic.http-version"),
        }.items()
    },
    **{
        kind: {
            "spec.hostnames": (["web.example"], "hostnames.no-effect"),
            "spec.rules[].sessionPersistence.idleTimeout": ("1h", "session.timeout"),
        }
        for kind in ("HTTPRoute", "GRPCRoute")
    },
    "IstioOperator": {
        f"spec.meshConfig.extensionProviders[].envoyExtAuthz{kind}.clearRouteCache": (
            True,
            "provider.no-effect",
        )
        for kind in ("Http", "Grpc")
    }
    | {
        "spec.meshConfig.extensionProviders[].envoyExtAuthzHttp.includeRequestBodyInCheck.packAsBytes": (
            True,
            "provider.no-effect",
        )
    }
    | {
        f"spec.meshConfig.extensionProviders[].opentelemetry.{field}": (value, "provider.no-effect")
        for field, value in {
            "dynatraceSampler": {"tenant": "a"},
            "maxTagLength": 9,
            "resourceDetectors": {"environment": {}},
        }.items()
    },
    "Telemetry": {
        "spec.tracing[].enableIstioTags": (True, "telemetry.no-effect"),
        "spec.tracing[].useRequestIdForTraceSampling": (False, "telemetry.no-effect"),
        "spec.metrics[].reportingInterval": ("5s", "telemetry.no-effect"),
        "spec.metrics[].overrides[].tagOverrides": ({"a": {"operation": "REMOVE"}}, "telemetry.metrics"),
        "spec.metrics[].overrides[].match.customMetric": ("mine", "telemetry.metrics"),
    },
}
"""Fields that nothing follows from, each with a value that asks for something, and the finding that says so."""
ALONE: Mapping[str, Mapping[str, str]] = {
    "IstioOperator": {
        f"spec.meshConfig.extensionProviders[].{field}": "provider.instead" for field in INSTEAD
    }
}
"""The same of fields beside which no other may stand; tests/fields/test_table.py puts them there."""
NAMES: Mapping[str, tuple[str, ...]] = {
    "VirtualService": ("spec.http[].match[].name", "spec.http[].name"),
    "RateLimit": ("spec.limits[].name",),
    "HTTPRoute": ("spec.rules[].name",),
    "GRPCRoute": ("spec.rules[].name",),
}
"""Fields that are for people."""
_AUTHORIZATION = "tests/envoy/test_authorization.py"
_OF_SOURCES = (
    "Principals",
    "RequestPrincipals",
    "Namespaces",
    "ServiceAccounts",
    "IpBlocks",
    "RemoteIpBlocks",
)
_OF_OPERATIONS = ("Hosts", "Methods", "Paths", "Ports")
ASKED = tuple(
    f"{place}.{field}"
    for place, parts in (
        ("spec.rules[].from[].source", _OF_SOURCES),
        ("spec.rules[].to[].operation", _OF_OPERATIONS),
        ("spec.rules[].when[]", ("Values",)),
    )
    for part in parts
    for field in (f"{part[0].lower()}{part[1:]}", f"not{part}")
)
"""Lists of values in the rules of an AuthorizationPolicy."""
_AROUND = ("from", "from[].source", "to", "to[].operation", "when", "when[].key")
_FOR_WHOM = ("action", "rules", "selector", "selector.matchLabels", "targetRef", "targetRefs")
_TARGETS = ("group", "kind", "name", "namespace")
_TELEMETRY = "tests/compiler/test_telemetry.py"
ELSEWHERE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "Telemetry": {
        "spec.metrics[].providers[].name": (_TELEMETRY, "test_a_side_counts_or_does_not"),
        **{
            f"spec.{field}": (_TELEMETRY, "test_services_choose_the_workloads_behind_them")
            for field in ("targetRef", "targetRefs[].group", "targetRefs[].namespace")
        },
    },
    "AuthorizationPolicy": {
        **dict.fromkeys(
            (
                *ASKED,
                *(f"{field}[]" for field in ASKED if ".to[]" not in field),
                *(f"spec.rules[].{field}" for field in _AROUND),
            ),
            (_AUTHORIZATION, "test_a_rule_holds_for_what_it_says"),
        ),
        **{
            f"spec.{field}": (_AUTHORIZATION, "test_policies_together")
            for field in (*_FOR_WHOM, *(f"targetRefs[].{field}" for field in _TARGETS))
        },
        **{
            f"spec.{field}": (
                "tests/envoy/test_ext_authz.py",
                "test_the_checker_is_asked_about_what_the_rules_name_and_nothing_else",
            )
            for field in ("provider", "provider.name")
        },
    },
    "Sidecar": {
        "spec.outboundTrafficPolicy.mode": (
            "tests/envoy/test_transparent.py",
            "test_a_sidecar_shuts_the_way_out_for_those_whom_it_is_for",
        )
    },
    "RequestAuthentication": {
        f"spec.jwtRules[].{field}": ("tests/envoy/test_end_users.py", test)
        for field, test in {
            "jwksUri": "test_keys_are_fetched_through_the_mesh_and_kept",
            "timeout": "test_keys_are_waited_for_as_long_as_is_said",
            "spaceDelimitedClaims": "test_claims_are_where_policies_look_for_them",
            "spaceDelimitedClaims[]": "test_claims_are_where_policies_look_for_them",
        }.items()
    },
    "IstioOperator": {
        **{
            f"spec.meshConfig.extensionProviders[].envoyOtelAls.{field}": (
                "tests/envoy/test_access_logs.py",
                "test_a_collector_is_told_plait_s_own_fields_and_not_of_itself",
            )
            for field in ("service", "port")
        },
        **{
            f"spec.meshConfig.{field}": ("tests/compiler/test_asking.py", test)
            for field, test in {
                "trustDomain": "test_another_trust_domain_is_told",
                "trustDomainAliases": "test_aliases_of_a_mesh_config_are_those_of_the_mesh",
                "trustDomainAliases[]": "test_aliases_of_a_mesh_config_are_those_of_the_mesh",
            }.items()
        },
        **{
            f"spec.meshConfig.{field}": (_TELEMETRY, test)
            for field, test in {
                "defaultConfig.tracing.sampling": "test_spans_are_told_as_the_narrowest_says_field_by_field",
                "defaultProviders.metrics[]": "test_defaults_that_name_nobody_are_said_to",
                "defaultProviders.tracing[]": "test_whom_spans_are_told_is_said_once_for_the_mesh",
                "extensionProviders[].prometheus": "test_a_side_counts_or_does_not",
                "enableTracing": "test_whom_spans_are_told_is_said_once_for_the_mesh",
                **{
                    f"extensionProviders[].opentelemetry.{field}": (
                        "test_whom_spans_are_told_is_said_once_for_the_mesh"
                    )
                    for field in (
                        "grpc.initialMetadata[].name",
                        "grpc.initialMetadata[].value",
                        "grpc.timeout",
                        "http.headers[].name",
                        "http.headers[].value",
                        "http.path",
                        "http.timeout",
                        "port",
                        "service",
                    )
                },
            }.items()
        },
    },
}
"""Fields that take another mesh to prove than the cases have: the file, and the test."""

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "fields.md"

UNPROVEN = "honoured"
"""What is left: no test would fail without the field."""
_HEAD = """\
# Fields

Every field of the kinds that say how requests travel, who may send them, and for whom. **proved**: the test named beside it sends real requests through real Envoys, and fails when the field is left away. **told**: nothing follows from it, and whoever asks for something by it is told so by the finding beside it. **a name**: for people; nothing follows from it. **not honoured**: whoever writes it is told so (`field.unsupported`).

Names that end in `_at_a_port`, `_in_a_subset` and `_at_a_port_of_a_subset` are run by `make prove`, and so are those of `warmup`, which takes its time; all others belong to `make test`.

Written from the tests by `make golden`; not by hand.
"""


def table() -> str:
    """The page, as it should be."""
    parts = [_HEAD]
    for kind in API_VERSIONS:
        rows = "\n".join(f"| `{field}` | {state} | {proof} |" for field, state, proof in rows_of(kind))
        parts.append(f"## {kind}\n\n| field | state | proving test |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def _proofs(kind: str) -> dict[str, list[str]]:
    """The proven fields of a kind, each with the names of the tests."""
    proofs: dict[str, list[str]] = {}
    for case in (*CASES, *(one for _, one in LIFTED)):
        for field in case.fields if case.kind == kind else ():
            named = proofs.setdefault(generic(field), [])
            if case.name not in named:
                named.append(case.name)
    for field, (_, test) in ELSEWHERE.get(kind, {}).items():
        proofs.setdefault(field, []).append(test)
    return proofs


def rows_of(kind: str) -> Iterator[tuple[str, str, str]]:
    """Field, state and proof, for each field of a kind."""
    proofs = _proofs(kind)
    unsupported = {
        pattern for (_, name), one in DIALECTS.items() if name == kind for pattern in one.unsupported
    }
    honoured = {generic(path) for path in _paths(WHOLE[kind]["spec"], "spec")}
    told = {**{field: code for field, (_, code) in TOLD.get(kind, {}).items()}, **ALONE.get(kind, {})}
    for field in sorted(honoured | proofs.keys() | unsupported | told.keys()):
        if field in proofs:
            yield field, "proved", ", ".join(f"`{name}`" for name in proofs[field])
        elif field in unsupported:
            yield field, "not honoured", ""
        elif field in told:
            yield field, "told", f"`{told[field]}`"
        elif field in NAMES.get(kind, ()):
            yield field, "a name", ""
        elif not any(other.startswith((f"{field}.", f"{field}[")) for other in honoured):
            yield field, UNPROVEN, ""


def _paths(value: Any, path: str) -> Iterator[str]:
    """Every field, down to those maps whose keys are the user's own."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        below = child(path, key)
        yield below
        if isinstance(inner, (dict, list)) and not OWN.search(below):
            yield from _paths(inner, below)


OWN = re.compile(
    r"(?:\.set|\.add|\.to|\.labels|\.sourceLabels|\.matchLabels|\bmatch\[\d*\]\.headers|\bmatches\[\d*\]\.headers"
    r"|\.queryParams|\.remove|\.customTags|Methods|Headers|HeadersInCheck)$"
)
"""Maps and lists whose keys or words are the user's own."""


def generic(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)
