"""
One round: a stage, clients, faults one after the other, calm, and then the judgement.

Everything random in it comes from its seed, so that a round with a finding can be played again; when threads and
processes run in between is the machine's business. The fact to know: clients, endpoint and proxy run on a thread of
their own, so that a fault, which waits for processes, holds up none of them.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service.errors import StoreUnavailable
from service.ids import encode_id
from service.store import Store
from service.task import Snapshot
from tests.chaos.checker import Checker, Final, Verdict
from tests.chaos.clients import LASTING, Clients
from tests.chaos.endpoint import Endpoint
from tests.chaos.faults import FAULTS, WRITING, Fault
from tests.chaos.history import History, events_of
from tests.chaos.proxy import Proxy
from tests.chaos.stage import PARTS, Stage
from tests.store import invariants

STALL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round is to be. *only*: faults by name, all that fit when empty; they need all *parts*."""

    seed: int
    seconds: float = 30.0
    where: str = ""
    kind: str = "valkey"
    fsync: str = ""
    only: tuple[str, ...] = ()
    per_second: float = 40.0
    handlers: str = "tests.chaos.handlers"
    patience_seconds: float = 90.0
    parts: tuple[str, ...] = PARTS


@dataclass(slots=True)
class Told:
    """What came of a round. *recoveries*: seconds from the end of a fault until a new task was done."""

    where: str
    fsync: str
    verdict: Verdict
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: list[tuple[float, str]] = field(default_factory=list)
    settled_seconds: float = 0.0


class Background:
    """The thread of clients, endpoint and proxy, with its event loop."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.stack = AsyncExitStack()

    def __enter__(self) -> Background:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self.watch(), self.loop)
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.stack.aclose())
        self.do(self.end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    async def end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for one in others:
            one.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def begin(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def do(self, work: Any) -> Any:
        return self.begin(work).result()

    async def watch(self) -> None:
        """A machine that stands still for long is an outage that nobody made."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.1)
            if (now := time.monotonic()) - before > STALL_SECONDS:
                self.history.note("fault", at=before, name="machine stood still", more={})
                self.history.note("healed", at=now, name="machine stood still")


def play(plan: Plan, folder: Path | None = None) -> Told:
    """Play a round. Its history and logs are kept in *folder*, when there is one."""
    with ExitStack() as stack:
        held = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskpost-chaos-")))
        history = History(held)
        stack.callback(history.close)
        return Round(plan, history, stack).play()


class Round:
    """A round that is played."""

    def __init__(self, plan: Plan, history: History, stack: ExitStack) -> None:
        self.plan, self.history, self.stack = plan, history, stack
        self.chance = random.Random(plan.seed)
        where = plan.where or self.chance.choices(("single", "sentinel", "cluster"), (7, 1, 2))[0]
        fsync = plan.fsync or self.chance.choices(("everysec", "always", "no", "snapshots", "none"), (6, 3, 1, 1, 1))[0]
        if where != "single" and fsync not in WRITING:
            fsync = "always"
        self.stage = Stage(stack, history, where, plan.kind, fsync, plan.handlers)
        self.background = stack.enter_context(Background(history))
        self.told = Told(where, fsync, Verdict())
        self.findings: list[str] = []

    def play(self) -> Told:
        background, stage = self.background, self.stage
        if stage.server:
            stage.proxy = background.do(background.stack.enter_async_context(Proxy(stage.server.port).listening()))
        endpoint = Endpoint(self.history, random.Random(self.plan.seed + 1))
        background.do(background.stack.enter_async_context(endpoint.listening()))
        stage.start_all(self.plan.parts)
        clients = Clients(
            stage.url, endpoint.url, self.history, random.Random(self.plan.seed + 2), stage.durability
        )
        background.do(clients.schedule())
        working = background.begin(clients.run(self.plan.seconds, self.plan.per_second))
        self.do_faults(working, clients)
        working.result()
        background.do(clients.unschedule())
        background.do(clients.api.close())
        self.judge()
        return self.told

    def do_faults(self, working: Any, clients: Clients) -> None:
        """One after the other, with some calm after each, for as long as clients work."""
        fitting = [one for one in FAULTS.values() if one.is_for(self.stage)]
        if self.plan.only:
            fitting = [one for one in fitting if one.name in self.plan.only]
        deck: list[Fault] = []
        end = time.monotonic() + self.plan.seconds - 2
        time.sleep(2)
        while fitting and time.monotonic() < end and not working.done():
            # None comes again before all have come.
            deck = deck or self.chance.sample(fitting, len(fitting))
            chosen = deck.pop()
            self.told.faults[chosen.name] += 1
            with self.noted(chosen):
                chosen.act(self.stage, self.chance)
            healed = time.monotonic()
            self.background.do(self.canary(clients))
            self.told.recoveries.append((time.monotonic() - healed, chosen.name))
            time.sleep(self.chance.uniform(0.1, 1))

    @contextmanager
    def noted(self, fault: Fault) -> Iterator[None]:
        """When it was, and from when on changes may be lost with it."""
        outage = {} if fault.loss is None else {"more": {"since": fault.loss(self.stage)}}
        self.history.note("fault", name=fault.name, **outage)
        yield
        self.history.note("healed", name=fault.name)

    async def canary(self, clients: Clients) -> None:
        """A task of its own, waited for."""
        clients.count += 1
        made = {"name": "chaos.add", "args": {"key": f"k{clients.count}"}, "idempotency_key": f"k{clients.count}",
                "priority": 9, **LASTING}  # fmt: skip
        clients.ask(made)
        task = await clients.insist(lambda: clients.api.submit(**made))
        if task is None:
            return
        clients.take(made, task)
        await clients.insist(lambda: clients.api.wait(task, 30))

    # ------------------------------------------------------------ the judgement

    def judge(self) -> None:
        stage, began = self.stage, time.monotonic()
        for name, part in stage.parts.items():
            if (status := part.process.poll()) is not None:
                self.findings.append(f"{name} has ended by itself with status {status}: {part.text[-500:]}")
        deployment = stage.deployment()
        finals = asyncio.run(self.settled(deployment))
        self.told.settled_seconds = time.monotonic() - began
        for name in stage.parts:
            if stage.stop(name) not in (0, -15):
                self.findings.append(f"{name} did not end in order")
        for log in stage.logs:
            lines = log.read_text(errors="replace").splitlines()
            self.findings += [f"{log.name}: {line}" for line in lines if "a fault of ours" in line]
        faults = invariants.faults_of(deployment, ("untold",))
        deployment.close()
        self.told.verdict = Checker(events_of(self.history.folder), finals).check()
        self.told.verdict.findings[:0] = self.findings
        self.told.verdict.findings += [f"in Redis: {text}" for text in faults]

    async def settled(self, deployment: Any) -> list[Final]:
        """Every task, once all have ended, or it has taken too long."""
        store = await deployment.open()
        deadline = time.monotonic() + self.plan.patience_seconds
        try:
            while True:
                try:
                    finals = [final_of(one) for one in await everything(store, deployment)]
                except StoreUnavailable:
                    finals = []
                ended = finals and all(one.state in ("succeeded", "failed", "cancelled", "expired") for one in finals)
                if ended or time.monotonic() > deadline:
                    return finals
                await asyncio.sleep(0.5)
        finally:
            await store.close()


async def everything(store: Store, deployment: Any) -> list[Snapshot]:
    """Every task that Redis holds."""
    ids = [key.partition(b":t:")[2] for key in deployment.all_keys() if b"}:t:" in key]
    found: list[Snapshot] = []
    for some in in_portions(ids, 100):
        found += [one for one in await store.tasks.read(some) if one is not None]
    return found


def in_portions(ids: Sequence[bytes], most: int) -> Iterable[Sequence[bytes]]:
    return (ids[at : at + most] for at in range(0, len(ids), most))


def final_of(found: Snapshot) -> Final:
    """What the checker needs to know of a task."""
    submission, outcome = found.record.submission, found.record.outcome or {}
    args = submission.get("args") or {}
    key = args.get("key") or (submission.get("body") or {}).get("key", "")
    return Final(
        encode_id(found.id), found.state, key, submission.get("name", ""), outcome.get("result"),
        (outcome.get("error") or {}).get("type", ""), submission.get("callback_of", ""), "callback" in submission,
    )  # fmt: skip
