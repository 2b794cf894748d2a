"""
Who may ask: the bearer key (RFC 6750) and the size of a request's headers.

The fact to know: keys are compared in constant time, and a service without a key asks nobody for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hmac import compare_digest

from service.errors import HeadersTooLarge, Unauthorized
from service.settings import Settings
from service.task import DEFAULT_NAMESPACE

CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what is in *namespace* is there for them, and nothing else."""

    namespace: str
    expires_ms: int | None = None  # when their read token does, by Redis' clock


OPERATOR = Caller(DEFAULT_NAMESPACE)  # who runs the service: brings its key, or is asked for none


class Gate:
    """Lets requests in."""

    def __init__(self, settings: Settings) -> None:
        self.key = settings.api_key.encode()
        self.most_bytes = settings.max_headers_bytes

    def check(self, raw: Iterable[tuple[bytes, bytes]], headers: Mapping[bytes, bytes]) -> Caller:
        """
        Who asks. *raw* are the request's headers as ASGI gives them, *headers* the same by name.

        Raises:
            Unauthorized: no key, or a wrong one.
            HeadersTooLarge: over the bound altogether.
        """
        if self.key:
            self.authorize(headers.get(b"authorization", b""))
        self.check_size(raw)
        return OPERATOR

    def check_size(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises HeadersTooLarge."""
        size = 0
        for name, value in raw:
            size += len(name) + len(value) + 4
        if size > self.most_bytes:
            raise HeadersTooLarge(f"the headers have {size} bytes; at most {self.most_bytes} are read")

    def authorize(self, given: bytes) -> None:
        scheme, _, key = given.partition(b" ")
        if not key or scheme.lower() != b"bearer":
            raise Unauthorized('no API key was given; send it as "Authorization: Bearer <key>"', headers=CHALLENGE)
        if not compare_digest(key.strip(), self.key):
            raise Unauthorized("this API key is not the one of this service", headers=CHALLENGE)
