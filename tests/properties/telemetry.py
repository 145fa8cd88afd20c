"""Telemetry, and providers that are told of requests, that say everything which is honoured."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.properties.values import (
    COMMANDS,
    NAMESPACES,
    PORTS,
    SERVICES,
    TEXTS,
    TOKENS,
    Strategy,
    document,
    labels,
    one_of,
    optional,
)

FILES, RECORDS, SPANS, COUNTS = "files", "é🙂'\"\\", "spans", "counts"
_HOSTS = st.tuples(one_of(SERVICES), one_of(NAMESPACES)).map(
    lambda parts: f"{parts[0]}.{parts[1]}.svc.cluster.local"
)
_WHERE = {"service": _HOSTS, "port": one_of(PORTS)}
_OPERATORS = COMMANDS | one_of(
    (
        "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
        "%REQ_WITHOUT_QUERY(X-ENVOY-ORIGINAL-PATH?:PATH):20%",
        "%PATH(NQ:ORIG)%",
        "%RESP(!#$&'*+-.^_`|~):3%",
        "%METADATA(ROUTE:plait:origin)%",
        "%DYNAMIC_METADATA(a.b:c-d:e):9%",
        "%FILTER_STATE(plait.denied_by:TYPED)%",
        "%GRPC_STATUS(SNAKE_STRING)%",
    )
)
_FORMATS = (
    st.lists(_OPERATORS | TEXTS.map(lambda text: text.replace("%", "%%")), min_size=1, max_size=4)
    .map("".join)
    .filter(bool)
)
_FIELDS = st.dictionaries(TEXTS, _FORMATS, min_size=1, max_size=3)
_QUOTED = TEXTS.map(lambda text: json.dumps(text, ensure_ascii=False))
_CONDITIONS = (
    one_of(
        (
            "response.code >= 400",
            "connection.mtls && !has(request.headers['x-a'].b) || true",
            "request.path.matches('^/[a-z]+$') ? response.flags == 0 : size(request.host) > 3",
            "source.port in [1, 2, 0x10] && request.time.getHours() < 12",
            "xds.node.id == r'\\d'",
        )
    )
    | _QUOTED.map(lambda text: f"request.useragent.contains({text})")
    | st.lists(_QUOTED, max_size=4).map(lambda texts: f"request.method in [{', '.join(texts)}]")
)
_MODES = optional(mode=one_of(("CLIENT", "SERVER", "CLIENT_AND_SERVER")))


def _named(*names: str) -> Strategy:
    return st.lists(one_of(names).map(lambda name: {"name": name}), min_size=1, max_size=2, unique_by=repr)


PROVIDERS: tuple[Strategy, ...] = (
    st.fixed_dictionaries(
        {
            "name": st.just(FILES),
            "envoyFileAccessLog": optional(
                path=one_of(("/dev/stdout", "/dev/stderr", "access.log")),
                logFormat=st.fixed_dictionaries({"text": _FORMATS})
                | st.fixed_dictionaries({"labels": _FIELDS}),
                omitEmptyValues=st.booleans(),
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "name": st.just(RECORDS),
            "envoyOtelAls": optional(
                _WHERE, logName=TEXTS, logFormat=optional(text=_FORMATS, labels=_FIELDS)
            ),
        }
    ),
    st.fixed_dictionaries(
        {
            "name": st.just(SPANS),
            "opentelemetry": optional(
                _WHERE,
                http=optional(
                    {"path": one_of(("/v1/traces", "/é🙂"))},
                    timeout=one_of(("1ms", "5s")),
                    headers=st.lists(
                        st.fixed_dictionaries({"name": TOKENS, "value": TEXTS}), min_size=1, max_size=2
                    ),
                ),
            ),
        }
    ),
    st.just({"name": COUNTS, "prometheus": {}}),
)

_TAGS = st.dictionaries(
    TEXTS.filter(bool),
    one_of(("literal", "formatter")).flatmap(
        lambda kind: st.fixed_dictionaries({kind: st.fixed_dictionaries({"value": _FORMATS})})
    )
    | st.fixed_dictionaries({"environment": optional({"name": one_of(("HOME", "É"))}, defaultValue=TEXTS)})
    | st.fixed_dictionaries({"header": optional({"name": one_of(("x-a", "X-B"))}, defaultValue=TEXTS)}),
    max_size=2,
)
_LOGS = optional(
    {"providers": _named("envoy", FILES, RECORDS)},
    match=_MODES,
    disabled=st.booleans(),
    filter=st.fixed_dictionaries({"expression": _CONDITIONS}),
)
_TRACING = optional(
    match=_MODES,
    providers=_named(SPANS).map(lambda found: found[:1]),
    randomSamplingPercentage=one_of((0, 0.01, 12.5, 100)),
    disableSpanReporting=st.booleans(),
    customTags=_TAGS,
)
_METRICS = optional(
    providers=_named("prometheus", COUNTS),
    overrides=st.lists(optional({"disabled": st.booleans()}, match=_MODES), min_size=1, max_size=2),
)


def telemetry(name: str, namespace: str) -> Strategy:
    said = {
        "accessLogging": st.lists(_LOGS, min_size=1, max_size=3),
        "tracing": st.lists(_TRACING, min_size=1, max_size=2),
        "metrics": st.lists(_METRICS, min_size=1, max_size=2),
    }
    target = optional({"kind": st.just("Service"), "name": one_of(SERVICES)}, group=st.just(""))
    spec = optional(**said, selector=labels().map(lambda found: {"matchLabels": found})) | optional(
        **said, targetRefs=st.lists(target, min_size=1, max_size=2)
    )
    return document("telemetry.istio.io/v1", "Telemetry", name, namespace, spec)
