"""
One request, from the submission to the bytes on the wire.

Owns how a request is written: the URL as it was given, header fields that cannot end before their line does. A lean
stand-in for `httpx.Request`, which takes as long to make as everything else here together; `as_httpx` makes that one
where a transport of httpx is to have it.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping, ValuesView
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx

from service.egress import Origin, Rules
from service.endpoint import endpoint_of
from service.request import UnusableRequest
from workers.push.trace import Trace

TARGET = re.compile(r"https?://[^/?#]*([^#]*)")
PLAIN = re.compile(r"[!-~]+")
WITH_LENGTH = frozenset(("POST", "PUT", "PATCH"))
named_endpoint = lru_cache(4096)(endpoint_of)  # of a URL without its path, since these repeat
DEFAULT_PORTS = {"http": 80, "https": 443}


class Headers:
    """Header fields, found in any case of letters and sent as they were written."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = {name.lower(): (name, value) for name, value in fields.items()}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()][1]

    def __setitem__(self, name: str, value: str) -> None:
        self._fields[name.lower()] = (name, value)

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._fields

    def get(self, name: str, default: Any = None) -> Any:
        found = self._fields.get(name.lower())
        return default if found is None else found[1]

    def setdefault(self, name: str, value: str) -> str:
        return self._fields.setdefault(name.lower(), (name, value))[1]

    def items(self) -> ValuesView[tuple[str, str]]:
        return self._fields.values()


@dataclass(slots=True)
class Call:
    """
    A request to *origin* under the *rules* of a namespace. *context* is how TLS is spoken, if not as usual: with a
    client certificate.
    """

    method: str
    url: str
    headers: Headers
    content: bytes
    origin: Origin
    rules: Rules
    context: ssl.SSLContext | None = None
    trace: Trace = field(default_factory=Trace)

    def wire(self) -> bytes:
        """
        The request as HTTP/1.1 writes it.

        Raises:
            UnusableRequest: it cannot be written so that it is one request.
        """
        found = TARGET.match(self.url)
        if found is None or not PLAIN.fullmatch(self.url):
            raise UnusableRequest("the URL cannot be written into a request")
        target = found[1] if found[1].startswith("/") else f"/{found[1]}"
        lines = [f"{self.method} {target} HTTP/1.1", f"Host: {self.host}", *map(": ".join, self.headers.items())]
        if self.content or self.method in WITH_LENGTH:
            lines.append(f"Content-Length: {len(self.content)}")
        head = "\r\n".join(lines)
        ends = len(lines) - 1
        if head.count("\n") != ends or head.count("\r") != ends or "\0" in head or not head.isascii():
            raise UnusableRequest("a header field has a line end or something else in it that HTTP cannot carry")
        return head.encode("ascii") + b"\r\n\r\n" + self.content

    @property
    def host(self) -> str:
        """What the Host header says."""
        named = f"[{self.origin.host}]" if ":" in self.origin.host else self.origin.host
        return named if self.origin.port == DEFAULT_PORTS[self.origin.scheme] else f"{named}:{self.origin.port}"

    @property
    def endpoint(self) -> str:
        """The name of the endpoint that is called. Raises ValueError: it has none."""
        found = TARGET.match(self.url)
        return named_endpoint(self.url[: found.start(1)] if found else self.url)

    def as_httpx(self) -> httpx.Request:
        return httpx.Request(
            self.method, self.url, headers=list(self.headers.items()), content=self.content or None,
            extensions={"rules": self.rules, "context": self.context},
        )  # fmt: skip


def of_httpx(request: httpx.Request, rules: Rules, context: ssl.SSLContext | None = None) -> Call:
    """
    *request*, whose body was read, as a call.

    Raises:
        ValueError, EgressDenied: its URL cannot or may not be called.
    """
    url = str(request.url)
    sent = {
        name: value
        for name, value in request.headers.items()
        if name.lower() not in ("host", "content-length", "connection", "transfer-encoding")
    }
    return Call(request.method, url, Headers(sent), request.content, rules.origin(url), rules, context)
