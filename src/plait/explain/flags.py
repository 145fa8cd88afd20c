"""Envoy's response flags in plain words: why a request or connection ended as it did, and what to do about it."""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flag:
    """`short` and `long` are Envoy's names."""

    short: str
    long: str
    means: str
    remedy: str

    @property
    def words(self) -> str:
        return f"{self.means} {self.remedy}"


FLAGS = (
    Flag(
        "UF", "UpstreamConnectionFailure",
        "No connection to the callee could be made: it refused, did not answer in time, or mutual TLS failed.",
        "Look whether the workload runs and listens (plait status), and at `failure` in the line: it names what TLS did not like.",
    ),
    Flag(
        "UC", "UpstreamConnectionTermination",
        "The callee closed the connection before its answer was whole.",
        "Look at its log for a crash or a restart; if it closes idle connections early, give it a longer keep-alive than its callers have.",
    ),
    Flag(
        "UH", "NoHealthyUpstream",
        "Nobody was there to send to: no ready replica stands behind the service or subset, all are ejected, or policy let the connection lead nowhere.",
        "See plait status for replicas that are not ready, and compare selectors, subsets and outlier detection; at a TCP port see `denied_by`.",
    ),
    Flag(
        "UO", "UpstreamOverflow",
        "A circuit breaker was open: so many connections, requests or retries to the callee are not allowed at once.",
        "Raise connectionPool in its DestinationRule, add replicas, or let callers ask less.",
    ),
    Flag(
        "URX", "UpstreamRetryLimitExceeded",
        "The request failed as often as it may be tried; of a connection: all attempts to connect failed.",
        "Find out why each attempt failed (the callee's own log); more retries rarely help.",
    ),
    Flag(
        "UT", "UpstreamRequestTimeout",
        "The callee did not answer within the timeout of the route.",
        "Look at a trace for what was slow, or raise `timeout` in the VirtualService or HTTPRoute.",
    ),
    Flag(
        "UR", "UpstreamRemoteReset",
        "The callee reset the stream: it broke off this one request and kept the connection.",
        "Look at the callee's log for a handler that failed or gave up.",
    ),
    Flag(
        "UPE", "UpstreamProtocolError",
        "What the callee answered is no HTTP, or not of the version that was agreed on.",
        "Check that the port speaks what its name or appProtocol says (http, http2, grpc).",
    ),
    Flag(
        "UMSDR", "UpstreamMaxStreamDurationReached",
        "The stream lasted as long as one may last, and was ended.",
        "Let the client begin a new stream, or raise maxStreamDuration or the gRPC timeout.",
    ),
    Flag(
        "UDO", "UnconditionalDropOverload",
        "The load balancer was told to drop all requests to this callee.",
        "Plait never tells it that: look for who else configures this Envoy.",
    ),
    Flag(
        "NR", "NoRouteFound",
        "Nothing says where this request, or connection, is to go: no route matches, or nobody is called by this name.",
        "Compare host, port and path with Service, VirtualService and HTTPRoute; exportTo or a Sidecar may hide the service.",
    ),
    Flag(
        "NC", "NoClusterFound",
        "The route names a destination that is not there: a service, port or subset that nobody defines.",
        "plait check names the rule and what it lacks.",
    ),
    Flag(
        "DC", "DownstreamConnectionTermination",
        "The caller closed its connection before it had the answer.",
        "Often its own timeout or a user who left: compare the duration with the caller's timeouts.",
    ),
    Flag(
        "DR", "DownstreamRemoteReset",
        "The caller reset the stream: it broke off this one request.",
        "Often its own timeout, or a call that was cancelled; compare the duration with the caller's timeouts.",
    ),
    Flag(
        "DPE", "DownstreamProtocolError",
        "What the caller sent is no HTTP that Envoy takes.",
        "Check that it speaks the protocol that the port declares, and look for headers that are too large or malformed.",
    ),
    Flag(
        "DT", "DurationTimeout",
        "The request, or the connection, lasted as long as one may last, and was ended.",
        "Begin a new one; for connections see maxConnectionDuration and the life of certificates.",
    ),
    Flag(
        "LR", "LocalReset",
        "This Envoy reset the connection to the callee itself.",
        "Look at `details` in the line: a timeout, a limit or the end of the other side was the cause.",
    ),
    Flag(
        "SI", "StreamIdleTimeout",
        "Nothing was sent in either direction for as long as a stream may be idle.",
        "Send keep-alives on long streams, or look why the callee sent nothing.",
    ),
    Flag(
        "RL", "RateLimited",
        "A rate limit was reached: 429.",
        "See the RateLimit objects over the callee; ask less, or raise requests or burst.",
    ),
    Flag(
        "RLSE", "RateLimitServiceError",
        "A service that counts for rate limits failed.",
        "Plait asks none: its limits are counted in the sidecar.",
    ),
    Flag(
        "UAEX", "UnauthorizedExternalService",
        "The authorizer that a CUSTOM policy names said no, or could not be asked.",
        "Look at that service's log, and at its timeout and failOpen in the meshConfig.",
    ),
    Flag(
        "DI", "DelayInjected",
        "The request was delayed on purpose, by a fault rule.",
        "Remove `fault.delay` from the VirtualService when the experiment is over.",
    ),
    Flag(
        "FI", "FaultInjected",
        "The request was failed on purpose, by a fault rule.",
        "Remove `fault.abort` from the VirtualService when the experiment is over.",
    ),
    Flag(
        "NFCF", "NoFilterConfigFound",
        "A filter's configuration had not come yet, so the request was refused: what it would have asked or checked is unknown.",
        "It passes once the control plane has told this proxy; if it stays, see plait proxies for a proxy that is behind.",
    ),
    Flag(
        "IH", "InvalidEnvoyRequestHeaders",
        "A header of Envoy's own (x-envoy-...) had a value that it does not take.",
        "Let the caller leave such headers away.",
    ),
    Flag(
        "LH", "FailedLocalHealthCheck",
        "The callee's Envoy said of itself that it is not healthy.",
        "Wait until it is ready again; see plait status.",
    ),
    Flag(
        "OM", "OverloadManagerTerminated",
        "This Envoy is overloaded and ended the request to save itself.",
        "It has too many connections or too little memory: add replicas.",
    ),
    Flag(
        "DF", "DnsResolutionFailed",
        "The name of the callee could not be resolved.",
        "Only destinations outside of the mesh are looked up by name: check its host.",
    ),
    Flag(
        "DO", "DropOverload",
        "The request was dropped, as the load balancer was told to for a share of them.",
        "Plait never tells it that: look for who else configures this Envoy.",
    ),
    Flag(
        "RFCF", "ResponseFromCacheFilter",
        "The answer came out of a cache.",
        "Nothing is wrong; Plait installs no cache.",
    ),
)  # fmt: skip
"""All that this Envoy knows, the most frequent first."""

_BY_NAME = {name: flag for flag in FLAGS for name in (flag.short, flag.long)}


def words(text: str) -> tuple[Flag, ...]:
    """The flags in a text such as `UF,URX`, in either form; none for `-`, and what is no flag is left out."""
    return tuple(_BY_NAME[name] for part in text.split(",") if (name := part.strip()) in _BY_NAME)


def told(line: str) -> str:
    """A line of an access log of ours, with its flags in words; any other line as it is."""
    if '"flags"' not in line or not line.startswith("{"):
        return line
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict) or said.get("log") != "access":
        return line
    found = words(str(said.get("flags", "")))
    if not found:
        return line
    inside = json.dumps([flag.words for flag in found], ensure_ascii=False)
    return f'{line.rstrip()[:-1]},"words":{inside}}}'
