"""
API keys in Redis: made, listed, revoked; when each was last used, and what of its rate is left.

The fact to know: what is revoked stays listed, and the hash of keys is never gone once there was one, so that a service
that asked for keys never stops to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from service.apikeys import ApiKey
from service.errors import TooManyKeys
from service.sealing import Keyring
from service.store import keys
from service.store.fields import Document, Fields
from service.store.replies import pairs_of
from service.store.scripts import Scripts
from service.store.tasks import Clock

MOST_KEYS = 10_000
ENDED_MS = 30 * 86_400_000  # so long a key is listed that is revoked or has expired


class Ration(NamedTuple):
    """*given* units; *left* are there, one at the latest in *wait_ms*, and all again in *reset_ms*."""

    given: int
    left: int
    reset_ms: int
    wait_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """A key, and when it was last used: ms since the epoch, None for never."""

    key: ApiKey
    used_ms: int | None


class ApiKeys:
    """All keys of the deployment."""

    def __init__(self, scripts: Scripts, clock: Clock, keyring: Keyring) -> None:
        self.scripts, self.clock = scripts, clock
        self.fields = Fields(scripts, "K", keyring)

    async def exist(self) -> bool:
        """Whether there is a key, or ever was. Raises StoreUnavailable."""
        return bool(await self.scripts.command("EXISTS", keys.API_KEYS))

    async def read(self, id_: str) -> ApiKey | None:
        """The key of this id, whatever its state. Raises StoreUnavailable."""
        document = await self.fields.read(id_)
        return None if document is None else ApiKey.of(id_, document)

    async def found(self, id_: str) -> Found | None:
        """The same, with its last use."""
        key = await self.read(id_)
        used = await self.scripts.command("HGET", keys.KEY_USES, id_)
        return None if key is None else Found(key, int(used) if used else None)

    async def list(self) -> list[Found]:
        """All keys that are listed, the oldest first."""
        documents = await self.fields.read_all()
        used = dict(pairs_of(await self.scripts.command("HGETALL", keys.KEY_USES)))
        found = [ApiKey.of(id_, document) for id_, document in documents.items()]
        found.sort(key=lambda key: (key.created_ms, key.id))
        return [Found(key, int(used[key.id.encode()]) if key.id.encode() in used else None) for key in found]

    async def create(self, key: ApiKey) -> None:
        """
        Keep *key*; what ended long ago is forgotten.

        Raises:
            TooManyKeys: nothing was kept.
        """
        known = [one.key for one in await self.list()]
        before_ms = self.clock.now_ms() - ENDED_MS
        ended = [one for one in known if (one.revoked_ms or one.expires_ms or before_ms) < before_ms]
        for one in ended:
            await self.fields.change(one.id, lambda _: None)
            await self.scripts.command("HDEL", keys.KEY_USES, one.id)
        if len(known) - len(ended) >= MOST_KEYS:
            raise TooManyKeys(f"there are {MOST_KEYS:,} keys; those that are revoked are forgotten after 30 days")
        await self.fields.change(key.id, lambda _: key.document())

    async def revoke(self, id_: str) -> ApiKey | None:
        """The key, which opens nothing from the next seconds on; None when there is none."""
        now_ms = self.clock.now_ms()

        def revoked(document: Document | None) -> Document | None:
            if document is None or "revoked_ms" in document:
                return document
            return replace(ApiKey.of(id_, document), revoked_ms=now_ms).document()

        document = await self.fields.change(id_, revoked)
        return None if document is None else ApiKey.of(id_, document)

    async def note_uses(self, used_ms: Mapping[str, int]) -> None:
        """These keys, by their ids, were used at these times."""
        pairs = [part for pair in used_ms.items() for part in pair]
        await self.scripts.command("HSET", keys.KEY_USES, *pairs)

    async def take(self, key: ApiKey, used: int, wanted: int) -> Ration:
        """
        Count *used* units of the rate of *key*, and take up to *wanted* more.

        Raises:
            StoreUnavailable: they may have been taken.
        """
        limit = key.rate_limit or {}
        window_us = int(limit["window_seconds"] * 1_000_000)
        unit_us = max(window_us // int(limit["requests"]), 1)
        return Ration(*await self.scripts.call(0, "ration", key.id, unit_us, window_us, used, wanted))
