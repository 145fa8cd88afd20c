"""IstioOperator: of what it installs nothing is here; of its meshConfig, whom proxies ask and whom they tell.

An authorizer that can't be read whole is nobody: what would be asked of it is denied.  To whoever would be told of
requests and can't be read nothing is told.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from plait.dialects.checks import port_number
from plait.dialects.istio import log_formats
from plait.dialects.istio.answers import percent_of
from plait.dialects.istio.authorizers import authorizer
from plait.dialects.istio.telemetry_providers import INSTEAD, collector, place, sink_of
from plait.dialects.kind import Kind, Subject
from plait.model.authorizer import Authorizer, MeshConfig
from plait.model.document import Cursor
from plait.model.names import is_dns_subdomain
from plait.model.reading import Fact
from plait.model.telemetry import ENVOY, SAMPLED, Collector, FileSink, Sink, TelemetryDefaults

_ASKED = {"envoyExtAuthzHttp": False, "envoyExtAuthzGrpc": True}
"""Field, and whether it is gRPC that is spoken."""
_TOLD = ("envoyFileAccessLog", "envoyOtelAls", "opentelemetry", "prometheus")
_OTHERS = (*_TOLD, *INSTEAD)
"""Providers of other things than an answer."""


class _Encoding(StrEnum):
    TEXT = "TEXT"
    JSON = "JSON"


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    config = root.at("spec").at("meshConfig")
    domain = _trust_domain(config.at("trustDomain"))
    aliases = tuple(name for one in config.at("trustDomainAliases").each() if (name := _trust_domain(one)))
    usual = _usual(config, subject)
    names: set[str] = set()
    asked: list[Authorizer] = []
    unread: list[str] = []
    telling: list[tuple[str, Cursor]] = []
    for item in config.at("extensionProviders").each():
        name = _name(item, names)
        if not _asks(item):
            telling.append((name, item))
        elif (found := _provider(item, name, subject)) is not None:
            asked.append(found)
        elif name:
            unread.append(name)
    return (
        MeshConfig(
            namespace=subject.namespace,
            name=subject.name,
            trust_domain=domain,
            trust_domain_aliases=tuple(dict.fromkeys(aliases)),
            authorizers=tuple(one for one in asked if one.name not in unread),
            unread=tuple(dict.fromkeys(unread)),
            telemetry=_telemetry(config, telling, subject, usual),
            origin=subject.origin(root),
        ),
    )


def _telemetry(
    config: Cursor, providers: list[tuple[str, Cursor]], subject: Subject, usual: FileSink | None
) -> TelemetryDefaults:
    sinks: list[Sink] = []
    collectors: list[Collector] = []
    counting: list[str] = []
    left_out: list[str] = []
    for name, item in providers:
        told = _told(item, name, subject, usual)
        if told is None or item.error_count() or item.unread():
            left_out.append(name)
        elif isinstance(told, Collector):
            collectors.append(told)
        elif isinstance(told, str):
            counting.append(told)
        else:
            sinks.append(told)
        if told is not None and (item.error_count() or item.unread()):
            item.error("provider.left-out", "it can't be read whole: nothing is told to it")
    default = config.at("defaultProviders")
    file = config.at("accessLogFile")
    sampling = config.at("defaultConfig").at("tracing").at("sampling")
    return TelemetryDefaults(
        sinks=tuple(one for one in sinks if one.name not in left_out),
        collectors=tuple(one for one in collectors if one.name not in left_out),
        counting=tuple(one for one in counting if one not in left_out),
        left_out=tuple(dict.fromkeys(left_out)),
        default_sinks=default.at("accessLogging").strings(),
        default_collectors=default.at("tracing").strings(),
        default_metrics=default.at("metrics").strings(),
        built_in=usual,
        written=_written(file, usual, subject) if file.value else None,
        traced=config.at("enableTracing").boolean() if config.has("enableTracing") else None,
        sampled=percent_of(sampling, SAMPLED) if sampling.present else None,
    )


def _told(item: Cursor, name: str, subject: Subject, usual: FileSink | None) -> Sink | Collector | str | None:
    """Who is told of requests: a sink, a collector, or a name for the metrics; None: nobody."""
    said = [field for field in _OTHERS if item.has(field)]
    if len(said) > 1:
        for field in said:
            item.at(field).ignore()
        item.error("provider.kind", f"one of {', '.join(_TOLD)} says what it is")
        return None
    if item.has("prometheus"):
        item.at("prometheus").unread()  # nothing can stand in it
        return name
    if item.has("opentelemetry"):
        return collector(item.at("opentelemetry"), name, subject)
    for field in said:
        if field in INSTEAD:
            item.at(field).ignore()
            message = f"nobody is told anything by {field} here: {INSTEAD[field]}"
            item.at(field).warn("provider.instead", message)
    return sink_of(item, name, subject, usual if name == ENVOY else None)


def _usual(config: Cursor, subject: Subject) -> FileSink | None:
    """How lines look of which nothing else is said; None: nothing is said at all."""
    encoding, written = config.at("accessLogEncoding"), config.at("accessLogFormat")
    chosen = encoding.choice(_Encoding, _Encoding.JSON if not written.value else _Encoding.TEXT)
    if not encoding.present and not written.value:
        return None
    as_json = chosen is _Encoding.JSON
    fields = tuple(_json_format(written)) if as_json else ()
    return FileSink(
        name=ENVOY,
        text="" if as_json else log_formats.text(written),
        fields=fields,
        json=as_json,
        origin=subject.origin(written if written.present else encoding),
    )


def _json_format(cursor: Cursor) -> Iterator[tuple[str, str]]:
    """The fields of a format that is an object, written as a text."""
    text = cursor.text()
    if not text:
        return
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        cursor.error("format.invalid", "an object of JSON with texts is missing, for lines are to be JSON")
        return
    for key, value in found.items():
        said = log_formats.text(Cursor(value, cursor.path, cursor.reading))
        if said:
            yield key, said


def _written(file: Cursor, usual: FileSink | None, subject: Subject) -> FileSink | None:
    """The file that every request is written to in the absence of any other word."""
    where = place(file)
    if file.error_count():
        return None
    like = usual or FileSink(name=ENVOY)
    return replace(like, name="accessLogFile", path=where, origin=subject.origin(file))


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
    if len(said) != 1:
        for field in said:
            item.at(field).ignore()
        item.error("provider.kind", f"one of {' and '.join(_ASKED)} says how it is asked")
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
    yield from (f"spec.meshConfig.defaultConfig.{field}" for field in _OF_PROXIES)
    yield from (f"spec.meshConfig.defaultConfig.tracing.{field}" for field in _OF_TRACERS)


_INSTALLS = (
    "addonComponents", "components", "compatibilityVersion", "hub", "installPackagePath", "namespace", "profile",
    "resourceSuffix", "revision", "tag", "unvalidatedValues", "values",
)  # fmt: skip
_SETTINGS = (
    "ca", "caCertificates", "certificates",
    "configSources", "connectTimeout", "defaultDestinationRuleExportTo",
    "defaultHttpRetryPolicy", "defaultServiceExportTo", "defaultVirtualServiceExportTo",
    "disableEnvoyListenerLog", "discoverySelectors", "dnsRefreshRate", "enableAutoMtls",
    "enableEnvoyAccessLogService", "enablePrometheusMerge", "h2UpgradePolicy",
    "hboneIdleTimeout", "inboundClusterStatName", "inboundTrafficPolicy", "ingressClass",
    "ingressControllerMode", "ingressSelector", "ingressService", "localityLbSetting", "meshMTLS",
    "outboundClusterStatName", "outboundTrafficPolicy", "pathNormalization", "protocolDetectionTimeout",
    "proxyHttpPort", "proxyInboundListenPort", "proxyListenPort", "rootNamespace", "serviceScopeConfigs",
    "serviceSettings", "tcpKeepalive", "thriftConfig", "tlsDefaults", "verifyCertificateAtClient",
)  # fmt: skip
_OF_PROXIES = (
    "availabilityZone", "binaryPath", "caCertificatesPem", "concurrency", "configPath", "controlPlaneAuthPolicy",
    "customConfigFile", "discoveryAddress", "drainDuration", "envoyAccessLogService", "envoyMetricsService",
    "extraStatTags", "fileFlushInterval", "fileFlushMinSizeKb", "gatewayTopology", "holdApplicationUntilProxyStarts",
    "image", "interceptionMode", "meshId", "privateKeyProvider", "proxyAdminPort", "proxyBootstrapTemplatePath",
    "proxyHeaders", "proxyMetadata", "proxyStatsMatcher", "readinessProbe", "runtimeValues", "sds", "serviceCluster",
    "statNameLength", "statsdUdpAddress", "statusPort", "terminationDrainDuration", "zipkinAddress",
)  # fmt: skip
_OF_TRACERS = (
    "customTags", "datadog", "enableIstioTags", "lightstep", "maxPathTagLength", "openCensusAgent", "stackdriver",
    "tlsSettings", "zipkin",
)  # fmt: skip

ISTIO_OPERATOR = Kind(
    group="install.istio.io",
    name="IstioOperator",
    versions=("v1alpha1",),
    read=read,
    unsupported=tuple(_unsupported()),
)
