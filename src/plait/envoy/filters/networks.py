"""Networks as regular expressions, for CEL knows addresses as texts alone."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_network


def pattern(network: str) -> str | None:
    """What `ADDRESS:PORT` begins with, for the addresses of a network of IPv4; None for one of IPv6: none of them."""
    found = ip_network(network)
    if not isinstance(found, IPv4Network):
        return None
    octets = found.network_address.packed
    whole, bits = divmod(found.prefixlen, 8)
    parts = [str(octet) for octet in octets[:whole]]
    if bits:
        first = octets[whole]
        parts.append(f"({'|'.join(str(first + more) for more in range(1 << (8 - bits)))})")
    ends = (":" if len(parts) == len(octets) else r"\.") if parts else ""
    return "^" + r"\.".join(parts) + ends
