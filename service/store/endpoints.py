"""
Settings of endpoints, for each namespace: their credentials, and whatever else is set for one.

A document for each endpoint that has any; `auth` in it holds its credentials as they were given. One that says nothing
any more is gone.
"""

from __future__ import annotations

from typing import Any

from service.store.fields import Document, Fields
from service.store.scripts import Scripts


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

        def changed(found: Document | None) -> Document | None:
            rest = {key: one for key, one in (found or {}).items() if key != name}
            return (rest if value is None else {**rest, name: value}) or None

        return await self.fields.change(field_of(namespace, endpoint), changed) or {}


class EndpointBook:
    """Every endpoint's settings as this process read them; `renew` asks for them again only when any has changed."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self.version: bytes | None = b""
        self.documents: dict[str, Document] = {}

    async def renew(self) -> EndpointBook:
        """Be up to date. Raises StoreUnavailable; what was known stands."""
        version = await self.settings.fields.version()
        if version != self.version:
            self.documents = await self.settings.fields.read_all()
            self.version = version
        return self

    def auth(self, namespace: str, endpoint: str) -> dict[str, Any] | None:
        """The credentials of *endpoint*, None when it has none."""
        return self.documents.get(field_of(namespace, endpoint), {}).get("auth")
