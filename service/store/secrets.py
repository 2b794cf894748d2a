"""
The secrets with which call-outs are signed, for each namespace; their rotation; and the key of identity tokens.

A namespace has them from the first time that anybody needs them: whichever process is first makes them, all others
find them. A *generation* is a `whsec_` secret and a `whsk_` key that are made and rotated together.
The fact to know: while a rotation lasts, several generations sign; the newest comes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.errors import InvalidSubmission
from service.identity import new_identity_key
from service.sealing import Keyring
from service.signing import Signer, new_private_key, new_secret, public_key_of
from service.store.fields import Document, Fields
from service.store.scripts import Scripts
from service.store.tasks import Clock
from service.task import rfc3339

IDENTITY = "@identity"  # a field beside the namespaces', none of which can be called so
MOST_GENERATIONS = 5  # each adds 130 bytes to the headers of every call


@dataclass(frozen=True, slots=True)
class Generation:
    """*expires_ms* is None for the current one."""

    secret: str
    private_key: str
    created_ms: int
    expires_ms: int | None = None

    def __repr__(self) -> str:
        return f"<Generation of {rfc3339(self.created_ms)}>"

    @property
    def public_key(self) -> str:
        return public_key_of(self.private_key)


class Secrets:
    """Reads, makes and rotates the secrets of namespaces."""

    def __init__(self, scripts: Scripts, clock: Clock, keyring: Keyring) -> None:
        self.fields, self.clock = Fields(scripts, "S", keyring), clock

    async def generations(self, namespace: str) -> list[Generation]:
        """Those that sign now, the newest first; made when there are none."""
        document = await self.fields.read(namespace)
        if document is None:
            document = await self.fields.change(namespace, lambda found: found or self.first())
        return self.alive(document)

    async def identity(self) -> list[str]:
        """The keys of the deployment's identity tokens as PEM, the one that signs first; made when there are none."""
        document = await self.fields.read(IDENTITY)
        if document is None:
            fresh = {"keys": [{"private_key": new_identity_key(), "created_ms": self.clock.now_ms()}]}
            document = await self.fields.change(IDENTITY, lambda found: found or fresh)
        return [str(one["private_key"]) for one in (document or {}).get("keys", [])]

    async def rotate(self, namespace: str, overlap_seconds: float) -> list[Generation]:
        """
        Make a new generation; those before sign along for *overlap_seconds* at most.

        Raises:
            InvalidSubmission: too many sign already.
        """
        fresh = self.made()

        def rotated(found: Document | None) -> Document:
            now_ms = self.clock.now_ms()
            end_ms = now_ms + int(overlap_seconds * 1000)
            older = [one for one in self.alive(found) if end_ms > now_ms]
            if len(older) >= MOST_GENERATIONS:
                ends = min(one.expires_ms for one in older if one.expires_ms is not None)
                raise InvalidSubmission(
                    f"{len(older)} secrets sign already, because of rotations whose overlap has not ended: rotate "
                    f"again after {rfc3339(ends)}, or with overlap_seconds 0, which ends all old ones at once"
                )
            kept = [{**packed(one), "expires_ms": min(one.expires_ms or end_ms, end_ms)} for one in older]
            return {"generations": [packed(fresh), *kept]}

        return self.alive(await self.fields.change(namespace, rotated))

    def made(self) -> Generation:
        return Generation(new_secret(), new_private_key(), self.clock.now_ms())

    def first(self) -> Document:
        return {"generations": [packed(self.made())]}

    def alive(self, document: Document | None) -> list[Generation]:
        """The generations of *document* that have not expired."""
        now_ms = self.clock.now_ms()
        found = [Generation(**one) for one in (document or {}).get("generations", [])]
        return [one for one in found if one.expires_ms is None or one.expires_ms > now_ms]


def packed(generation: Generation) -> dict[str, Any]:
    return {
        "secret": generation.secret,
        "private_key": generation.private_key,
        "created_ms": generation.created_ms,
        "expires_ms": generation.expires_ms,
    }


def signer_of(generations: list[Generation], versions: str = "v1,v1a") -> Signer:
    """A signer with all keys of *generations* that make signatures of *versions*."""
    wanted = versions.split(",")
    pairs = [(version, key) for one in generations for version, key in (("v1", one.secret), ("v1a", one.private_key))]
    return Signer(key for version, key in pairs if version in wanted)
