"""
Tells the operator (`TASKPOST_ALERT_URL`) what people would notice: work that comes late, that nobody does, that fails.

The fact to know: the scheduler makes these calls itself, since no worker may be left, which is what they tell. They are
signed as all calls are; whoever receives one twice sees it by its `webhook-id`.
"""

from __future__ import annotations

import asyncio
import http.client
import logging
import time
from typing import Any
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

import orjson

from service import __version__
from service.alarm import WINDOW_MINUTES, Sight, alarms_of
from service.errors import TaskpostError
from service.settings import Settings
from service.store import Store
from service.store.alarms import Notice
from service.store.secrets import signer_of
from service.store.statistics import Scope
from service.task import CALLBACK_QUEUE, DEFAULT_NAMESPACE, rfc3339, split_queue

log = logging.getLogger("taskpost.scheduler")

CALL_SECONDS = 10.0


class Watchman:
    """Looks every ten seconds; does nothing when there is nobody to tell."""

    every_seconds = 10.0

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings

    async def run(self) -> None:
        """Look once, and tell what is to be told; what fails is said, and told at a later look."""
        if not self.settings.alert_url:
            return
        try:
            ringing = alarms_of(await self.sight(), self.settings)
            for notice in await self.store.alarms.hear(ringing):
                await self.tell(notice)
        except TaskpostError as exc:
            log.warning("watchman: %s", exc)

    async def sight(self) -> Sight:
        """What there is to see. Raises StoreUnavailable."""
        store = self.store
        counts = await store.queues.counts()
        queued = {stored: one["queued"] for stored, one in counts.items() if one["queued"]}
        book = await store.queue_book.renew()
        paused = frozenset(stored for stored in queued if book.known(*split_queue(stored)).get("paused"))
        namespaces = {DEFAULT_NAMESPACE, *(split_queue(stored)[0] for stored in counts)}
        return Sight(
            await store.queues.oldest_seconds(sorted(queued)),
            queued,
            paused,
            await store.workers.live(store.tasks.clock.now_ms()),
            {namespace: await self.failed(namespace) for namespace in sorted(namespaces)},
        )

    async def failed(self, namespace: str) -> tuple[int, int]:
        """How many tasks of *namespace* have failed lately, and of how many that succeeded or failed; no callbacks."""
        now = self.store.statistics.now_minute() + 1
        history = await self.store.statistics.read(Scope(namespace), now - WINDOW_MINUTES, now, 1)
        counts = [figures.counts for queue, figures in history.queues.items() if queue != CALLBACK_QUEUE]
        failed = sum(one["F"] for one in counts)
        return failed, failed + sum(one["S"] for one in counts)

    async def tell(self, notice: Notice) -> None:
        """Make the call; that it was answered with success is noted."""
        kind = f"{notice.type}.resolved" if notice.is_end else notice.type
        now_ms = self.store.tasks.clock.now_ms()
        body = orjson.dumps(
            {"type": kind, "timestamp": rfc3339(now_ms), "data": {**notice.told, "since": rfc3339(notice.since_ms)}}
        )
        id_, stamp = f"{kind} {notice.name.partition(' ')[2]} {notice.since_ms}".replace(" ", ":"), int(time.time())
        generations = await self.store.secrets.generations(DEFAULT_NAMESPACE)
        headers = {
            "content-type": "application/json",
            "user-agent": f"Taskpost/{__version__}",
            "webhook-id": id_,
            "webhook-timestamp": str(stamp),
            "webhook-signature": signer_of(generations, self.settings.signatures).sign(id_, stamp, body),
        }
        why = await asyncio.to_thread(call, self.settings.alert_url, body, headers)
        if why is None:
            log.warning("told %s: %s", self.settings.alert_url.partition("?")[0], kind)
            await self.store.alarms.told(notice)
        else:
            log.warning("%s could not be told: %s", kind, why)


class Straight(HTTPRedirectHandler):
    """A redirect is an answer, not a way."""

    def redirect_request(self, *_: Any) -> None:
        return None


def call(url: str, body: bytes, headers: dict[str, str]) -> str | None:
    """POST *body*; why that failed, or None."""
    opener = build_opener(ProxyHandler({}), Straight)
    try:
        opener.open(Request(url, body, headers), timeout=CALL_SECONDS).close()  # noqa: S310  the operator's own URL
    except (URLError, OSError, http.client.HTTPException) as exc:
        return str(exc)
    return None
