"""
What an address is: the networks that no call leaves for unless an operator says so, and where clouds keep metadata.

Pure, and our own table: `ipaddress.is_global` says that 224.0.0.1, 64:ff9b::7f00:1, ::127.0.0.1 and fec0::1 are
addresses of the public Internet, and differs between versions of Python. The sources are IANA's special-purpose
registries and the RFCs named. The fact to know: an IPv6 address can carry an IPv4 address in eight ways, and is looked
at together with those that it carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Special:
    """A network that is not the public Internet: *kind* names the rule, *about* says what it is and who says so."""

    network: Network
    kind: str
    about: str


def special(network: str, kind: str, about: str) -> Special:
    return Special(ip_network(network), kind, about)


SPECIAL = (
    special("0.0.0.0/8", "unspecified", "an address of this network (RFC 791)"),
    special("10.0.0.0/8", "private", "a private address (RFC 1918)"),
    special("100.64.0.0/10", "shared", "an address shared by carriers' customers (RFC 6598)"),
    special("127.0.0.0/8", "loopback", "an address of the worker's own machine (RFC 1122)"),
    special("169.254.0.0/16", "link-local", "a link-local address (RFC 3927)"),
    special("172.16.0.0/12", "private", "a private address (RFC 1918)"),
    special("192.0.0.0/24", "reserved", "reserved for protocols (RFC 6890)"),
    special("192.0.2.0/24", "documentation", "an address for documentation (RFC 5737)"),
    special("192.88.99.0/24", "reserved", "a relay of 6to4 (RFC 7526)"),
    special("192.168.0.0/16", "private", "a private address (RFC 1918)"),
    special("198.18.0.0/15", "benchmarking", "an address for benchmarks (RFC 2544)"),
    special("198.51.100.0/24", "documentation", "an address for documentation (RFC 5737)"),
    special("203.0.113.0/24", "documentation", "an address for documentation (RFC 5737)"),
    special("224.0.0.0/4", "multicast", "a multicast address (RFC 5771)"),
    special("255.255.255.255/32", "broadcast", "the broadcast address (RFC 919)"),
    special("240.0.0.0/4", "reserved", "a reserved address (RFC 1112)"),
    special("::/128", "unspecified", "the unspecified address (RFC 4291)"),
    special("::1/128", "loopback", "an address of the worker's own machine (RFC 4291)"),
    special("::/96", "embedded", "an IPv4-compatible address, which carries an IPv4 address (RFC 4291)"),
    special("::ffff:0:0:0/96", "embedded", "an IPv4-translated address, which carries an IPv4 address (RFC 2765)"),
    special("100::/64", "discard", "an address whose packets are discarded (RFC 6666)"),
    special("100:0:0:1::/64", "reserved", "a dummy address (RFC 9780)"),
    special("2001::/32", "embedded", "a Teredo address, which carries IPv4 addresses (RFC 4380)"),
    special("2001:2::/48", "benchmarking", "an address for benchmarks (RFC 5180)"),
    special("2001:db8::/32", "documentation", "an address for documentation (RFC 3849)"),
    special("2001::/23", "reserved", "reserved for protocols (RFC 2928)"),
    special("2002::/16", "embedded", "a 6to4 address, which carries an IPv4 address (RFC 3056)"),
    special("3fff::/20", "documentation", "an address for documentation (RFC 9637)"),
    special("5f00::/16", "reserved", "an address of segment routing (RFC 9602)"),
    special("fc00::/7", "private", "a unique local address (RFC 4193)"),
    special("fe80::/10", "link-local", "a link-local address (RFC 4291)"),
    special("fec0::/10", "private", "a site-local address (RFC 3879)"),
    special("ff00::/8", "multicast", "a multicast address (RFC 4291)"),
)
# Of IPv6 only this part is given out; all else is reserved, whatever becomes of it (RFC 4291, section 2.4).
GIVEN_OUT = IPv6Network("2000::/3")
RESERVED = special("::/0", "reserved", "not an address of the public Internet (RFC 4291)")
ISATAP = special("::/0", "embedded", "an ISATAP address, which carries an IPv4 address (RFC 5214)")

MAPPED = IPv6Network("::ffff:0:0/96")
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")  # RFC 8215
# Where the IPv4 address may begin in an address of LOCAL_NAT64; byte 8 is always skipped (RFC 6052, section 2.2).
NAT64_STARTS = (6, 7, 9, 12)
ISATAP_MARKS = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")

# What gives out the credentials of a machine, and the networks that clouds keep for such services.
METADATA = tuple(
    ip_network(one)
    for one in (
        "169.254.169.0/24",  # AWS, Azure, Google, Oracle, DigitalOcean, OpenStack, …; .253 and .123 are DNS and time
        "169.254.170.0/24",  # credentials of AWS' containers: ECS .2, EKS .23
        "169.254.0.23/32",  # Tencent
        "169.254.42.42/32",  # Scaleway
        "100.100.100.200/32",  # Alibaba
        "100.96.0.96/32",  # Volcano Engine
        "168.63.129.16/32",  # Azure's wire server; looks like a public address
        "192.0.0.192/32",  # Oracle, older machines
        "fd00:ec2::/32",  # AWS: ::254 metadata, ::23 credentials of containers
        "fd20:ce::254/128",  # Google
        "fd00:42::42/128",  # Scaleway
        "fd00:c1::a9fe:a9fe/128",  # Oracle
    )
)
METADATA_NAMES = frozenset((
    "metadata", "metadata.google.internal", "metadata.goog", "metadata.azure.internal", "metadata.tencentyun.com",
    "metadata.oraclecloud.com", "api.metadata.cloud.ibm.com", "instance-data", "instance-data.ec2.internal",
))  # fmt: skip


def carried(address: Address) -> Iterator[IPv4Address]:
    """Every IPv4 address that *address* carries, in whatever form; none for an IPv4 address itself."""
    if isinstance(address, IPv4Address):
        return
    packed, number = address.packed, int(address)
    if number >> 32 in (0, 0xFFFF, 0xFFFF0000) and number > 1:
        yield IPv4Address(packed[12:])
    if packed.startswith(b"\x20\x02"):
        yield IPv4Address(packed[2:6])
    if address.teredo is not None:
        yield from address.teredo
    if packed[8:12] in ISATAP_MARKS:
        yield IPv4Address(packed[12:])
    yield from translated(address)


def translated(address: IPv6Address) -> list[IPv4Address]:
    """
    The IPv4 addresses to which a translator may send what goes to *address*, which is one of NAT64; none for another.

    In the local prefix the place of the IPv4 address is the network's own choice: each place that fits counts.
    """
    packed = address.packed
    if address in NAT64:
        return [IPv4Address(packed[12:])]
    if address not in LOCAL_NAT64:
        return []
    found = []
    for start in NAT64_STARTS:
        bare = packed if start == 12 else packed[:8] + packed[9:]
        at = start if start in (6, 7, 12) else start - 1
        is_fitting = start == 12 or (packed[8] == 0 and not any(bare[at + 4 :]))
        if is_fitting and any(inner := bare[at : at + 4]):
            found.append(IPv4Address(inner))
    return found or [IPv4Address(0)]


def is_metadata(address: Address) -> bool:
    """Whether *address*, or an address that it carries, gives out the credentials of a machine."""
    return any(one in network for one in (address, *carried(address)) for network in METADATA)


@lru_cache(4096)
def special_of(address: Address) -> Special | None:
    """
    What *address* is if no call may leave for it; None for an address of the public Internet.

    Mapped and NAT64 addresses, which reach IPv4 hosts in ordinary use, are what the IPv4 address in them is.
    """
    if isinstance(address, IPv6Address):
        if address in MAPPED:
            return special_of(IPv4Address(address.packed[12:]))
        if inner := translated(address):
            return next((found for one in inner if (found := special_of(one)) is not None), None)
    for one in SPECIAL:
        if address in one.network:
            return one
    if isinstance(address, IPv6Address):
        if address not in GIVEN_OUT:
            return RESERVED
        if address.packed[8:12] in ISATAP_MARKS:
            return ISATAP
    return None


def address_of(text: str) -> Address:
    """*text*, as a resolver or an operator writes it, as an address. Raises ValueError."""
    return ip_address(text.partition("%")[0])
