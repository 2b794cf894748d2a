"""
Group commit: what arrives while a call is in flight goes out together in the next one.

Never a timer: the first arrival on an idle system goes out at once. Knows neither Redis nor tasks;
it is given the call to make.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from service.errors import StoreUnavailable

Given = TypeVar("Given")
Answer = TypeVar("Answer")


class Collector(Generic[Given, Answer]):
    """
    Collects groups of requests into calls of at most *most* requests and *most_bytes* bytes, one call in flight.

    *call* takes a list and answers a list of the same length; an exception it raises goes to all who wait.
    """

    def __init__(
        self,
        call: Callable[[list[Given]], Awaitable[list[Answer]]],
        *,
        most: int = 128,
        most_bytes: int = 1 << 20,
    ) -> None:
        self.call, self.most, self.most_bytes = call, most, most_bytes
        self.waiting: deque[tuple[list[Given], int, asyncio.Future[list[Answer]]]] = deque()
        self.sender: asyncio.Task[None] | None = None

    def put(self, group: list[Given], size: int) -> asyncio.Future[list[Answer]]:
        """
        A future for the answers to *group* (at most `most` requests, *size* bytes), which goes out undivided.

        When the future is cancelled before the group went out, the group never does.
        """
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self.waiting.append((group, size, future))
        if self.sender is None:
            self.sender = asyncio.create_task(self.send_all())
        return future

    async def send_all(self) -> None:
        """Send until nothing waits."""
        try:
            while self.waiting:
                await self.send(self.take())
        finally:
            self.sender = None

    def take(self) -> list[tuple[list[Given], asyncio.Future[list[Answer]]]]:
        """The next call's share of what waits, without what nobody waits for any more."""
        taken: list[tuple[list[Given], asyncio.Future[list[Answer]]]] = []
        many = total = 0
        while self.waiting:
            group, size, future = self.waiting[0]
            if taken and (many + len(group) > self.most or total + size > self.most_bytes):
                break
            self.waiting.popleft()
            if not future.cancelled():
                taken.append((group, future))
                many += len(group)
                total += size
        return taken

    def take_all(self) -> list[tuple[list[Given], asyncio.Future[list[Answer]]]]:
        """All that waits."""
        waiting = [(group, future) for group, _, future in self.waiting]
        self.waiting.clear()
        return waiting

    async def send(self, taken: list[tuple[list[Given], asyncio.Future[list[Answer]]]]) -> None:
        """One call, and its answers to those who wait for them."""
        if not taken:
            return
        try:
            answers = await self.call([given for group, _ in taken for given in group])
        except BaseException as exc:
            if isinstance(exc, StoreUnavailable):
                # Those who came meanwhile have waited as long as a call may take; another try would double that.
                taken += self.take_all()
            for _, future in taken:
                if not future.done():
                    future.set_exception(exc)
                    future.exception()  # whoever waited may be gone; that is not worth a warning
            if not isinstance(exc, Exception):
                raise
            return
        start = 0
        for group, future in taken:
            if not future.done():
                future.set_result(answers[start : start + len(group)])
            start += len(group)
