"""Real namespaces with their rules: where a connection ends up, by who opens it and whereto."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait.local.network import namespace
from plait.local.network.fabric import Fabric
from plait.model.catalog import SidecarAddresses
from plait.model.settings import OutboundTrafficPolicy as Policy
from tests.local.network.spaces import Servers, asked, needs_root, shown

pytestmark = needs_root

ENVOY, APP = 1_900_000_000, 1_900_000_001
HERE, THERE = "198.18.0.1", "198.18.0.2"
VIRTUAL = "240.1.2.3"


class Joined:
    """Two replicas' namespaces, `here` and `there`, with something behind each of their Envoys' ports."""

    def __init__(self, policy: Policy) -> None:
        self.fabric = Fabric.make(policy)
        self.here, self.there = (
            self.fabric.join(name, SidecarAddresses(address=address), envoy_uid=ENVOY, udp_ports=(5353,))
            for name, address in (("here", HERE), ("there", THERE))
        )
        self.servers = Servers()
        self.servers.tcp(self.here, "127.0.0.1", 15001)
        for where, address in ((self.here, HERE), (self.there, THERE)):
            self.servers.tcp(where, address, 15006)
            self.servers.tcp(where, "0.0.0.0", 8080)
            self.servers.tcp(where, "0.0.0.0", 15090)

    def close(self) -> None:
        self.servers.close()
        os.close(self.here)
        os.close(self.there)
        self.fabric.close()


@pytest.fixture(params=list(Policy))
def joined(request: pytest.FixtureRequest) -> Iterator[Joined]:
    made = Joined(request.param)
    yield made
    made.close()


@pytest.fixture
def closed() -> Iterator[Joined]:
    made = Joined(Policy.REGISTRY_ONLY)
    yield made
    made.close()


def test_all_that_is_sent_goes_to_the_own_envoy_which_learns_whereto(joined: Joined) -> None:
    for uid in (0, APP):
        for address, port in ((VIRTUAL, 80), (THERE, 8080), (THERE, 15006), ("192.0.2.77", 443)):
            said = asked(joined.here, address, port, uid=uid)
            assert said == f"127.0.0.1:15001 for {address}:{port}"


def test_what_envoy_sends_reaches_the_other_envoy_and_nothing_else(joined: Joined) -> None:
    for port in (80, 8080, 15001):
        assert asked(joined.here, THERE, port, uid=ENVOY) == f"{THERE}:15006 for {THERE}:{port}"
    assert asked(joined.here, THERE, 15006, uid=ENVOY) == "ConnectionRefusedError", "a forged destination"
    assert asked(joined.here, THERE, 15090, uid=ENVOY) == f"0.0.0.0:15090 for {THERE}:15090"


def test_the_loopback_is_the_workloads_own(joined: Joined) -> None:
    assert asked(joined.here, "127.0.0.1", 8080, uid=APP) == "0.0.0.0:8080 for 127.0.0.1:8080"
    assert asked(joined.here, HERE, 8080, uid=APP) == f"0.0.0.0:8080 for {HERE}:8080"
    assert asked(joined.here, "127.0.0.1", 8081, uid=APP) == "ConnectionRefusedError"


def test_a_call_to_itself_through_the_mesh_comes_in_by_its_envoy(joined: Joined) -> None:
    assert asked(joined.here, HERE, 8080, uid=ENVOY) == f"{HERE}:15006 for {HERE}:8080"


def test_where_the_mesh_is_shut_nothing_but_its_own_tcp_gets_out(closed: Joined) -> None:
    closed.servers.udp(closed.there, "0.0.0.0", 5353)
    assert asked(closed.here, "192.0.2.77", 443, uid=ENVOY) == "ConnectionRefusedError"
    for uid in (0, APP, ENVOY):
        assert asked(closed.here, THERE, 5353, uid=uid, kind="udp") == "PermissionError"
    assert asked(closed.here, "2001:db8::1", 80, uid=APP) == "OSError", "there is no way for IPv6"


def test_udp_comes_in_where_a_port_declares_it(joined: Joined) -> None:
    for port in (5353, 5454):
        joined.servers.udp(joined.there, "0.0.0.0", port)
    if joined.fabric.policy is Policy.ALLOW_ANY:
        assert asked(joined.here, THERE, 5353, uid=APP, kind="udp") == "0.0.0.0:5353"
        assert asked(joined.here, THERE, 5454, uid=APP, kind="udp") == "TimeoutError"


def test_a_false_source_goes_no_further(closed: Joined) -> None:
    shown(closed.here, "ip address add 198.18.0.3/32 dev eth0; nft flush ruleset")

    def bound(where: int, address: str, port: int) -> socket.socket:
        def bind() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((address, port))
            made.settimeout(1.0)
            return made

        return namespace.inside(where, bind)

    with (
        bound(closed.there, "0.0.0.0", 5353) as there,
        bound(closed.here, HERE, 0) as true,
        bound(closed.here, "198.18.0.3", 0) as false,
    ):
        true.sendto(b"true", (THERE, 5353))
        assert there.recv(9) == b"true", (
            "and from now on its neighbour is known: a false one needs not ask for it"
        )
        false.sendto(b"false", (THERE, 5353))
        with pytest.raises(TimeoutError):
            there.recv(9)


def test_the_rules_are_there_before_the_link(closed: Joined) -> None:
    """A namespace is handed out with all of its rules; without, nothing would be turned."""
    listed = shown(closed.here, "nft list ruleset")
    for chain in ("turn_out", "turn_in", "out", "in", "through"):
        assert f"chain {chain} {{" in listed


def test_a_replica_made_anew_takes_over_the_name_of_its_link(closed: Joined) -> None:
    again = closed.fabric.join("here", SidecarAddresses(address="198.18.0.9"), envoy_uid=ENVOY, udp_ports=())
    try:
        assert asked(again, THERE, 80, uid=ENVOY) == f"{THERE}:15006 for {THERE}:80"
    finally:
        os.close(again)


def test_nothing_of_it_outlives_those_who_hold_it_and_the_host_is_as_it_was() -> None:
    def host() -> list[str]:
        looks = ("ip link", "ip route", "nft list ruleset", "cat /proc/sys/net/ipv4/ip_forward", "ip netns")
        return [
            subprocess.run(look.split(), capture_output=True, text=True, check=False).stdout for look in looks
        ]

    before, mounts = host(), Path("/proc/self/mountinfo").read_text()
    made = Joined(Policy.REGISTRY_ONLY)
    fabric, here = made.fabric.descriptor, made.here
    assert namespace.identity(fabric) != namespace.identity(here)
    assert host() == before
    made.close()
    assert host() == before
    assert Path("/proc/self/mountinfo").read_text() == mounts
