"""Which URLs may be called: their form, the operator's lists, and what no list can allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.egress import Egress, described, own_servers, read
from service.egress_table import address_of
from service.errors import EgressDenied, InvalidSetting
from service.settings import Settings


def reasons(url: str, egress: Egress | None = None, namespace: str = "default") -> list[str]:
    """The names of the rules that *url* breaks."""
    return [one.reason for one in (egress or Egress()).rules(namespace).url_faults(url)]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        # not HTTP, or not a URL
        ("ftp://a.example/", ["scheme"]),
        ("file:///etc/passwd", ["scheme"]),
        ("gopher://a.example/", ["scheme"]),
        ("javascript:alert(1)", ["scheme"]),
        ("//a.example/", ["scheme"]),
        ("a.example", ["scheme"]),
        ("", ["scheme"]),
        ("http:a.example", ["scheme"]),
        ("http://", ["no-host"]),
        ("http:///path", ["no-host"]),
        ("http://?q", ["no-host"]),
        ("http://.", ["no-host"]),
        ("http://[]/", ["no-host"]),
        # what programs read in different ways
        ("http://user:pass@a.example/", ["userinfo"]),
        ("http://@a.example/", ["userinfo"]),
        ("http://a.example:80@b.example/", ["userinfo"]),
        ("http://a.example\\@b.example/", ["backslash", "userinfo"]),
        ("http://a.example\\.b.example/", ["backslash"]),
        ("http://a.example/\r\nHost: b", ["control-character"]),
        ("http://a.example/\t", ["control-character"]),
        ("http://a.example\x00.b.example/", ["control-character"]),
        ("http://a.example/a b", ["control-character"]),
        ("http://a.example/\x7f", ["control-character"]),
        ("http://bücher.example/", ["not-ascii"]),
        ("http://①②⑦.⓪.⓪.①/", ["not-ascii"]),
        ("http://a。example/", ["not-ascii"]),
        ("http://a.example/grüße", ["not-ascii"]),
        # IPv4 addresses in forms that some resolvers take
        ("http://2130706433/", ["odd-host"]),
        ("http://0x7f000001/", ["odd-host"]),
        ("http://017700000001/", ["odd-host"]),
        ("http://0x7f.0.0.1/", ["odd-host"]),
        ("http://0177.0.0.1/", ["odd-host"]),
        ("http://127.1/", ["odd-host"]),
        ("http://127.0.1/", ["odd-host"]),
        ("http://127.0.0.01/", ["odd-host"]),
        ("http://127.0.0.1./", ["odd-host"]),
        ("http://256.0.0.1/", ["odd-host"]),
        ("http://1.2.3.4.5/", ["odd-host"]),
        ("http://a.example.0x/", ["odd-host"]),
        # odd names
        ("http://a..example/", ["odd-host"]),
        ("http://.a.example/", ["odd-host"]),
        ("http://a.example../", ["odd-host"]),
        ("http://-a.example/", ["odd-host"]),
        ("http://a-.example/", ["odd-host"]),
        ("http://a%2eexample/", ["odd-host"]),
        ("http://127.0.0.1%2f@a.example", ["userinfo"]),
        ("http://a,b/", ["odd-host"]),
        ("http://" + "a" * 64 + ".example/", ["odd-host"]),
        ("http://" + "a." * 130 + "example/", ["odd-host"]),
        # IPv6
        ("http://[::1/", ["odd-host"]),
        ("http://[::1]x/", ["odd-host"]),
        ("http://::1/", ["no-host", "port"]),
        ("http://[fe80::1%25eth0]/", ["zone-id"]),
        ("http://[fe80::1%eth0]/", ["zone-id"]),
        ("http://[v1.a]/", ["odd-host"]),
        ("http://[127.0.0.1]/", ["odd-host"]),
        # ports
        ("http://a.example:/", ["port"]),
        ("http://a.example:0/", ["port"]),
        ("http://a.example:99999/", ["port"]),
        ("http://a.example:080/", ["port"]),
        ("http://a.example:-1/", ["port"]),
        ("http://a.example:٨٠/", ["not-ascii", "port"]),
        ("http://a.example:25/", ["bad-port"]),
        ("http://a.example:6379/", ["bad-port"]),
        # addresses and names that are not the public Internet
        ("http://127.0.0.1:8080/", ["loopback"]),
        ("http://[::1]:8080/", ["loopback"]),
        ("http://[::ffff:127.0.0.1]/", ["loopback"]),
        ("http://localhost/", ["loopback"]),
        ("http://LOCALHOST./", ["loopback"]),
        ("http://a.localhost/", ["loopback"]),
        ("http://0.0.0.0/", ["unspecified"]),
        ("http://10.0.0.1/", ["private"]),
        ("http://169.254.169.254/latest/meta-data/", ["metadata"]),
        ("http://[::ffff:a9fe:a9fe]/", ["metadata"]),
        ("http://METADATA.google.internal./", ["metadata"]),
        ("http://metadata/", ["metadata"]),
        # several at once
        ("http://u:p@127.1:99999/", ["userinfo", "odd-host", "port"]),
    ],
)
def test_a_url_that_may_not_be_called_is_refused_by_name(url: str, expected: list[str]) -> None:
    """With every fault, and never with what may be a secret in it."""
    assert expected == reasons(url)
    for one in Egress().rules().url_faults(url):
        assert "user:" not in one.detail
        assert one.detail.isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com/in?token=a@b:c\\d",
        "http://a.example",
        "http://a.example?x=1",
        "http://a.example#x",
        "http://A.Example.:8080/",
        "http://my_service:3000/",
        "http://xn--bcher-kva.example/",
        "http://a--b.example/",
        "http://1password.example/",
        "http://0x7f.example/",
        "http://93.184.216.34/",
        "http://[2606:2800:21f::1]:8443/",
        "http://[2606:2800:21F::1]/",
        "https://a.example:65535/",
        "http://metadata.example/",
        "http://notlocalhost/",
    ],
)
def test_a_url_of_the_public_internet_passes(url: str) -> None:
    """Names are decided when they are resolved."""
    assert [] == reasons(url)


@given(st.text(max_size=60) | st.from_regex(r"https?://[!-~]{1,60}", fullmatch=True))
def test_a_url_has_one_reading_or_is_refused(url: str) -> None:
    """Never both, never neither, never an exception; the same by either door."""
    origin, faults = read(url)
    assert (origin is None) == bool(faults)
    if origin is not None:
        assert 1 <= origin.port <= 65535
        assert origin.host == origin.host.lower()
    try:
        assert [] == reasons(url) or origin is None or Egress().rules().origin(url)
    except EgressDenied:
        assert origin is not None


# ---------------------------------------------------------------- the operator's lists


def decision(egress: Egress, host: str, port: int, address: str, namespace: str = "default") -> str:
    found = egress.rules(namespace).of_address(host, port, address)
    return "yes" if found is None else found.reason


@pytest.mark.parametrize(
    ("allow", "deny", "host", "port", "address", "expected"),
    [
        ("10.0.0.0/24", "", "h", 443, "10.0.0.5", "yes"),
        ("10.0.0.0/24", "", "h", 443, "10.0.1.5", "private"),
        ("10.0.0.0/24", "10.0.0.5", "h", 443, "10.0.0.5", "denied"),
        ("10.0.0.5:443", "", "h", 443, "10.0.0.5", "yes"),
        ("10.0.0.5:443", "", "h", 80, "10.0.0.5", "private"),
        ("10.0.0.0/24", "", "h", 443, "::ffff:10.0.0.5", "yes"),
        ("10.0.0.0/24", "", "h", 443, "64:ff9b::10.0.0.5", "yes"),
        ("10.0.0.0/24", "", "h", 443, "2002:a00:5::", "embedded"),
        ("", "10.0.0.0/8", "h", 443, "2002:a00:5::", "denied"),
        ("fd00:1::/32", "", "h", 443, "fd00:1::5", "yes"),
        ("[fd00:1::5]:8443", "", "h", 8443, "fd00:1::5", "yes"),
        ("db.internal", "", "db.internal", 443, "10.0.0.5", "yes"),
        ("DB.Internal.", "", "db.internal", 443, "10.0.0.5", "yes"),
        ("db.internal:8080", "", "db.internal", 443, "10.0.0.5", "private"),
        ("*.internal", "", "db.internal", 443, "10.0.0.5", "yes"),
        ("*.internal", "", "internal", 443, "10.0.0.5", "private"),
        ("*.internal", "", "db.internal.evil.example", 443, "10.0.0.5", "private"),
        ("*", "", "h", 443, "10.0.0.5", "yes"),
        ("", "*.bad.example", "a.bad.example", 443, "93.184.216.34", "denied"),
        ("", "93.184.216.0/24", "h", 443, "93.184.216.34", "denied"),
        ("", "93.184.216.34:8080", "h", 443, "93.184.216.34", "yes"),
        ("a.example", "*", "a.example", 443, "93.184.216.34", "yes"),
        ("a.example", "*", "b.example", 443, "93.184.216.34", "denied"),
        ("93.184.216.0/24", "*", "b.example", 443, "93.184.216.34", "yes"),
        ("", "*:8080", "b.example", 8080, "93.184.216.34", "denied"),
        ("", "*:8080", "b.example", 443, "93.184.216.34", "yes"),
        ("a.example", "93.184.216.34", "a.example", 443, "93.184.216.34", "denied"),
        ("a.example", "", "a.example", 25, "93.184.216.34", "bad-port"),
        ("a.example:25", "", "a.example", 25, "93.184.216.34", "yes"),
        ("93.184.216.34:25", "", "a.example", 25, "93.184.216.34", "yes"),
        ("*:25", "", "a.example", 25, "10.0.0.1", "yes"),
        ("a.example, 93.184.216.34:25", "", "a.example", 25, "93.184.216.34", "yes"),
    ],
)
def test_the_lists_decide(allow: str, deny: str, host: str, port: int, address: str, expected: str) -> None:
    """Deny wins; a name is allowed with its addresses; `*` in the deny list is what nobody allowed."""
    egress = Egress(allow, deny)
    assert expected == decision(egress, host, port, address)
    early = egress.rules().of_host(host, port)
    assert early is None or early.reason == expected  # at submit nothing is refused that a call may do


def test_a_rule_of_a_namespace_is_for_that_namespace() -> None:
    """One tenant's inner network is no other's."""
    egress = Egress("acme=10.0.0.0/8, 192.168.1.1", "umbrella=*.example")
    assert "yes" == decision(egress, "h", 443, "10.0.0.1", "acme")
    assert "private" == decision(egress, "h", 443, "10.0.0.1")
    assert "private" == decision(egress, "h", 443, "10.0.0.1", "umbrella")
    assert "yes" == decision(egress, "h", 443, "192.168.1.1", "umbrella")
    assert ["denied"] == reasons("http://a.example/", egress, "umbrella")
    assert [] == reasons("http://a.example/", egress, "acme")
    found = egress.rules("acme").of_address("h", 443, "192.168.7.7")
    assert found is not None
    assert "TASKPOST_EGRESS_ALLOW=acme=h" in found.detail
    assert egress.rules("other") is egress.rules("default")


def test_development_mode_allows_loopback_and_nothing_else() -> None:
    """By address and by name."""
    egress = Egress(dev=True)
    for url in ("http://127.0.0.1:8080", "http://[::1]:3000/", "http://localhost:25/", "http://127.0.0.1:1/"):
        assert [] == reasons(url, egress)
    for address in ("0.0.0.0", "10.0.0.1", "169.254.1.1", "::"):
        assert decision(egress, "h", 80, address) != "yes"
    assert ["metadata"] == reasons("http://169.254.169.254/", egress)


def test_one_denied_address_denies_the_host() -> None:
    """Or the next call would go there. The text names host, address, rule and setting."""
    with pytest.raises(EgressDenied) as caught:
        Egress().rules().check("h.example", 443, ["93.184.216.34", "10.0.0.7"])
    assert "private" == caught.value.reason
    told = "h.example, which is 10.0.0.7, is a private address (RFC 1918, 10.0.0.0/8); whoever runs this Taskpost"
    assert f"{told} allows it with TASKPOST_EGRESS_ALLOW=h.example" == str(caught.value)


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://127.0.0.1:6390/0", {("127.0.0.1", 6390)}),
        ("redis://user:p%40ss@Cache.Example.:6390", {("cache.example", 6390)}),
        ("rediss://cache.example", {("cache.example", 6379)}),
        ("redis://[::1]:6390/2", {("::1", 6390)}),
        ("redis://", {("localhost", 6379)}),
        ("redis+sentinel://:p@a:26379,b/main/0", {("a", 26379), ("b", 26379)}),
        ("redis+cluster://a:7000,b:7001", {("a", 7000), ("b", 7001)}),
        ("unix:///run/redis.sock", set()),
    ],
)
def test_our_own_redis_is_read_from_its_url(redis_url: str, expected: set[tuple[str, int]]) -> None:
    """Each form that the settings take."""
    assert expected == own_servers(redis_url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"])
def test_our_own_redis_is_denied_under_each_name_of_this_machine(host: str) -> None:
    """Whatever is allowed; another port of the machine is another matter."""
    egress = Egress("*", dev=True, own=own_servers("redis://127.0.0.1:6390/0"))
    assert ["own-redis"] == reasons(f"http://{host}:6390/", egress)
    assert [] == reasons(f"http://{host}:6391/", egress)


def test_our_own_redis_is_denied_by_its_name_and_by_each_address_of_it() -> None:
    """The addresses are known to those who resolved them."""
    rules = Egress("*", own=own_servers("redis://cache.example:6390")).rules()
    assert ["own-redis"] == [one.reason for one in rules.url_faults("http://Cache.Example.:6390/")]
    own = [(address_of("10.0.0.9"), 6390), (address_of("fd00::9"), 6390)]
    for text in ("10.0.0.9", "::ffff:10.0.0.9", "fd00::9"):
        found = rules.of_address("h", 6390, text, own)
        assert found is not None
        assert "own-redis" == found.reason
        assert rules.of_address("h", 6391, text, own) is None


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.0/33", "10.0.0.5/24", "300.1.1.1", "a b", "http://a.example", "a.example:99999", "a.*.example", "a..b",
        "*a", "acme=", "10.0.0.0-10.0.0.9", "::1:x", "-a", "10.0.0.1:99999",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["egress_allow", "egress_deny"])
def test_a_rule_that_cannot_be_read_stops_the_start(entry: str, name: str) -> None:
    """A guard that misreads its list is worse than none; the text shows setting, entry and forms."""
    with pytest.raises(InvalidSetting, match=f"TASKPOST_{name.upper()}=.*needs an address, a network"):
        Settings(**{name: f"10.0.0.0/8, {entry}"})


def test_what_may_be_called_is_said_at_the_start() -> None:
    """Nobody is left to guess whether the guard stands."""
    assert "the public Internet" == described(Settings())
    told = "the public Internet, this machine (TASKPOST_DEV=1), what TASKPOST_EGRESS_ALLOW names; but nothing that"
    assert f"{told} TASKPOST_EGRESS_DENY names" == described(Settings(dev=True, egress_allow="a.b", egress_deny="c.d"))
