"""
Who changed what: the audit log of each namespace, a stream that forgets the oldest.

The fact to know: it holds who, what, when, from where and with which outcome; never a body, a query or a key.
"""

from __future__ import annotations

from typing import Any

import orjson

from service.store import keys
from service.store.scripts import Scripts

MOST_ENTRIES = 10_000  # of a namespace, about


class Audit:
    """Notes and reads changes."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts

    async def note(self, namespace: str, entry: dict[str, Any]) -> None:
        """Keep *entry*. Raises StoreUnavailable: it may have been kept."""
        text = orjson.dumps(entry)
        await self.scripts.command("XADD", keys.audit(namespace), "MAXLEN", "~", MOST_ENTRIES, "*", "e", text)

    async def page(self, namespace: str, most: int, before: str | None) -> list[tuple[str, dict[str, Any]]]:
        """Up to *most* entries with their ids, the newest first; those before the id *before*, None for all."""
        end = f"({before}" if before else "+"
        rows = await self.scripts.command("XREVRANGE", keys.audit(namespace), end, "-", "COUNT", most)
        return [(id_.decode(), orjson.loads(fields[b"e"])) for id_, fields in rows]
