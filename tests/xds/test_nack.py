"""Whom a rejection blames; the texts are those of Envoy 1.40."""

import pytest

from plait.xds.nack import culprits

CONSTRAINT = """goo.gle/debugstr  \nname: "bad"\ntype: EDS\neds_cluster_config {
}\n: Proto constraint validation failed (ClusterValidationError.OutlierDetection: embedded message failed)"""


@pytest.mark.parametrize(
    ("names", "message", "blamed"),
    [
        (
            "A bad2",
            "Error adding/updating cluster(s) bad2: malformed IP address: not-an-ip. Consider A",
            "bad2",
        ),
        ("A B C", "Error adding/updating cluster(s) A: bad, C: worse", "A C"),
        (
            "outbound inbound",
            "Error adding/updating listener(s) inbound: same as listener 'outbound'\n",
            "inbound",
        ),
        ("L7 L8 L9", "Error adding/updating listener(s) L9: address is necessary\nL8: no 'q'\n", "L8 L9"),
        ("bad eds good", CONSTRAINT, "bad"),
        (
            "A B",
            'goo.gle/debugstr  \ncluster_name: "B"\nendpoints {\n}\n: Proto constraint validation failed',
            "B",
        ),
        ("A B", "Unexpected EDS cluster (expecting A): WRONG", "A"),
        ("RA RB", "Only a single wildcard domain is permitted in route RB", "RB"),
        (
            "a dup e",
            "Error adding/updating scoped route(s): scope key conflict found, first scope is 'a', second scope is 'dup'",
            "a dup",
        ),
        ("a:80 a", "in scope 'a:80'.", "a:80"),
        ("a a.b", "route a.b is wrong", "a.b"),
        ("a.b", "route x.a.b is wrong", ""),
        ("outbound|80|h outbound|80||h", "in route outbound|80|h.", "outbound|80|h"),
        ("R", "something is wrong", ""),
        ("", "anything", ""),
        ("(", "an odd name (", "("),
    ],
)
def test_the_resource_at_fault_is_read_from_the_message(names: str, message: str, blamed: str) -> None:
    assert culprits(names.split(), message) == tuple(blamed.split())
