"""Whom an Envoy leaves alone: which clusters it is asked about, and what is read of its answer."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from plait.agent import counted
from plait.agent.ejected import clusters, page, read

NAME = "outbound|8080|v1|menu.bistro.svc.cluster.local"
COUNTED = counted.read(
    f"""\
cluster.{NAME}.outlier_detection.ejections_active: 2
cluster.outbound|8080||menu.bistro.svc.cluster.local.outlier_detection.ejections_active: 0
cluster.{NAME}.upstream_cx_active: 3
""".encode()
)


def host(address: str, **health: Any) -> dict[str, Any]:
    return {
        "address": {"socket_address": {"address": address, "port_value": 8080}},
        "health_status": {"eds_health_status": "HEALTHY", **health},
    }


def told(*hosts: dict[str, Any]) -> bytes:
    return json.dumps({"cluster_statuses": [{"name": NAME, "host_statuses": list(hosts)}] * 2}).encode()


def asked(of: tuple[str, ...]) -> str:
    url = urlsplit(page(of))
    assert url.path == "/clusters"
    assert parse_qs(url.query)["format"] == ["json"]
    return parse_qs(url.query)["filter"][0]


def test_the_clusters_of_which_somebody_is_left_alone_are_asked_about_and_no_others() -> None:
    assert clusters(COUNTED) == (NAME,)
    assert clusters(counted.NOTHING) == ()
    pattern = asked((NAME, "outbound|80||a.b"))
    assert re.search(pattern, NAME)
    assert re.search(pattern, "outbound|80||a.b")
    for other in (f"{NAME}.x", f"x{NAME}", NAME.replace(".", "x"), "outbound", "outbound|80||axb", "xds"):
        assert not re.search(pattern, other)


def test_a_question_about_very_many_stays_short() -> None:
    many = tuple(f"{NAME}-{number}" for number in range(1000))
    assert len(page(many)) < 200
    assert re.search(asked(many), NAME)
    assert not re.search(asked(many), "inbound|8080||")


def test_who_failed_is_told_once_whatever_the_number_of_its_clusters() -> None:
    out = {"failed_outlier_check": True}
    page = told(host("127.77.0.9", **out), host("127.77.0.2"), host("127.77.0.1", **out), host("::1", **out))
    assert read(page) == ("127.77.0.1:8080", "127.77.0.9:8080", "::1:8080")
    assert read(told()) == ()
    assert read(b"{}") == ()


@pytest.mark.parametrize(
    "page",
    [b"", b"no", b"[]", b'{"cluster_statuses": 3}', told({"health_status": {"failed_outlier_check": True}})],
)
def test_what_is_no_such_page_is_said_to_be_none(page: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read(page)
