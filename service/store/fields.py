"""
Documents kept apart from tasks: secrets, settings of endpoints and of queues, work on many tasks. JSON in the fields of
a hash of shard 0.

Owns how they are written, sealed where there are keys (`Fields.sealed` and `Fields.opened`, nowhere else), and that two
who change one at once both do.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Self

import orjson

from service.errors import PayloadUnreadable, TaskpostError
from service.sealing import Keyring, version_of
from service.store import keys
from service.store.replies import pairs_of
from service.store.scripts import Scripts

log = logging.getLogger("taskpost.store")

Document = dict[str, Any]
FRESH_SECONDS = 3.0
KEYS = {
    "S": keys.SECRETS, "E": keys.ENDPOINTS, "Q": keys.QUEUE_SETTINGS, "B": keys.BULKS, "A": keys.ALARMS,
    "K": keys.API_KEYS,
}  # fmt: skip
VERSION = "#"  # a field that counts changes; no field of ours can be called so


class Fields:
    """The fields of one hash. *letter* is what replace.lua calls it."""

    def __init__(self, scripts: Scripts, letter: str, keyring: Keyring) -> None:
        self.scripts, self.letter, self.keyring = scripts, letter, keyring
        self.key = KEYS[letter]

    def sealed(self, field: str, document: Document | None) -> bytes:
        """*document* as Redis holds it; empty for none."""
        if document is None:
            return b""
        return self.keyring.closed(orjson.dumps(document), "", field.encode(), self.letter.encode())

    def opened(self, field: str, text: bytes | None) -> Document | None:
        """The document that `sealed` wrote. Raises PayloadUnreadable."""
        return orjson.loads(self.keyring.opened(text, "", field.encode(), self.letter.encode())) if text else None

    async def read(self, field: str) -> Document | None:
        """The document of *field*. Raises PayloadUnreadable, as all that read."""
        return self.opened(field, await self.scripts.command("HGET", self.key, field))

    async def read_all(self) -> dict[str, Document]:
        """Every document by its field; what cannot be opened is said and left out."""
        found: dict[str, Document] = {}
        for name, text in await self.texts():
            try:
                document = self.opened(name, text)
            except PayloadUnreadable as exc:
                log.error("%s of %s: %s", name, self.key, exc)
                continue
            if document is not None:
                found[name] = document
        return found

    async def texts(self) -> list[tuple[str, bytes]]:
        """Every document as Redis holds it, with its field."""
        pairs = pairs_of(await self.scripts.command("HGETALL", self.key))
        return [(field.decode(), text) for field, text in pairs if field != VERSION.encode()]

    async def renew(self) -> int:
        """Write anew what is not sealed as it would be now, for who changed the keys; how many."""
        renewed = 0
        for field, text in await self.texts():
            if version_of(text) == self.keyring.newest:
                continue
            try:
                new = self.sealed(field, self.opened(field, text))
            except PayloadUnreadable as exc:
                log.error("%s of %s: %s", field, self.key, exc)
                continue
            renewed += await self.scripts.call(0, "replace", self.letter, field, text, new) == new
        return renewed

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
            before = self.opened(field, text)
            wanted = change(before)
            if wanted == self.opened(field, text):  # *before* may have been changed in place
                return wanted
            new = self.sealed(field, wanted)
            found: bytes = await self.scripts.call(0, "replace", self.letter, field, text, new)
            if found == new:
                return wanted
            text = found


def field_of(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


class NamedSettings:
    """
    Settings of things that have names, for each namespace: a document for each one that has any. One that says nothing
    any more is gone.
    """

    def __init__(self, scripts: Scripts, letter: str, keyring: Keyring) -> None:
        self.fields = Fields(scripts, letter, keyring)

    async def read(self, namespace: str, name: str) -> Document:
        """The settings of *name*; empty when it has none."""
        return await self.fields.read(field_of(namespace, name)) or {}

    async def all_of(self, namespace: str) -> dict[str, Document]:
        """All settings of *namespace*, by name."""
        start = f"{namespace}/"
        found = await self.fields.read_all()
        return {field.removeprefix(start): one for field, one in sorted(found.items()) if field.startswith(start)}

    async def put(self, namespace: str, name: str, setting: str, value: Any) -> Document:
        """Set *setting* of *name* to *value*, and leave the rest as it is; None takes it away. Answers them all."""
        return await self.put_all(namespace, name, {setting: value})

    async def change(self, namespace: str, name: str, change: Callable[[Document], Document]) -> Document:
        """Put what *change* makes of the settings of *name* in their place; see `Fields.change`."""
        field = field_of(namespace, name)
        return await self.fields.change(field, lambda found: change(found or {}) or None) or {}

    async def put_all(self, namespace: str, name: str, values: dict[str, Any]) -> Document:
        """`put` of all *values* at once."""

        def changed(found: Document | None) -> Document | None:
            return {key: one for key, one in {**(found or {}), **values}.items() if one is not None} or None

        return await self.fields.change(field_of(namespace, name), changed) or {}


class SettingsBook:
    """All such settings as this process read them; `renew` asks for them again only when any has changed."""

    def __init__(self, settings: NamedSettings) -> None:
        self.settings = settings
        self.version: bytes | None = b""
        self.documents: dict[str, Document] = {}
        self.read_at = float("-inf")
        self.reading: asyncio.Task[None] | None = None

    async def renew(self) -> Self:
        """Be up to date. Raises StoreUnavailable; what was known stands."""
        self.read_at = time.monotonic()
        version = await self.settings.fields.version()
        if version != self.version:
            self.documents = await self.settings.fields.read_all()
            self.version = version
        return self

    def known(self, namespace: str, name: str) -> Document:
        """The settings of *name*, as far as they are known. Renews in the background what is old."""
        if time.monotonic() - self.read_at > FRESH_SECONDS and self.reading is None:
            self.reading = asyncio.get_running_loop().create_task(self.read())
        return self.documents.get(field_of(namespace, name), {})

    async def read(self) -> None:
        """`renew` in the background."""
        try:
            with contextlib.suppress(TaskpostError):
                await self.renew()
        finally:
            self.reading = None

    def close(self) -> None:
        if self.reading is not None:
            self.reading.cancel()
