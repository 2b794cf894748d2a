"""
Completion tokens: by which an endpoint that answered 202 finishes its task later, and says that it is alive.

Pure. A token is made of one attempt's task and lease, and sealed with a secret of the deployment: nobody can make one
up, nothing has to be stored, and it is worth nothing once the lease has passed on or the task has ended.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from hmac import compare_digest

ID_BYTES, LEASE_BYTES, SEAL_BYTES = 16, 12, 17  # 45 together: 60 characters without padding
CHARACTERS = 60
PATH = "/v1/completions/"

HEARTBEAT_SECONDS = 60.0  # an endpoint that says nothing of it is to be heard from so often
LEAST_HEARTBEAT_SECONDS, MOST_HEARTBEAT_SECONDS = 1.0, 86_400.0


def token_of(secret: bytes, id_: bytes, lease: bytes) -> str:
    """The token of the attempt that holds the task *id_* by the lease token *lease*."""
    return urlsafe_b64encode(id_ + lease + seal(secret, id_ + lease)).decode()


def read_token(secret: bytes, token: str) -> tuple[bytes, bytes] | None:
    """(task, lease token) of *token*; None when it was not made with *secret*."""
    if len(token) != CHARACTERS or not secret:
        return None
    try:
        packed = urlsafe_b64decode(token.encode("ascii"))
    except ValueError:
        return None
    held, given = packed[: ID_BYTES + LEASE_BYTES], packed[ID_BYTES + LEASE_BYTES :]
    if len(given) != SEAL_BYTES or not compare_digest(given, seal(secret, held)):
        return None
    return held[:ID_BYTES], held[ID_BYTES:]


def seal(secret: bytes, held: bytes) -> bytes:
    return blake2b(held, digest_size=SEAL_BYTES, key=secret, person=b"completion").digest()


def url_of(beginning: str, token: str) -> str:
    """The completion URL, which the endpoint adds what it has to say to: `/complete`, `/heartbeat` and so on."""
    return f"{beginning.rstrip('/')}{PATH}{token}"


def heartbeat_seconds(header: str | None) -> float:
    """How often an endpoint says it will be heard from; 60 when that cannot be read, from a second to a day."""
    try:
        seconds = float(header or "")
    except ValueError:
        return HEARTBEAT_SECONDS
    if seconds != seconds:
        return HEARTBEAT_SECONDS
    return min(max(seconds, LEAST_HEARTBEAT_SECONDS), MOST_HEARTBEAT_SECONDS)
