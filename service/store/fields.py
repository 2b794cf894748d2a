"""
Documents kept apart from tasks: secrets, settings of endpoints. JSON in the fields of a hash of shard 0.

Owns how they are written (`sealed`, `opened`: encryption at rest has its place there and nowhere else), and that
two who change one at once both do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from service.store import keys
from service.store.queues import pairs_of
from service.store.scripts import Scripts

Document = dict[str, Any]
VERSION = "#"  # a field that counts changes; no field of ours can be called so


def sealed(document: Document | None) -> bytes:
    """*document* as Redis holds it; empty for none."""
    return b"" if document is None else orjson.dumps(document)


def opened(text: bytes | None) -> Document | None:
    """The document that `sealed` wrote."""
    return orjson.loads(text) if text else None


class Fields:
    """The fields of one hash. *letter* is what replace.lua calls it."""

    def __init__(self, scripts: Scripts, letter: str) -> None:
        self.scripts, self.letter = scripts, letter
        self.key = {"S": keys.SECRETS, "E": keys.ENDPOINTS}[letter]

    async def read(self, field: str) -> Document | None:
        """The document of *field*."""
        return opened(await self.scripts.command("HGET", self.key, field))

    async def read_all(self) -> dict[str, Document]:
        """Every document by its field."""
        pairs = pairs_of(await self.scripts.command("HGETALL", self.key))
        found = {field.decode(): opened(text) for field, text in pairs if field != VERSION.encode()}
        return {field: document for field, document in found.items() if document is not None}

    async def version(self) -> bytes | None:
        """Another value after each change, whoever made it."""
        found: bytes | None = await self.scripts.command("HGET", self.key, VERSION)
        return found

    async def change(self, field: str, change: Callable[[Document | None], Document | None]) -> Document | None:
        """
        Put what *change* makes of the document of *field* in its place, None for none; it is asked again when somebody
        else was faster. Answers what stands then.

        Raises:
            StoreUnavailable: Redis did not answer; it may have taken effect.
        """
        text: bytes = await self.scripts.command("HGET", self.key, field) or b""
        while True:
            wanted = change(opened(text))
            if wanted == opened(text):
                return wanted
            new = sealed(wanted)
            found: bytes = await self.scripts.call(0, "replace", self.letter, field, text, new)
            if found == new:
                return wanted
            text = found
