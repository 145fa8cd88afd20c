"""The pair that observes nothing is Plait's own pair in all else."""

from __future__ import annotations

from typing import Any

import pytest

from bench.data_plane.unobserved import unobserved
from plait.envoy import api
from plait.resource import LISTENER
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
        before = loggers(whole)
        assert "envoy.access_loggers.stats" in before
        after = loggers(unobserved(whole))
        assert after == [name for name in before if name != "envoy.access_loggers.stats"]
        assert len(whole.filter_chains) == len(api.parse(LISTENER, resource.body).filter_chains)
