"""
Settings of endpoints, for each namespace: their credentials, and whatever else is set for one.

A document for each endpoint that has any; `auth` in it holds its credentials as they were given. One that says nothing
any more is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from service.endpoint import endpoint_called_by
from service.errors import TaskpostError
from service.store.fields import Document, Fields
from service.store.scripts import Scripts
from service.task import rfc3339

FRESH_SECONDS = 3.0


def field_of(namespace: str, endpoint: str) -> str:
    return f"{namespace}/{endpoint}"


class EndpointSettings:
    """Reads and changes the settings of endpoints, all of it in shard 0. *endpoint* is a name of `service.endpoint`."""

    def __init__(self, scripts: Scripts) -> None:
        self.fields = Fields(scripts, "E")

    async def read(self, namespace: str, endpoint: str) -> Document:
        """The settings of *endpoint*; empty when it has none."""
        return await self.fields.read(field_of(namespace, endpoint)) or {}

    async def all_of(self, namespace: str) -> dict[str, Document]:
        """The settings of every endpoint of *namespace* that has any, by its name."""
        start = f"{namespace}/"
        found = await self.fields.read_all()
        return {field.removeprefix(start): one for field, one in sorted(found.items()) if field.startswith(start)}

    async def put(self, namespace: str, endpoint: str, name: str, value: Any) -> Document:
        """Set *name* of *endpoint* to *value*, and leave the rest as it is; None takes it away. Answers them all."""
        return await self.put_all(namespace, endpoint, {name: value})

    async def put_all(self, namespace: str, endpoint: str, values: dict[str, Any]) -> Document:
        """`put` of all *values* at once."""

        def changed(found: Document | None) -> Document | None:
            return {key: one for key, one in {**(found or {}), **values}.items() if one is not None} or None

        return await self.fields.change(field_of(namespace, endpoint), changed) or {}


class EndpointBook:
    """Every endpoint's settings as this process read them; `renew` asks for them again only when any has changed."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self.version: bytes | None = b""
        self.documents: dict[str, Document] = {}
        self.read_at = float("-inf")
        self.reading: asyncio.Task[None] | None = None

    async def renew(self) -> EndpointBook:
        """Be up to date. Raises StoreUnavailable; what was known stands."""
        self.read_at = time.monotonic()
        version = await self.settings.fields.version()
        if version != self.version:
            self.documents = await self.settings.fields.read_all()
            self.version = version
        return self

    def auth(self, namespace: str, endpoint: str) -> dict[str, Any] | None:
        """The credentials of *endpoint*, None when it has none."""
        return self.documents.get(field_of(namespace, endpoint), {}).get("auth")

    def disabled(self, namespace: str, endpoint: str) -> dict[str, Any] | None:
        """Since when and why *endpoint* is not called, None when it is. Renews in the background what is old."""
        if time.monotonic() - self.read_at > FRESH_SECONDS and self.reading is None:
            self.reading = asyncio.get_running_loop().create_task(self.read())
        return self.documents.get(field_of(namespace, endpoint), {}).get("disabled")

    def why_not(self, namespace: str, url: str) -> str | None:
        """Why *url* is not called, in words, if its endpoint is disabled."""
        try:
            endpoint = endpoint_called_by(url.partition("?")[0])
        except ValueError:  # what is wrong with it others say
            return None
        off = self.disabled(namespace, endpoint)
        return None if off is None else f"{endpoint} is disabled since {rfc3339(off['at_ms'])}: {off['reason']}"

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
