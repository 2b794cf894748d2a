"""
Who is signed in: a session stands for a key, until it ends or the key does.

The fact to know: Redis has the hash of a session's token, and a proof that its key has not changed since, so that
nobody learns from there how to be somebody.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass

import orjson

from service.store import keys
from service.store.scripts import Scripts

PREFIX = "tps_"


@dataclass(frozen=True, slots=True)
class Session:
    """What a token stands for: a key by its id, `operator` for that of the settings. *proof* is of `proof_of`."""

    key_id: str
    proof: str
    expires_ms: int


class Sessions:
    """Made, read, ended. Redis forgets those whose time has come."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts

    async def create(self, token: bytes, session: Session) -> None:
        """Raises StoreUnavailable: it may have been kept."""
        text = orjson.dumps(asdict(session))
        await self.scripts.command("SET", keys.session(hash_of(token)), text, "PXAT", session.expires_ms)

    async def read(self, token: bytes) -> Session | None:
        """The session of *token*, None when it has ended or never was."""
        text = await self.scripts.command("GET", keys.session(hash_of(token)))
        return None if text is None else Session(**orjson.loads(text))

    async def end(self, token: bytes) -> None:
        """It stands for nothing from now on."""
        await self.scripts.command("DEL", keys.session(hash_of(token)))


def new_session() -> bytes:
    """A fresh token; 256 bits of it are secret."""
    return (PREFIX + secrets.token_urlsafe(32)).encode()


def hash_of(token: bytes) -> str:
    return hashlib.sha256(token).hexdigest()


def proof_of(token: bytes, key_digest: str) -> str:
    """What only who has *token* can tell of the key of this SHA-256."""
    return hashlib.sha256(token + key_digest.encode()).hexdigest()
