"""
Read tokens: by which an end user's browser reads one task, and follows it.

Pure. A token is made of the task and of when it expires, sealed with the secret of the deployment: nobody can make one
up, nothing is stored, and nothing takes it back, so it is to be short-lived.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import blake2b
from hmac import compare_digest

ID_BYTES, TIME_BYTES, SEAL_BYTES = 16, 6, 17
TTL_SECONDS = 900.0  # unless it is asked for otherwise


@dataclass(frozen=True, slots=True)
class Reading:
    """What a token allows: to read the task *id* of *namespace* until *expires_ms*, by Redis' clock."""

    id: bytes
    expires_ms: int
    namespace: str


def token_of(secret: bytes, reading: Reading) -> str:
    """The token for *reading*."""
    held = reading.id + reading.expires_ms.to_bytes(TIME_BYTES, "big") + reading.namespace.encode()
    return urlsafe_b64encode(seal(secret, held) + held).rstrip(b"=").decode()


def read_token(secret: bytes, token: str) -> Reading | None:
    """What *token* allows; None when it was not made with *secret*."""
    try:
        packed = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError:
        return None
    given, held = packed[:SEAL_BYTES], packed[SEAL_BYTES:]
    if len(held) < ID_BYTES + TIME_BYTES or not secret or not compare_digest(given, seal(secret, held)):
        return None
    end = ID_BYTES + TIME_BYTES
    return Reading(held[:ID_BYTES], int.from_bytes(held[ID_BYTES:end], "big"), held[end:].decode())


def seal(secret: bytes, held: bytes) -> bytes:
    return blake2b(held, digest_size=SEAL_BYTES, key=secret, person=b"reading").digest()
