"""What an address is: every row of the table, the vectors of others who guard, and addresses that nobody thought of."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.egress import Egress
from service.egress_table import METADATA, SPECIAL, Special, carried, is_metadata, special_of

RULES = Egress().rules()


def refusal(address: str, port: int = 443) -> str | None:
    """The reason for which *address* may not be called."""
    found = RULES.of_address(address, port, address)
    return None if found is None else found.reason


@pytest.mark.parametrize("row", SPECIAL, ids=lambda row: str(row.network))
def test_each_network_of_the_table_is_denied_to_its_edges(row: Special) -> None:
    """First and last address; told by this row or one that lies inside it; the neighbours by another one, or not."""
    for address in (row.network[0], row.network[-1]):
        found = special_of(address)
        assert found is not None, address
        assert RULES.of_address(str(address), 443, address) is not None
        refused = RULES.of_address(str(address), 443, address)
        assert refused is not None
        assert "TASKPOST_EGRESS_ALLOW" in refused.detail or "always denied" in refused.detail
    for number in (int(row.network[0]) - 1, int(row.network[-1]) + 1):
        if 0 <= number < 1 << row.network.max_prefixlen:
            neighbour = type(row.network[0])(number)
            if (found := special_of(neighbour)) is not None:
                assert found is not row, neighbour


@pytest.mark.parametrize("network", METADATA, ids=str)
def test_metadata_services_stay_denied_whatever_is_allowed(network: IPv4Network | IPv6Network) -> None:
    """Also as an IPv4 address carried by an IPv6 one, with everything allowed and in development mode."""
    rules = Egress("*, 0.0.0.0/0, ::/0", dev=True).rules()
    address = network[0]
    forms: list[IPv4Address | IPv6Address] = [address]
    if isinstance(address, IPv4Address):
        number = int(address)
        forms += [IPv6Address(0xFFFF << 32 | number), IPv6Address(number), IPv6Address(0x64FF9B << 96 | number)]
        forms += [IPv6Address(0x2002 << 112 | number << 80), ip_address(f"2001:db8::5efe:{address}")]
    for form in forms:
        found = rules.of_address("any.example", 443, form)
        assert found is not None
        assert "metadata" == found.reason, form


# Facts of https://github.com/stripe/smokescreen (pkg/smokescreen/address_policy_test.go, TestClassifyAddr): what its
# proxy denies and lets through without an operator's lists. It denies every IPv4 address inside NAT64, we only those
# that are denied as themselves, since an IPv6-only network reaches all of IPv4 so; and it lets 64:ff9c::1 through.
SMOKESCREEN_DENIED = (
    "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "100.64.0.100", "100.127.255.254", "127.0.0.1",
    "127.255.255.255", "::1", "169.254.169.254", "255.255.255.255", "ff02:0:0:0:0:0:0:2", "64:ff9b::ac1c:5",
    "64:ff9b::c000:201", "64:ff9b::a00:1", "64:ff9b::ffff:ffff", "2002:c000:201::1", "2002:a00:1::1", "2002:808:808::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:1234:5678:9abc:def0:1234:5678", "fc00::1",
)  # fmt: skip
SMOKESCREEN_ALLOWED = (
    "8.8.8.8", "1.1.1.1", "100.63.255.254", "100.128.0.1", "2001:4860:4860::8888", "2606:4700:4700::1111",
)  # fmt: skip
# Facts of https://github.com/svix/svix-webhooks (server/svix-server/src/core/webhook_http_client.rs, is_allowed_test).
# It also lets 0:0:0:ffff::1 through, which is no address of the public Internet.
SVIX_DENIED = (
    "10.254.0.0", "192.168.10.65", "172.16.10.65", "0.1.2.3", "0.0.0.0", "127.0.0.1", "169.254.45.1", "255.255.255.255",
    "192.0.2.255", "198.51.100.65", "203.0.113.6", "100.100.0.0", "192.0.0.0", "192.0.0.255", "250.10.20.30",
    "198.18.0.0", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.1",
)  # fmt: skip
SVIX_ALLOWED = ("1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8")
# Facts of https://github.com/JordanMilne/Advocate (test/test_advocate.py, ValidateIPTests), its list from SafeCurl too.
ADVOCATE_DENIED = (
    "::ffff:192.168.2.1", "2001:0000:4136:e378:8000:63bf:3f57:fdf2", "2002:C0A8:FFFF::", "64:ff9b::192.168.2.1",
    "169.254.1.1", "FEC0:CCCC::", "127.0.0.1", "::1", "227.1.1.1", "192.168.2.1", "10.5.5.5", "0.0.0.0", "0.1.1.1",
    "100.64.0.0", "255.255.255.255", "192.88.99.0", "192.0.0.7", "192.0.2.1", "198.19.255.255", "198.51.100.1",
    "203.0.113.255", "239.255.255.255", "240.0.0.1",
)  # fmt: skip
ADVOCATE_ALLOWED = ("178.254.90.1", "2607:f8b0:400a:807::200e", "144.1.1.1", "200.1.1.1")


@pytest.mark.parametrize("address", sorted({*SMOKESCREEN_DENIED, *SVIX_DENIED, *ADVOCATE_DENIED}))
def test_what_smokescreen_svix_and_advocate_deny_is_denied(address: str) -> None:
    """Their experience is ours."""
    assert refusal(address) is not None


@pytest.mark.parametrize("address", sorted({*SMOKESCREEN_ALLOWED, *SVIX_ALLOWED, *ADVOCATE_ALLOWED}))
def test_what_they_let_through_may_be_called(address: str) -> None:
    """A guard that denies the Internet guards nothing."""
    assert refusal(address) is None


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("224.0.0.1", "multicast"),
        ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::8.8.8.8", None),
        ("::127.0.0.1", "embedded"),
        ("fec0::1", "private"),
        ("64:ff9b:1::127.0.0.1", "loopback"),
        ("64:ff9b:1::8.8.8.8", None),
        ("64:ff9b:1:808:8:800::", None),
        ("64:ff9b:1:7f00:0:100::", "loopback"),
        ("64:ff9b:1:7f:0:1::", "loopback"),
        ("64:ff9b:1:0:7f:0:100:0", "loopback"),
        ("64:ff9b:1::", "unspecified"),
        ("2a00:1450::5efe:8.8.8.8", "embedded"),
        ("2a00:1450:0:0:200:5efe:127.0.0.1", "embedded"),
        ("::ffff:0:8.8.8.8", "embedded"),
        ("fe80::1%eth0", "link-local"),
        ("4000::1", "reserved"),
        ("0:0:0:ffff::1", "reserved"),
        ("2a00:1450:4001:80b::200e", None),
    ],
)  # fmt: skip
def test_addresses_that_others_misjudge(address: str, reason: str | None) -> None:
    """Those for which `ipaddress.is_global` errs, and each way to carry an IPv4 address."""
    assert reason == refusal(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_denied_exactly_if_the_table_names_it(address: IPv4Address) -> None:
    """And in each of its forms as an IPv6 address at least as much."""
    named = any(address in row.network for row in SPECIAL)
    assert named == (special_of(address) is not None)
    for prefix in ("::ffff:", "64:ff9b::"):
        assert (special_of(ip_address(f"{prefix}{address}")) is not None) == named
    for form in (f"::{address}", f"::ffff:0:{address}", f"2a00::5efe:{address}"):
        assert special_of(ip_address(form)) is not None


@given(st.ip_addresses(v=6))
def test_an_ipv6_address_that_may_be_called_is_a_public_one(address: IPv6Address) -> None:
    """And no IPv4 address in it is one that may not be called."""
    if special_of(address) is None:
        assert address in ip_network("2000::/3") or list(carried(address))
        assert not any(special_of(one) for one in carried(address))
        assert not is_metadata(address)


@given(st.integers(0, (1 << 32) - 1), st.sampled_from([48, 56, 64, 96]))
def test_a_denied_address_stays_denied_in_every_place_of_local_nat64(number: int, length: int) -> None:
    """Whichever prefix length a network chose (RFC 6052)."""
    inner = IPv4Address(number)
    packed = bytearray(bytes.fromhex("0064ff9b0001") + bytes(10))
    places = {48: (6, 7, 9, 10), 56: (7, 9, 10, 11), 64: (9, 10, 11, 12), 96: (12, 13, 14, 15)}[length]
    for place, byte in zip(places, inner.packed, strict=True):
        packed[place] = byte
    outer = IPv6Address(bytes(packed))
    assert inner in list(carried(outer)) or not number
    if special_of(inner) is not None:
        assert special_of(outer) is not None
