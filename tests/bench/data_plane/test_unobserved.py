"""The pair that observes nothing is Plait's own pair in all else."""

from __future__ import annotations

from typing import Any

import pytest

from bench.data_plane.unobserved import unobserved, untraced
from plait.envoy import api, names
from plait.resource import LISTENER, ROUTES
from tests.envoy.cases import CASES


def loggers(listener: Any) -> list[str]:
    """The access logs of all filters of a listener, by their names."""
    chains = (*listener.filter_chains, listener.default_filter_chain)
    configs = [
        api.parse(one.typed_config.type_url, one.typed_config.value)
        for chain in chains
        for one in chain.filters
        if one.HasField("typed_config")
    ]
    return [log.name for one in configs for log in getattr(one, "access_log", ())]


@pytest.mark.parametrize("case", ["transparent-server", "transparent-limits"])
def test_no_log_counts_and_the_others_stay(case: str) -> None:
    for resource in CASES[case].snapshot()[LISTENER].values():
        whole = api.parse(LISTENER, resource.body)
        if whole.name.startswith("traced-inbound|"):  # which tells of no request
            continue
        before = loggers(whole)
        assert "envoy.access_loggers.stats" in before
        after = loggers(unobserved(whole))
        assert after == [name for name in before if name != "envoy.access_loggers.stats"]
        assert b"plait.traced" not in api.serialize(whole)
        assert len(whole.filter_chains) == len(api.parse(LISTENER, resource.body).filter_chains)


@pytest.mark.parametrize("case", ["transparent-server", "routing"])
def test_no_route_leads_to_what_traces_and_the_others_stay(case: str) -> None:
    for resource in CASES[case].snapshot()[ROUTES].values():
        whole = api.parse(ROUTES, resource.body)
        assert b"traced-" in resource.body
        left = api.serialize(untraced(whole))
        assert all(host.routes for host in whole.virtual_hosts)
        assert b"traced-" not in left
        assert b"traceparent" not in left
        assert names.TRACED_HEADER.encode() not in left
