"""
The operator's lists of what may be called and what not, read: `TASKPOST_EGRESS_ALLOW` and `TASKPOST_EGRESS_DENY`.

Pure. Owns the form of an entry and what it fits; which entry wins is the business of `egress`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network
from urllib.parse import unquote, urlsplit

from service.egress_table import Address, Network
from service.egress_urls import name_faults
from service.errors import InvalidSetting

Server = tuple[str, int]

NAMESPACED = re.compile(r"([A-Za-z0-9._-]{1,64})=(.*)")
WITH_PORT = re.compile(r"(\[[^\]]*\]|[^:]*):([0-9]{1,5})")
RULE_FORMS = "an address, a network (10.0.0.0/8), a host, *.example.com or *; :port may follow, namespace= go before"


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of a list. Has a *network* or a *name*; *port* None means every port, *namespace* None everybody."""

    namespace: str | None
    network: Network | None
    name: str
    port: int | None

    @property
    def is_all(self) -> bool:
        return self.name == "*"

    def fits_host(self, host: str, port: int) -> bool:
        """Whether it names *host*; `*.example.com` names what is below example.com."""
        if self.network is not None or self.is_all or self.port not in (None, port):
            return False
        return host.endswith(self.name[1:]) if self.name.startswith("*") else host == self.name

    def fits_address(self, addresses: Iterable[Address], port: int) -> bool:
        network = self.network
        return network is not None and self.port in (None, port) and any(one in network for one in addresses)


def read_rules(variable: str, text: str) -> tuple[Rule, ...]:
    """
    The rules of a list as an operator writes it.

    Raises:
        InvalidSetting: one that cannot be read; it is named.
    """
    return tuple(read_rule(variable, entry) for part in text.split(",") if (entry := part.strip()))


def read_rule(variable: str, entry: str) -> Rule:
    namespace, target, port = None, entry, None
    if found := NAMESPACED.fullmatch(entry):
        namespace, target = found[1], found[2]
    if found := WITH_PORT.fullmatch(target):
        target, port = found[1], int(found[2])
    target = target.lower().removesuffix(".")
    why = "" if (port or 0) <= 65535 else f"; there is no port {port}"
    try:
        if not why:
            return Rule(namespace, ip_network(target.strip("[]")), "", port)
    except ValueError as exc:
        wrong = next(name_faults(target.removeprefix("*.")), None) if target != "*" else None
        if wrong is None and target:
            return Rule(namespace, None, target, port)
        why = f"; {exc}" if re.search("[/:]|[0-9]$", target) else ""
    raise InvalidSetting(f"{variable}={entry}: needs {RULE_FORMS}{why}")


def own_servers(redis_url: str) -> frozenset[Server]:
    """The (host, port) pairs at which *redis_url* finds Redis; none for a socket file."""
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        return frozenset()
    default = 26379 if "sentinel" in parts.scheme else 6379
    found = set()
    for one in parts.netloc.rpartition("@")[2].split(","):
        host, _, port = one.partition("]:") if one.startswith("[") else one.partition(":")
        name = unquote(host).strip("[]").lower().removesuffix(".")
        found.add((name or "localhost", int(port) if port.isdecimal() else default))
    return frozenset(found)
