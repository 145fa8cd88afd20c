"""The SPIFFE IDs of what is Plait's own: its control plane and its agents."""

from __future__ import annotations

import re

CONTROL_PLANE = "control-plane.plait"
"""The DNS name in the control plane's certificate; every client of it asks for this one."""

_AGENT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def control_plane_uri(trust_domain: str) -> str:
    """The SPIFFE ID of the control plane."""
    return f"spiffe://{trust_domain}/plait/control-plane"


def agent_uri(trust_domain: str, name: str) -> str:
    """The SPIFFE ID of the agent called `name`."""
    return f"spiffe://{trust_domain}/plait/agent/{name}"


def agent_of(uri: str, trust_domain: str) -> str | None:
    """The name of the agent whose SPIFFE ID this is, or None when it is not an agent's of this trust domain."""
    prefix = agent_uri(trust_domain, "")
    name = uri.removeprefix(prefix)
    return name if uri.startswith(prefix) and valid_agent_name(name) else None


def valid_agent_name(name: str) -> bool:
    """Whether an agent may be called so: a DNS label, in lower case."""
    return _AGENT_NAME.fullmatch(name) is not None
