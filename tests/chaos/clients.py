"""
Clients of the API: they submit, repeat, cancel, replay and hang up, and note what they asked for and what was answered.

Owns the mix of work; its chance is seeded. A submission that got no answer is sent again with its idempotency key until
it is answered, as docs/guarantees.md tells users to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson

from service.client import ApiError, AsyncTaskpost, ClientError, NotFound, Refused, StateConflict, Task
from tests.chaos.history import History

PATIENCE_SECONDS = 60.0
SCHEDULE = "every-second"
# Whatever happens to them, these come to a good end: only poison may fail.
LASTING = {"retries": 100, "max_crashes": 100, "retry_for_seconds": 3600, "backoff": {
    "kind": "constant", "base_seconds": 0.1, "jitter": "none"}}  # fmt: skip


class Clients:
    """All clients of a round. `run` lasts as long as it is told to, and then as long as anything is unanswered."""

    def __init__(
        self, url: str, endpoint_url: str, history: History, chance: random.Random, durability: str = "memory"
    ) -> None:
        self.url, self.endpoint_url, self.history, self.chance = url, endpoint_url, history, chance
        self.durability = durability  # the best that the deployment has
        self.api = AsyncTaskpost(url, timeout_seconds=5, retries=1)
        self.count = 0
        self.taken: dict[str, tuple[str, dict[str, Any]]] = {}  # key -> id, submission
        self.working: set[asyncio.Task[None]] = set()
        self.actions: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.submit, 60), (self.batch, 3), (self.stream, 3), (self.repeat, 6), (self.cancel, 10),
            (self.replay, 4), (self.hang_up, 4),
        ]  # fmt: skip

    async def run(self, seconds: float, per_second: float) -> None:
        """Do *per_second* things a second, at random times."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        actions, weights = zip(*self.actions, strict=True)
        while loop.time() < end:
            await asyncio.sleep(self.chance.expovariate(per_second))
            # What is unanswered piles up while everything is away; who waits submits no more.
            if len(self.working) < 200:
                self.begin(self.chance.choices(actions, weights)[0])
        await asyncio.gather(*self.working)

    def begin(self, action: Callable[[], Awaitable[None]]) -> None:
        doing = asyncio.ensure_future(action())
        self.working.add(doing)
        doing.add_done_callback(self.working.discard)

    # ------------------------------------------------------------ what there is to do

    def submission(self) -> dict[str, Any]:
        """A submission with a key of its own."""
        self.count += 1
        key, chance = f"k{self.count}", self.chance
        name = chance.choices(
            ("add", "compute", "thread", "flaky", "defer", "url", "crash", "poison"), (40, 12, 6, 12, 8, 20, 1, 0.15)
        )[0]
        made: dict[str, Any] = {"idempotency_key": key, **LASTING, "priority": chance.randint(0, 9)}
        if chance.random() < 0.2:
            made["durability"] = self.durability
        if name == "url":
            made |= {"url": f"{self.endpoint_url}/task/{key}", "body": {"key": key}}
        else:
            made |= {"name": f"chaos.{name}", "args": {"key": key}}
        if name in ("add", "compute", "thread"):
            made["args"]["seconds"] = chance.choice((0, 0, 0.01, 0.1, 1))
        if name == "flaky":
            made["args"]["fail_times"] = chance.randint(1, 2)
        if name in ("crash", "poison"):
            made["max_crashes"] = 1
        if chance.random() < 0.3:
            made["delay_seconds"] = round(chance.uniform(0.05, 3), 3)
        if chance.random() < 0.15:
            made["callback"] = {"url": f"{self.endpoint_url}/called"}
        if chance.random() < 0.1:
            made["flow"] = {"key": f"flow-{chance.randint(0, 3)}", "concurrency": 2}
        elif chance.random() < 0.1:
            made["group"] = f"group-{chance.randint(0, 3)}"
        return made

    async def submit(self) -> None:
        made = self.submission()
        self.ask(made)
        task = await self.insist(lambda: self.api.submit(**made))
        if task is not None:
            self.take(made, task)

    async def batch(self) -> None:
        await self.many(self.api.submit_many)

    async def stream(self) -> None:
        async def receipts(many: list[Any]) -> list[Any]:
            return [one async for one in self.api.stream(many)]

        await self.many(receipts)

    async def many(self, send: Callable[[list[Any]], Awaitable[list[Any]]]) -> None:
        """Submit some together; those without a good receipt again."""
        left = [self.submission() for _ in range(self.chance.randint(2, 30))]
        for made in left:
            self.ask(made)
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while left and asyncio.get_running_loop().time() < deadline:
            receipts = await self.insist(partial(send, left))
            again = []
            for made, receipt in zip(left, receipts or [], strict=receipts is not None):
                if receipt.task is not None:
                    self.take(made, receipt.task)
                elif receipt.status in (409, 429, 500, 503):
                    again.append(made)
                else:
                    self.history.note("refused", key=made["idempotency_key"], how=str(receipt.problem))
            left = again
            await asyncio.sleep(0.2 if left else 0)

    async def repeat(self) -> None:
        """Submit once more what was taken in: the same task is to be answered."""
        if self.taken:
            _, made = self.taken[self.chance.choice(list(self.taken))]
            task = await self.insist(lambda: self.api.submit(**made))
            if task is not None:
                self.take(made, task)

    async def cancel(self) -> None:
        if not self.taken:
            return
        key = self.chance.choice(list(self.taken)[-50:])
        id_, _ = self.taken[key]
        self.history.note("cancelling", key=key, task=id_)
        task = await self.insist(lambda: self.api.cancel(id_))
        if task is not None and task.state == "cancelled":
            self.history.note("cancelled", key=key, task=id_)

    async def replay(self) -> None:
        """Do again what has ended. Asked for once: without an answer nobody knows whether there is another task."""
        if not self.taken:
            return
        key = self.chance.choice(list(self.taken))
        id_, made = self.taken[key]
        if "args" not in made:
            return
        self.count += 1
        again = f"r{self.count}"
        self.history.note("asked", key=again)
        task = await self.insist(lambda: self.api.replay(id_, args={**made["args"], "key": again}), most=1)
        if task is not None:
            self.history.note("taken", key=again, task=task.id)

    async def hang_up(self) -> None:
        """Send half a request, or a whole one, and be gone before the answer."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        made = self.submission()
        self.ask(made)
        body = orjson.dumps(made)
        head = f"POST /v1/tasks HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
        text = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        try:
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(text[: self.chance.choice((10, len(text) - 5, len(text)))])
            await writer.drain()
            writer.transport.abort()
        except OSError:
            pass

    async def schedule(self) -> None:
        """Have a task every second, until `unschedule`."""
        task = {"name": "chaos.add", "args": {"key": SCHEDULE + "@{{ fire_time }}"}, **LASTING}
        await self.api.put_schedule(SCHEDULE, every_seconds=1, misfire="all", misfire_grace_seconds=3600, task=task)

    async def unschedule(self) -> None:
        await self.insist(lambda: self.api.pause_schedule(SCHEDULE))

    # ------------------------------------------------------------ notes

    def ask(self, made: dict[str, Any]) -> None:
        self.history.note("asked", key=made["idempotency_key"], how=made.get("name", "url"), more="callback" in made)

    def take(self, made: dict[str, Any], task: Task) -> None:
        is_safe = made.get("durability", "memory") != "memory"
        self.history.note("taken", key=made["idempotency_key"], task=task.id, more=is_safe)
        self.taken[made["idempotency_key"]] = (task.id, made)

    async def insist(self, call: Callable[[], Awaitable[Any]], most: int = 1000) -> Any:
        """The answer of *call*, sent again while there is none; None when it was refused or never came."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        for _ in range(most):
            try:
                return await call()
            except (NotFound, StateConflict):
                return None
            except Refused as exc:
                self.history.note("refused", how=str(exc))
                return None
            except ApiError as exc:
                if exc.status < 500 and exc.status not in (409, 429):
                    self.history.note("refused", how=str(exc))
                    return None
            except ClientError:
                pass
            if asyncio.get_running_loop().time() > deadline:
                return None
            await asyncio.sleep(self.chance.uniform(0.05, 0.3))
        return None
