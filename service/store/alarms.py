"""
Which alarms ring, kept so that any number of schedulers tell the operator once of each, and once of its end.

The fact to know: who tells has claimed it before, and what was claimed and not told within a minute may be told by
another; so a scheduler that is killed while it tells loses nothing, and may tell twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from service.alarm import Alarm
from service.sealing import Keyring
from service.store.fields import Document, Fields
from service.store.scripts import Scripts
from service.store.tasks import Clock

CLAIM_MS = 60_000
QUIET_MS = 60_000  # so long an alarm is silent before it has ended


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell the operator: that the alarm *name* rings since *since_ms*, or has ended."""

    name: str
    type: str
    told: dict[str, Any]
    since_ms: int
    is_end: bool


class Alarms:
    """Reads and changes which alarms ring, all in shard 0."""

    def __init__(self, scripts: Scripts, clock: Clock, keyring: Keyring) -> None:
        self.fields, self.clock = Fields(scripts, "A", keyring), clock

    async def ringing(self) -> dict[str, Document]:
        """The alarms that ring, by name, each `{type, told, since_ms, …}`."""
        return await self.fields.read_all()

    async def hear(self, ringing: Iterable[Alarm]) -> list[Notice]:
        """
        Note which alarms ring now; answers what this process is to tell, and has claimed.

        Raises:
            StoreUnavailable: Redis did not answer.
        """
        now = {alarm.name: alarm for alarm in ringing}
        notices = []
        for name in sorted({*now, *await self.ringing()}):
            notice = await self.turn(name, now.get(name))
            if notice is not None:
                notices.append(notice)
        return notices

    async def turn(self, name: str, alarm: Alarm | None) -> Notice | None:
        """Take note of one alarm; what is to be told of it, if this process is to."""
        now_ms, me = self.clock.now_ms(), token_hex(8)

        def turned(document: Document | None) -> Document | None:
            if document is None:
                if alarm is None:
                    return None
                document = {"type": alarm.type, "since_ms": now_ms}
            heard = {"told": dict(alarm.told), "heard_ms": now_ms} if alarm is not None else {}
            document = {**document, **heard}
            is_over = now_ms - document["heard_ms"] > QUIET_MS
            if is_over and "told_ms" not in document:
                return None  # nobody heard of it
            if is_over == ("told_ms" in document) and now_ms - document.get("claimed_ms", 0) > CLAIM_MS:
                return {**document, "claimed_ms": now_ms, "claimed_by": me}
            return document

        left = await self.fields.change(name, turned)
        if left is None or left.get("claimed_by") != me:
            return None
        return Notice(name, left["type"], left["told"], left["since_ms"], is_end="told_ms" in left)

    async def told(self, notice: Notice) -> None:
        """The operator knows of *notice*."""

        def noted(document: Document | None) -> Document | None:
            if document is None or notice.is_end:
                return None
            kept = {name: one for name, one in document.items() if not name.startswith("claimed")}
            return kept | {"told_ms": self.clock.now_ms()}

        await self.fields.change(notice.name, noted)
