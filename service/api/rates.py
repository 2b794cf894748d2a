"""
How much a key may ask for: its rate limit, over all processes, told as the RateLimit header fields tell it
(draft-ietf-httpapi-ratelimit-headers-10).

A request is one unit, and each further task of a batch or a stream another. A process takes units from Redis a tenth of
a second's worth at a time, so that a busy key costs some ten calls a second and a small limit is kept to the request.
The fact to know: a batch is not refused for its size; what it takes beyond the limit is owed, and later requests wait.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from starlette.types import Message, Scope, Send

from service.api.callers import Caller
from service.api.protocol import ANSWER
from service.apikeys import ApiKey
from service.errors import TooManyRequests

if TYPE_CHECKING:
    from service.api.auth import Process

PORTION_SECONDS = 0.1
MOST_KNOWN = 10_000


class Portion:
    """What this process has of the rate of one key."""

    def __init__(self) -> None:
        self.units = 0  # may be owed
        self.left = 0  # beyond ours, when Redis was last asked
        self.reset_at = 0.0
        self.shut_until = 0.0
        self.turn = asyncio.Lock()


class Rates:
    """The portions of a process."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.portions: dict[str, Portion] = {}

    def of(self, key: ApiKey) -> Portion:
        portion = self.portions.get(key.id)
        if portion is None:
            if len(self.portions) >= MOST_KNOWN:
                self.portions.clear()
            portion = self.portions[key.id] = Portion()
        return portion

    async def take(self, key: ApiKey) -> None:
        """
        One unit of the rate of *key*.

        Raises:
            TooManyRequests: there is none; the header says when there is.
            StoreUnavailable: nobody knows.
        """
        portion = self.of(key)
        if portion.units < 1:
            async with portion.turn:  # who asks at once waits for one answer
                if portion.units < 1:
                    await self.ask(key, portion)
        portion.units -= 1

    async def ask(self, key: ApiKey, portion: Portion) -> None:
        """Take units from Redis. Raises TooManyRequests."""
        now = asyncio.get_running_loop().time()
        if portion.shut_until <= now:
            used, wanted = max(-portion.units, 0), max(int(rate_of(key) * PORTION_SECONDS), 1)
            store = self.process.require_store()
            ration = await self.process.within(store.api_keys.take(key, used, wanted))
            portion.units += used + ration.given
            portion.left, portion.reset_at = ration.left, now + ration.reset_ms / 1000
            portion.shut_until = now if ration.given else now + ration.wait_ms / 1000
        if portion.units < 1:
            seconds = max(math.ceil(portion.shut_until - now), 1)
            raise TooManyRequests(
                f'the key "{key.name}" has used up its {limit_words(key)}; there is more in {seconds} s',
                headers={"Retry-After": str(seconds), **fields(key, portion, now)},
            )

    def count(self, caller: Caller, units: int) -> None:
        """So many units more were used; a rate that they go beyond is owed."""
        if caller.key is not None and caller.key.rate_limit is not None and units > 0:
            self.of(caller.key).units -= units

    def announced(self, caller: Caller, scope: Scope, send: Send) -> Send:
        """*send*, with the rate of the key in the head of each answer."""
        key = caller.key
        if key is None or key.rate_limit is None:
            return send
        scope.get("extensions", {}).pop(ANSWER, None)  # which writes a head of its own
        portion = self.of(key)

        async def announcing(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = fields(key, portion, asyncio.get_running_loop().time())
                raw = [(name.lower().encode(), value.encode()) for name, value in told.items()]
                names = {name for name, _ in message["headers"]}
                message = {**message, "headers": [*message["headers"], *(one for one in raw if one[0] not in names)]}
            await send(message)

        return announcing


def rate_of(key: ApiKey) -> float:
    """Units a second."""
    limit = key.rate_limit or {}
    return float(limit["requests"] / limit["window_seconds"])


def limit_words(key: ApiKey) -> str:
    limit = key.rate_limit or {}
    return f"{limit['requests']:g} requests in {limit['window_seconds']:g} s"


def fields(key: ApiKey, portion: Portion, now: float) -> dict[str, Any]:
    """The header fields: what may be asked for, what of it is left, and when all is there again."""
    limit = key.rate_limit or {}
    left, reset = max(portion.units + portion.left, 0), max(math.ceil(portion.reset_at - now), 0)
    return {
        "RateLimit-Policy": f'"key";q={limit["requests"]:g};w={math.ceil(limit["window_seconds"])}',
        "RateLimit": f'"key";r={left};t={reset}',
    }
