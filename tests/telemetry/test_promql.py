"""What may be the address of a Prometheus."""

from __future__ import annotations

import pytest

from plait.telemetry.promql import check_address


@pytest.mark.parametrize("address", ["http://127.0.0.1:9090", "https://me:word@prometheus.example/base/"])
def test_addresses(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:9090", "ftp://a", "http://", "http://a:port", "http://a?b=c", "http://a#b", "http://[a"],
)
def test_what_is_none_is_told_without_its_password(address: str) -> None:
    with pytest.raises(ValueError, match=r"Prometheus|[Pp]ort|IPv6"):
        check_address(address)
    with pytest.raises(ValueError, match="is not the URL") as told:
        check_address("http://me:secret@a?b")
    assert "secret" not in str(told.value)
