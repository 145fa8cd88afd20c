"""IstioOperator: of what it installs nothing is here; of its meshConfig, who may be asked whether a request passes.

An authorizer that can't be read whole is nobody: what would be asked of it is denied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plait.dialects.checks import port_number
from plait.dialects.istio.authorizers import authorizer
from plait.dialects.kind import Kind, Subject
from plait.model.authorizer import Authorizer, MeshConfig
from plait.model.document import Cursor
from plait.model.names import is_dns_subdomain
from plait.model.reading import Fact

_ASKED = {"envoyExtAuthzHttp": False, "envoyExtAuthzGrpc": True}
"""Field, and whether it is gRPC that is spoken."""
_OTHERS = (
    "datadog", "envoyFileAccessLog", "envoyHttpAls", "envoyOtelAls", "envoyTcpAls", "lightstep", "opencensus",
    "opentelemetry", "prometheus", "sds", "skywalking", "stackdriver", "zipkin",
)  # fmt: skip
"""Providers of other things than an answer."""


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    config = root.at("spec").at("meshConfig")
    domain = _trust_domain(config.at("trustDomain"))
    aliases = tuple(name for one in config.at("trustDomainAliases").each() if (name := _trust_domain(one)))
    authorizers: list[Authorizer] = []
    unread: list[str] = []
    names: set[str] = set()
    for item in config.at("extensionProviders").each():
        name = _name(item, names)
        found = _provider(item, name, subject)
        if name and found is None and _asks(item):
            unread.append(name)
        elif found is not None:
            authorizers.append(found)
    return (
        MeshConfig(
            namespace=subject.namespace,
            name=subject.name,
            trust_domain=domain,
            trust_domain_aliases=tuple(dict.fromkeys(aliases)),
            authorizers=tuple(one for one in authorizers if one.name not in unread),
            unread=tuple(dict.fromkeys(unread)),
            origin=subject.origin(root),
        ),
    )


def _trust_domain(cursor: Cursor) -> str:
    text = cursor.text()
    if text and not is_dns_subdomain(text):
        cursor.error("meshconfig.trust-domain", f"{text[:80]!r} is no trust domain")
        return ""
    return text


def _name(item: Cursor, names: set[str]) -> str:
    """What policies call it; the second of a name is an error, and takes the first with it."""
    if not isinstance(item.value, Mapping):
        item.error("field.type", "expected an object: a provider")
        return ""
    name = item.at("name").text()
    if not name and not item.at("name").error_count():
        item.at("name").error("field.required", "a name is missing, by which policies ask for it")
    elif name in names:
        item.at("name").error("provider.twice", f"{name[:80]!r} is said twice: nobody is asked by this name")
    names.add(name)
    return name


def _asks(item: Cursor) -> bool:
    return not any(item.has(field) for field in _OTHERS) or any(item.has(field) for field in _ASKED)


def _provider(item: Cursor, name: str, subject: Subject) -> Authorizer | None:
    if not isinstance(item.value, Mapping):
        return None
    said = [field for field in _ASKED if item.has(field)]
    if len(said) > 1 or (not said and _asks(item)):
        for field in said:
            item.at(field).ignore()
        item.error("provider.kind", f"one of {' and '.join(_ASKED)} says how it is asked")
        return None
    if not said:
        return None
    where = item.at(said[0])
    found = authorizer(where, name, subject, grpc=_ASKED[said[0]], port=port_number(where.at("port")))
    if item.error_count() or where.unread():
        item.error("provider.closed", "it can't be read whole: what would be asked of it is denied")
        return None
    return found


def _unsupported() -> Iterator[str]:
    yield from (f"spec.{field}" for field in _INSTALLS)
    yield from (f"spec.meshConfig.{field}" for field in _SETTINGS)
    yield from (f"spec.meshConfig.extensionProviders[].{field}" for field in _OTHERS)


_INSTALLS = (
    "addonComponents", "components", "compatibilityVersion", "hub", "installPackagePath", "namespace", "profile",
    "resourceSuffix", "revision", "tag", "unvalidatedValues", "values",
)  # fmt: skip
_SETTINGS = (
    "accessLogEncoding", "accessLogFile", "accessLogFormat", "ca", "caCertificates", "certificates",
    "configSources", "connectTimeout", "defaultConfig", "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy", "defaultProviders", "defaultServiceExportTo", "defaultVirtualServiceExportTo",
    "disableEnvoyListenerLog", "discoverySelectors", "dnsRefreshRate", "enableAutoMtls",
    "enableEnvoyAccessLogService", "enablePrometheusMerge", "enableTracing", "h2UpgradePolicy",
    "hboneIdleTimeout", "inboundClusterStatName", "inboundTrafficPolicy", "ingressClass",
    "ingressControllerMode", "ingressSelector", "ingressService", "localityLbSetting", "meshMTLS",
    "outboundClusterStatName", "outboundTrafficPolicy", "pathNormalization", "protocolDetectionTimeout",
    "proxyHttpPort", "proxyInboundListenPort", "proxyListenPort", "rootNamespace", "serviceScopeConfigs",
    "serviceSettings", "tcpKeepalive", "thriftConfig", "tlsDefaults", "verifyCertificateAtClient",
)  # fmt: skip

ISTIO_OPERATOR = Kind(
    group="install.istio.io",
    name="IstioOperator",
    versions=("v1alpha1",),
    read=read,
    unsupported=tuple(_unsupported()),
)
