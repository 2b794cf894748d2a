"""
Which URLs and addresses may be called: the egress guard, without the network.

    rules = Egress.of_settings(settings).rules(namespace)
    rules.url_faults(url)                what a submission is refused for
    rules.of_host(host, port)            what can be told before the name is resolved
    rules.of_address(host, port, text)   the decision on one address that the name resolved to

Owns the order of the rules. Refuses to resolve: the API asks at submit, workers ask again when they connect, with
every address of the host, and connect to nothing that was not asked about. The facts to know: deny wins over allow, `*`
in the deny list is everything that no allow rule names, and neither metadata services nor our own Redis can be allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from service.egress_rules import Server, own_servers, read_rules
from service.egress_table import (
    MAPPED,
    METADATA_NAMES,
    Address,
    address_of,
    carried,
    is_metadata,
    special_of,
    translated,
)
from service.egress_urls import Origin, Refusal, read
from service.errors import EgressDenied

if TYPE_CHECKING:
    from service.settings import Settings

__all__ = ["Egress", "EgressDenied", "Origin", "Refusal", "Rules", "described", "own_servers", "read"]

DEFAULT_NAMESPACE = "default"
ALLOW, DENY, DEV = "TASKPOST_EGRESS_ALLOW", "TASKPOST_EGRESS_DENY", "TASKPOST_DEV"
PLAIN = re.compile(r"[!-~]+")
# The ports of the Fetch standard ("bad ports"), on which other protocols listen that a request could be mistaken for,
# and those of Redis and memcached, which read any line as a command.
BAD_PORTS = frozenset((
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190,
    5060, 5061, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080, 11211,
))  # fmt: skip


class Egress:
    """The rules of all namespaces. *own* are the servers of our own Redis, by name or address."""

    def __init__(
        self,
        allow: str = "",
        deny: str = "",
        *,
        dev: bool = False,
        own: Collection[Server] = (),
    ) -> None:
        self.allow, self.deny = read_rules(ALLOW, allow), read_rules(DENY, deny)
        self.dev, self.own = dev, frozenset(own)
        self._named = {rule.namespace for rule in (*self.allow, *self.deny)}
        self._by_namespace: dict[str, Rules] = {}

    @classmethod
    def of_settings(cls, settings: Settings) -> Egress:
        """
        Raises:
            InvalidSetting: a rule that cannot be read.
        """
        own = own_servers(settings.redis_url)
        return cls(settings.egress_allow, settings.egress_deny, dev=settings.dev, own=own)

    def rules(self, namespace: str = DEFAULT_NAMESPACE) -> Rules:
        """What applies to *namespace*; namespaces without rules of their own share one object."""
        key = namespace if namespace in self._named else ""
        if key not in self._by_namespace:
            self._by_namespace[key] = Rules(self, namespace, is_named=bool(key))
        return self._by_namespace[key]


def described(settings: Settings) -> str:
    """What URL tasks may call, for those who start the service."""
    loopback = f", this machine ({DEV}=1)" if settings.dev else ""
    allowed = f", what {ALLOW} names" if settings.egress_allow else ""
    denied = f"; but nothing that {DENY} names" if settings.egress_deny else ""
    return f"the public Internet{loopback}{allowed}{denied}"


class Rules:
    """What one namespace may call."""

    def __init__(self, egress: Egress, namespace: str, *, is_named: bool) -> None:
        ours = (None, namespace) if is_named else (None,)
        self.allow = [rule for rule in egress.allow if rule.namespace in ours]
        deny = [rule for rule in egress.deny if rule.namespace in ours]
        self.deny = [rule for rule in deny if not rule.is_all]
        self.deny_rest = [rule for rule in deny if rule.is_all]
        self.dev, self.own = egress.dev, egress.own
        self.own_ports = frozenset(port for _, port in egress.own)
        self.prefix = f"{namespace}=" if is_named and namespace != DEFAULT_NAMESPACE else ""
        self.of_host = lru_cache(4096)(self._of_host)
        self._origin = lru_cache(4096)(self._read)

    # ------------------------------------------------------------ URLs

    def url_faults(self, url: str) -> list[Refusal]:
        """Everything that is wrong with *url*, as far as it can be told without resolving its host."""
        try:
            self.origin(url)
        except EgressDenied as exc:
            return [Refusal(exc.reason, str(exc))]
        except ValueError:
            return read(url)[1]
        return []

    def origin(self, url: str) -> Origin:
        """
        Who is called by *url*.

        Raises:
            ValueError: *url* cannot be called by anybody.
            EgressDenied: it may not be called by us.
        """
        if not PLAIN.fullmatch(url):
            raise ValueError(f"it {read(url)[1][0].detail}")
        # Of a URL only what stands before its path decides, and that repeats from task to task.
        end = url.find("/", 8)
        found = self._origin(url if end < 0 else url[: end + 1])
        if isinstance(found, Refusal):
            raise EgressDenied(found.reason, found.detail)
        return found

    def _read(self, url: str) -> Origin | Refusal:
        origin, faults = read(url)
        if origin is None:
            raise ValueError(f"it {faults[0].detail}")
        return self.of_host(origin.host, origin.port) or origin

    # ------------------------------------------------------------ hosts and addresses

    def _of_host(self, host: str, port: int) -> Refusal | None:
        """
        Why *host*, a name or an address, may not be called at *port*; None when it may, or when only its addresses can
        tell.
        """
        try:
            address = address_of(host)
        except ValueError:
            address = None
        if address is not None:
            return self.of_address(host, port, address)
        if host in METADATA_NAMES:
            about = "is a metadata service, which gives out credentials"
            return Refusal("metadata", f"{host} {about}; it is always denied")
        if port in self.own_ports and self.is_own_name(host, port):
            return Refusal("own-redis", f"{host}:{port} is Taskpost's own Redis; it is always denied")
        if any(rule.fits_host(host, port) for rule in self.deny):
            return Refusal("denied", f"{host} is denied by {DENY}")
        if any(rule.network is not None and rule.port in (None, port) for rule in self.allow):
            return None  # one of its addresses may be what the operator means
        if not self.allows_name(host, port):
            if any(rule.port in (None, port) for rule in self.deny_rest):
                return self.not_named(host, host)
            if is_local_name(host):
                about = "is the worker's own machine (RFC 6761)"
                return None if self.dev else Refusal("loopback", f"{host} {about}; {self.hint('loopback', host)}")
        return bad_port(port, host, self.prefix) if port in BAD_PORTS and not self.opens(port, host) else None

    def of_address(
        self, host: str, port: int, address: Address | str, own: Collection[tuple[Address, int]] = ()
    ) -> Refusal | None:
        """
        Why *address*, one of *host*'s, may not be connected to at *port*; None when it may.

        *own* are the addresses of our own Redis, as far as they are known here.
        """
        address = address_of(address) if isinstance(address, str) else address
        reached = [address, *carried(address)]
        place = str(address) if host == str(address) else f"{host}, which is {address},"
        if is_metadata(address):
            about = "is an address of a metadata service, which gives out credentials"
            return Refusal("metadata", f"{place} {about}; it is always denied")
        if self.is_own(reached, port, own):
            return Refusal("own-redis", f"{place} at port {port} is Taskpost's own Redis; it is always denied")
        if any(rule.fits_host(host, port) or rule.fits_address(reached, port) for rule in self.deny):
            return Refusal("denied", f"{place} is denied by {DENY}")
        if not self.allows_name(host, port) and not self.allows_address(address, port):
            if any(rule.port in (None, port) for rule in self.deny_rest):
                return self.not_named(host, place)
            found = special_of(address)
            if found is not None:
                if self.dev and found.kind == "loopback":
                    return None  # at any port: a developer's own machine
                about = f"is {found.about.removesuffix(')')}, {found.network})"
                return Refusal(found.kind, f"{place} {about}; {self.hint(found.kind, host)}")
        if port in BAD_PORTS and not self.opens(port, host, address):
            return bad_port(port, host, self.prefix)
        return None

    def check(self, host: str, port: int, addresses: Iterable[str], own: Collection[tuple[Address, int]] = ()) -> None:
        """
        All *addresses* of *host*: one that is denied denies the host, since the next call could go to it.

        Raises:
            EgressDenied: with the rule, the host, the address, and the setting that would change it.
        """
        for address in addresses:
            if (refusal := self.of_address(host, port, address, own)) is not None:
                raise EgressDenied(refusal.reason, refusal.detail)

    # ------------------------------------------------------------ rules

    def allows_name(self, host: str, port: int) -> bool:
        return any((rule.is_all and rule.port in (None, port)) or rule.fits_host(host, port) for rule in self.allow)

    def allows_address(self, address: Address, port: int) -> bool:
        """Whether a rule names *address*, or the IPv4 host that is reached by it; of several, all must be named."""
        forms: list[list[Address]] = [[address]]
        if isinstance(address, IPv6Address):
            inner = [IPv4Address(address.packed[12:])] if address in MAPPED else translated(address)
            if inner:
                forms.append([*inner])
        return any(all(any(rule.fits_address([one], port) for rule in self.allow) for one in form) for form in forms)

    def opens(self, port: int, host: str, address: Address | None = None) -> bool:
        """Whether an allow rule names this *port* of the host; one without a port opens none of the bad ports."""
        rules = [rule for rule in self.allow if rule.port == port]
        found = [] if address is None else [address, *carried(address)]
        return any(rule.is_all or rule.fits_host(host, port) or rule.fits_address(found, port) for rule in rules)

    def is_own_name(self, host: str, port: int) -> bool:
        """Whether *host* is how we call our Redis ourselves, or another name of the same machine."""
        own = [server for server, own_port in self.own if own_port == port]
        return host in own or (is_local_name(host) and any(is_local_name(server) for server in own))

    def is_own(self, reached: list[Address], port: int, own: Collection[tuple[Address, int]]) -> bool:
        """Whether Redis is there. If it listens on loopback, every loopback address reaches it, and 0.0.0.0 too."""
        for server, own_port in self.own:
            if own_port == port and is_local_name(server) and any(is_own_machine(one) for one in reached):
                return True
            if own_port == port and any(str(one) == server for one in reached):
                return True
        for address, own_port in own:
            if own_port == port and (
                address in reached or (is_own_machine(address) and any(is_own_machine(one) for one in reached))
            ):
                return True
        return False

    def not_named(self, host: str, place: str) -> Refusal:
        return Refusal("denied", f"{place} is not named by {ALLOW}, and {DENY} denies all else; {self.hint('', host)}")

    def hint(self, kind: str, host: str) -> str:
        """What an operator would set."""
        named = f"[{host}]" if ":" in host else host
        dev = f" or {DEV}=1" if kind == "loopback" else ""
        return f"whoever runs this Taskpost allows it with {ALLOW}={self.prefix}{named}{dev}"


def bad_port(port: int, host: str, prefix: str) -> Refusal:
    named = f"[{host}]" if ":" in host else host
    about = f"port {port} belongs to another protocol than HTTP"
    return Refusal("bad-port", f"{about}; whoever runs this Taskpost allows it with {ALLOW}={prefix}{named}:{port}")


def is_local_name(host: str) -> bool:
    """Whether *host* names the machine itself (RFC 6761), or is one of its loopback addresses."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return is_own_machine(address_of(host))
    except ValueError:
        return False


def is_own_machine(address: Address) -> bool:
    """Whether *address* always means the machine itself."""
    found = special_of(address)
    return found is not None and found.kind in ("loopback", "unspecified")
