"""What happens to a request inside a proxy: a file a filter, in the order of ORDER.

Each HttpFilter answers: on which side is it installed, and with what?  What do the inbound routes of a port say
to it?  Filters that only some routes want are installed disabled and enabled by the routes that want them, so
that listeners never change.  `stats` is no filter but an access log; it makes the metrics.
"""

from plait.envoy.filters import (
    cors,
    ext_authz,
    fault,
    jwt,
    own_headers,
    rate_limit,
    rbac,
    router,
    session,
)
from plait.envoy.filters.kind import HttpFilter

ORDER: tuple[HttpFilter, ...] = (
    cors.CORS,
    fault.FAULT,
    own_headers.OWN_HEADERS,
    jwt.JWT,
    rbac.AUDIT,
    ext_authz.CUSTOM,
    ext_authz.EXT_AUTHZ,
    rbac.DENY,
    rbac.ALLOW,
    rate_limit.RATE_LIMIT,
    session.SESSION,
    router.ROUTER,
)
"""An answer that a fault gives can be read in a browser like any other."""

__all__ = ["ORDER", "HttpFilter"]
