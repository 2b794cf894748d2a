"""
URLs that are gone: each answered 410, and is not called again for a while, nor taken in new submissions.

A URL counts without its query and fragment, which often hold what is different in each call. Known to a process by
heart, so that a call costs no look-up; what others found out is known within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from urllib.parse import urlsplit

from service.errors import TaskpostError
from service.settings import Settings
from service.store import keys
from service.store.scripts import Scripts
from service.store.walks import scored_pairs
from service.task import rfc3339

FRESH_SECONDS = 3.0
MOST_URLS = 1000  # of all namespaces; the longest known is forgotten first
PORTS = {"http": 80, "https": 443}


def without_query(url: str) -> str:
    """*url* as it is disabled: scheme, host, port and path, written in one way."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return url
    scheme = parts.scheme.lower()
    host = f"[{host}]" if ":" in host else host
    place = host if port is None or port == PORTS.get(scheme) else f"{host}:{port}"
    return f"{scheme}://{place}{parts.path or '/'}"


class GoneUrls:
    """The disabled URLs of all namespaces. One for each `Store`."""

    def __init__(self, scripts: Scripts, settings: Settings) -> None:
        self.scripts, self.keep_ms = scripts, int(settings.gone_seconds * 1000)
        self.known: dict[str, int] = {}
        self.read_at = float("-inf")
        self.reading: asyncio.Task[None] | None = None

    def reason(self, namespace: str, url: str, now_ms: int) -> str | None:
        """Why *url* is not called now, in words; None when it may be. Reads the list again when it is old."""
        if self.keep_ms == 0:
            return None
        if time.monotonic() - self.read_at > FRESH_SECONDS and self.reading is None:
            self.read_at = time.monotonic()
            self.reading = asyncio.get_running_loop().create_task(self.read())
        if not self.known:
            return None
        at_ms = self.known.get(member(namespace, url))
        if at_ms is None or at_ms + self.keep_ms <= now_ms:
            return None
        return (
            f"{without_query(url)} answered 410 Gone at {rfc3339(at_ms)} and is disabled, whatever its query, until "
            f"{rfc3339(at_ms + self.keep_ms)}"
        )

    async def confirmed(self, namespace: str, url: str, now_ms: int) -> str | None:
        """
        As `reason`, and asked of Redis before it fails a task: what this process knows may be old, also by much when it
        was idle, and the URL enabled since.
        """
        reason = self.reason(namespace, url, now_ms)
        if reason is not None:
            with contextlib.suppress(TaskpostError):
                if await self.scripts.command("ZSCORE", keys.GONE, member(namespace, url)) is None:
                    self.known.pop(member(namespace, url), None)
                    return None
        return reason

    async def disable(self, namespace: str, url: str, now_ms: int) -> None:
        """*url* has answered 410. Raises StoreUnavailable: this process knows, others do not."""
        if self.keep_ms == 0:
            return
        self.known[member(namespace, url)] = now_ms
        await self.scripts.command("ZADD", keys.GONE, now_ms, member(namespace, url))
        await self.scripts.command("ZREMRANGEBYSCORE", keys.GONE, "-inf", now_ms - self.keep_ms)
        await self.scripts.command("ZREMRANGEBYRANK", keys.GONE, 0, -MOST_URLS - 1)

    async def enable(self, namespace: str, url: str) -> bool:
        """*url* may be called again; whether it was disabled. Raises StoreUnavailable."""
        self.known.pop(member(namespace, url), None)
        return bool(await self.scripts.command("ZREM", keys.GONE, member(namespace, url)))

    async def listed(self, namespace: str, now_ms: int) -> dict[str, int]:
        """The disabled URLs of *namespace*, and when each answered 410. Raises StoreUnavailable."""
        await self.refresh()
        start = f"{namespace} "
        return {
            name.removeprefix(start): at_ms
            for name, at_ms in self.known.items()
            if name.startswith(start) and at_ms + self.keep_ms > now_ms
        }

    async def refresh(self) -> None:
        """Read the list again. Raises StoreUnavailable: what was known stands."""
        reply = await self.scripts.command("ZRANGE", keys.GONE, 0, -1, "WITHSCORES")
        self.known = {name.decode(): int(at_ms) for at_ms, name in scored_pairs(reply)}
        self.read_at = time.monotonic()

    async def read(self) -> None:
        """`refresh` in the background."""
        try:
            with contextlib.suppress(TaskpostError):
                await self.refresh()
        finally:
            self.reading = None

    def close(self) -> None:
        if self.reading is not None:
            self.reading.cancel()


def member(namespace: str, url: str) -> str:
    """What the list holds of *url*; no namespace has a space in its name."""
    return f"{namespace} {without_query(url)}"
