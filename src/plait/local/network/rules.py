"""What may pass, in nftables' words: each namespace's rules as one text, loaded as one transaction.

In a replica's namespace all TCP that the application sends is turned to its Envoy (15001), and all TCP that is sent
to it too (15006); Envoy itself, known by its user, is let through.  The application has no right to change that,
nor to become that user.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from plait.local.network import namespace, programs
from plait.model.catalog import SidecarAddresses
from plait.model.names import REPLICA_NETWORK, REPLICA_NETWORK_6
from plait.model.settings import OutboundTrafficPolicy

PROGRAM = "nft"

_CLEAR = "table inet plait\ndelete table inet plait\n"
"""Makes a text fit to be loaded again over what it said before."""


def of_replica(
    sidecar: SidecarAddresses,
    *,
    envoy_uid: int,
    udp_ports: Iterable[int],
    policy: OutboundTrafficPolicy,
) -> str:
    """The rules of one replica's namespace."""
    own, anywhere = sidecar.address, policy is OutboundTrafficPolicy.ALLOW_ANY
    envoy_out = "" if anywhere else f"ip daddr {REPLICA_NETWORK} "
    out = "ct state established,related accept\n"
    if anywhere:
        out += "    meta l4proto { icmp, udp } accept\n"
    turn_6 = icmp_6 = ""
    if sidecar.ipv6:
        turn_6 = f"    meta nfproto ipv6 meta l4proto tcp redirect to :{sidecar.outbound}\n"
        icmp_6 = "    meta l4proto ipv6-icmp accept\n"
        out += "    ip6 daddr ::1 accept\n"
    udp = ", ".join(str(port) for port in sorted(set(udp_ports)))
    udp_in = f"    udp dport {{ {udp} }} accept\n" if udp else ""
    return f"""{_CLEAR}table inet plait {{
  chain turn_out {{
    type nat hook output priority -100
    meta skuid {envoy_uid} oifname "lo" ip daddr {own} meta l4proto tcp dnat ip to {own}:{sidecar.inbound}
    meta skuid {envoy_uid} return
    oifname "lo" return
    meta nfproto ipv4 meta l4proto tcp redirect to :{sidecar.outbound}
{turn_6}  }}
  chain turn_in {{
    type nat hook prerouting priority -100
    iifname "lo" return
    tcp dport {{ {sidecar.health}, {sidecar.metrics} }} return
    meta nfproto ipv4 meta l4proto tcp redirect to :{sidecar.inbound}
  }}
  chain out {{
    type filter hook output priority 0; policy drop
    oifname "lo" accept
    ip daddr 127.0.0.0/8 accept
    meta skuid {envoy_uid} {envoy_out}meta l4proto tcp accept
    {out}{icmp_6}    meta l4proto tcp reject with tcp reset
    reject
  }}
  chain in {{
    type filter hook input priority 0; policy drop
    iifname "lo" accept
    ct state established,related accept
    tcp dport {sidecar.inbound} ct status dnat accept
    tcp dport {{ {sidecar.health}, {sidecar.metrics} }} accept
{udp_in}{icmp_6}    meta l4proto tcp reject with tcp reset
  }}
  chain through {{
    type filter hook forward priority 0; policy drop
  }}
}}
"""


def of_fabric(*, egress: str, policy: OutboundTrafficPolicy, ipv6: bool) -> str:
    """The rules of the fabric: replicas reach each other and, where they may, the link named `egress`."""
    out = ""
    if policy is OutboundTrafficPolicy.ALLOW_ANY:
        out = f'    ip saddr {REPLICA_NETWORK} oifname "{egress}" accept\n'
    if ipv6:
        out += f'    ip6 saddr {REPLICA_NETWORK_6} oifname "{egress}" accept\n'
    icmp_6 = "    meta l4proto ipv6-icmp accept\n" if ipv6 else ""
    return f"""{_CLEAR}table inet plait {{
  chain between {{
    type filter hook forward priority 0; policy drop
    iifname != "{egress}" fib saddr . iif oif missing drop
    ct state established,related accept
    iifname != "{egress}" ip saddr {REPLICA_NETWORK} ip daddr {REPLICA_NETWORK} accept
{out}    reject
  }}
  chain to_itself {{
    type filter hook input priority 0; policy drop
    ct state established,related accept
{icmp_6}  }}
  chain hide {{
    type nat hook postrouting priority 100
    oifname "{egress}" masquerade
  }}
}}
"""


def load(where: int, text: str) -> None:
    """Loads the rules of a namespace, all of them or none.  OSError."""
    nft = programs.find(PROGRAM)
    if nft is None:
        raise OSError(f"the program {PROGRAM} is not installed")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run((nft, "-f", "-"), input=text, capture_output=True, text=True, check=False)

    done = namespace.inside(where, run)
    if done.returncode != 0:
        raise OSError(f"nft refuses the rules: {done.stderr.strip() or done.returncode}")
