"""
What a URL must look like to be called: one reading of it, so that what is checked is what is called.

Pure. Programs read `http://a\\@b`, `http://2130706433` and `http://a:b@c` in different ways, and that difference is how
checks are walked around; such URLs are refused rather than read. Which hosts may be called is the business of `egress`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

MOST_HOST_CHARS = 253
SCHEME = re.compile(r"(https?)://")
AUTHORITY_END = re.compile(r"[/?#]")
BRACKETED = re.compile(r"\[([^\[\]]*)\](:.*)?")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")  # with the _ that containers and DNS records use
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
DOTTED = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}")
PORT = re.compile(r"[1-9][0-9]{0,4}")
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a URL, a host or an address may not be called: the rule's stable name, and a sentence."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Who is called. *host* is in lower case, an IPv6 address without brackets, a name without its last dot."""

    scheme: str
    host: str
    port: int
    is_address: bool


def read(url: str) -> tuple[Origin | None, list[Refusal]]:
    """The origin of *url* and nothing, or None and everything that is wrong with its form."""
    faults = list(character_faults(url))
    found = SCHEME.match(url)
    if found is None:
        named = url.partition(":")[0][:40] if ":" in url else ""
        given = f"has the scheme {named!r}; " if re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", named) else ""
        faults.append(Refusal("scheme", f"{given}needs http://host/… or https://host/…"))
        return None, faults
    authority = AUTHORITY_END.split(url[found.end() :], maxsplit=1)[0]
    if "\\" in authority:
        faults.append(Refusal("backslash", "has a backslash in its host, which programs read in different ways"))
        authority = authority.replace("\\", "")
    if "@" in authority:
        detail = "carries a user name or a password; send them in `headers`, as Authorization"
        faults.append(Refusal("userinfo", detail))
        authority = authority.rpartition("@")[2]
    host, port = parts_of(authority)
    faults += host_faults(host)
    faults += port_faults(port)
    if faults:
        return None, faults
    scheme = found[1]
    is_address = host.startswith("[") or DOTTED.fullmatch(host) is not None
    named = str(IPv6Address(host[1:-1])) if host.startswith("[") else host.lower().removesuffix(".")
    return Origin(scheme, named, int(port[1:]) if port else DEFAULT_PORTS[scheme], is_address), []


def character_faults(url: str) -> Iterator[Refusal]:
    """Characters that no URL has. What they are is told without showing them."""
    if odd := next((one for one in url if one <= " " or one == "\x7f"), None):
        detail = f"has a space or a control character (U+{ord(odd):04X}); percent-encode it"
        yield Refusal("control-character", detail)
    if odd := next((one for one in url if one > "\x7f"), None):
        detail = (
            f"is not ASCII (U+{ord(odd):04X}); write the host as xn--…, its ASCII form, and percent-encode the rest"
        )
        yield Refusal("not-ascii", detail)


def parts_of(authority: str) -> tuple[str, str]:
    """(host, port with its colon, empty when it names none); what cannot be split is a host that will be refused."""
    if authority.startswith("["):
        found = BRACKETED.fullmatch(authority)
        return (f"[{found[1]}]", found[2] or "") if found else (authority, "")
    host, colon, port = authority.partition(":")
    return host, colon + port


def host_faults(host: str) -> Iterator[Refusal]:
    """What is wrong with the form of *host*."""
    text = host.lower()
    if not text.strip("[]."):
        yield Refusal("no-host", "names no host; needs http://host/… or https://host/…")
    elif text.startswith("["):
        yield from bracketed_faults(text)
    elif "%" in text:
        yield Refusal("odd-host", "has a % in its host; a host is written in plain letters")
    elif any(one > "\x7f" or one <= " " for one in text):
        return  # told already
    else:
        yield from name_faults(text)


def bracketed_faults(text: str) -> Iterator[Refusal]:
    inner = text[1:-1]
    if "%" in inner:
        yield Refusal("zone-id", "names a zone of an IPv6 address, which means something on one machine only")
        return
    try:
        IPv6Address(inner if text.endswith("]") else "")
    except AddressValueError:
        yield Refusal("odd-host", "has brackets around what is no IPv6 address")


def name_faults(text: str) -> Iterator[Refusal]:
    labels = text.removesuffix(".").split(".")
    if NUMBER.fullmatch(labels[-1]):
        if not is_dotted(text):
            detail = "names an IPv4 address in an unusual form; write four decimal numbers, such as 192.0.2.1"
            yield Refusal("odd-host", detail)
    elif len(text) > MOST_HOST_CHARS:
        yield Refusal("odd-host", f"has a host of {len(text)} characters; at most {MOST_HOST_CHARS} are taken")
    elif wrong := next((one for one in labels if not LABEL.fullmatch(one)), None):
        detail = "needs 1 to 63 letters, digits, - and _, no - at either end"
        yield Refusal("odd-host", f"has a host with the part {wrong[:80]!r}; each part {detail}")
    elif "" in labels:
        yield Refusal("odd-host", "has a host with an empty part; write one dot between two parts")


def is_dotted(text: str) -> bool:
    """Whether *text* is an IPv4 address in its one usual form."""
    if not DOTTED.fullmatch(text):
        return False
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def port_faults(port: str) -> Iterator[Refusal]:
    """*port* with its colon, or empty."""
    if port and not (PORT.fullmatch(port[1:]) and int(port[1:]) <= 65535):
        yield Refusal("port", f"names the port {port[1:][:20]!r}; needs a number from 1 to 65535, or none")
