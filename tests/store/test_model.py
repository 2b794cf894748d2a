"""
The store against a plain model of it: random walks of submitting, leasing, ending, retrying, crashing and
cancelling, after each step of which states, counts and the whole keyspace agree.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from service.attempts import pack_line
from service.ids import shard_of
from service.outcome import Deferred, Failed, Succeeded
from service.store import Store
from service.store.amendments import CHANGED, Amendment, amend
from service.store.attempts import LogNote
from service.store.endings import Ending, again, hand_over
from service.store.expiry import expire
from service.store.new import DUPLICATE, REFUSED, TAKEN_IN
from service.store.outside import reap
from service.task import Leased
from service.ties import Ties
from tests.store import deployments, invariants
from tests.store.acting import LEASE_MS, Worker, ask_cancel, new, state
from tests.store.deployments import Deployment, Servers
from tests.store.test_unique import unique

Answer = TypeVar("Answer")
LAST_MS = 4_000_000_000_000
LATE = Ties(expires_ms=1000)
OVER = ("succeeded", "failed", "cancelled", "expired")
WAITS = ("queued", "scheduled")
COUNTED = {"queued": "queued", "scheduled": "scheduled", "running": "running", "cancelling": "running"}


class Model(RuleBasedStateMachine):
    """What ought to be, beside what is."""

    deployment: ClassVar[Deployment]
    loop: ClassVar[asyncio.AbstractEventLoop]
    held = Bundle("held")
    outside = Bundle("outside")  # in the hands of their endpoints
    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.deployment.empty()
        self.store: Store = self.run(self.deployment.open())
        self.workers = [Worker(self.store, f"w{n}") for n in range(2)]
        self.states: dict[bytes, str] = {}
        self.crashes: Counter[bytes] = Counter()
        self.attempts: Counter[bytes] = Counter()
        self.suspects: set[bytes] = set()
        self.checkpoints: Counter[bytes] = Counter()
        self.said: dict[bytes, list[str]] = {}
        self.keys: dict[bytes, str] = {}  # the flow key of a task
        self.limits: dict[str, float] = {"one": 1, "two": 2}
        self.paused: set[str] = set()
        self.holders: dict[str, tuple[bytes, str]] = {}  # whose a unique key was last, and how long
        self.leased: set[bytes] = set()
        self.late: set[bytes] = set()

    def run(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        self.run(self.store.close())

    @rule(
        target=ids,
        many=st.integers(1, 5),
        priority=st.sampled_from([0, 5, 9]),
        is_delayed=st.booleans(),
        is_large=st.booleans(),
        key=st.sampled_from(["", "one", "two"]),
        group=st.sampled_from(["", "", "a", "b"]),
    )
    def submit(self, many: int, priority: int, is_delayed: bool, is_large: bool, key: str, group: str) -> Any:
        submission = {"name": "n", "args": {"x": "x" * (600 if is_large else 1)}}
        given = {"priority": priority, "delay_ms": 600_000 if is_delayed else 0, "max_crashes": 1}
        given |= {"flow": key, "group": group}
        if key and self.limits[key] < float("inf"):
            given["concurrency"] = self.limits[key]
        taken = self.run(self.store.tasks.submit([new(submission, **given) for _ in range(many)]))  # type: ignore[arg-type]
        for one in taken:
            self.states[one.id] = "scheduled" if is_delayed else "queued"
            self.keys[one.id] = key
        return multiple(*[one.id for one in taken])

    def waiting(self, is_suspect: bool, freed: bytes = b"") -> Counter[int]:
        """How many tasks each shard could lease, once *freed* runs no more."""
        holding = Counter(
            self.keys[id_] for id_, one in self.states.items() if COUNTED.get(one) == "running" and id_ != freed
        )
        counted: Counter[int] = Counter()
        for id_, one in self.states.items():
            if one == "queued" and (id_ in self.suspects) == is_suspect:
                key = self.keys[id_]
                if not key or (key not in self.paused and holding[key] < self.limits[key]):
                    holding[key] += 1
                    counted[shard_of(id_)] += 1
        return counted

    @rule(target=ids, is_delayed=st.booleans())
    def submit_late(self, is_delayed: bool) -> bytes:
        """One that expires with the next look, if it waits then."""
        [taken] = self.run(
            self.store.tasks.submit([new(ties=LATE, max_crashes=1, delay_ms=600_000 if is_delayed else 0)])
        )
        self.states[taken.id], self.keys[taken.id] = "scheduled" if is_delayed else "queued", ""
        self.late.add(taken.id)
        return taken.id

    @rule()
    def expire(self) -> None:
        for shard in range(self.store.shards):
            self.run(expire(self.store.tasks, self.store.handlers, self.store.settings, shard))
        for id_ in self.late:
            if self.states.get(id_) in WAITS:
                self.states[id_] = "expired"

    def holder(self, key: str) -> bytes | None:
        """The task that has a unique key now."""
        id_, until = self.holders.get(key, (b"", ""))
        now = self.states.get(id_)
        if now is None or (until != "time" and now in OVER):
            return None
        if until == "started":
            return None if id_ in self.leased else id_
        return None if until == "quiet" and (id_ in self.leased or now != "scheduled") else id_

    @rule(
        target=ids,
        key=st.sampled_from(["x", "y"]),
        until=st.sampled_from(["finished", "started", "time"]),
        conflict=st.sampled_from(["return", "reject", "reschedule", "replace"]),
        is_delayed=st.booleans(),
    )
    def submit_unique(self, key: str, until: str, conflict: str, is_delayed: bool) -> Any:
        how = {"for_seconds": 3600} if until == "time" else {"until": until}
        given = {"delay_seconds": 600} if is_delayed else {}
        task = unique(unique={"key": key, "on_conflict": conflict, **how}, max_crashes=1, **given)
        other, was = self.holder(key), "scheduled" if is_delayed else "queued"
        [taken] = self.run(self.store.admission.submit([task]))
        waits = other is not None and self.states[other] in WAITS
        if other is None or (conflict == "replace" and waits):
            assert TAKEN_IN == taken.status
            if other is not None:
                self.states[other] = "cancelled"
            self.states[taken.id], self.keys[taken.id] = was, ""
            self.holders[key] = taken.id, until
            return taken.id
        is_refused = conflict == "reject" or (conflict != "return" and not waits)
        assert (REFUSED if is_refused else DUPLICATE, other) == (taken.status, taken.id)
        if conflict == "reschedule" and waits:
            self.states[other] = was
        return multiple()

    @rule(target=ids, key=st.sampled_from(["x", "y"]))
    def debounce(self, key: str) -> Any:
        other = self.holder(f"quiet {key}")
        [taken] = self.run(
            self.store.admission.submit([unique(debounce={"key": key, "seconds": 600}, max_crashes=1)])
        )
        if other is not None:
            assert (DUPLICATE, other) == (taken.status, taken.id)
            return multiple()
        assert TAKEN_IN == taken.status
        self.states[taken.id], self.keys[taken.id] = "scheduled", ""
        self.holders[f"quiet {key}"] = taken.id, "quiet"
        return taken.id

    @rule(id_=ids)
    def run_now(self, id_: bytes) -> None:
        was = self.states.get(id_)
        status = self.run(amend(self.store.tasks, shard_of(id_), [Amendment(id_, 0)]))
        if was in WAITS:
            assert CHANGED == status
            self.states[id_] = "queued"

    @rule(key=st.sampled_from(["one", "two"]), concurrency=st.sampled_from([1, 2, 3, None]))
    def limit(self, key: str, concurrency: int | None) -> None:
        given = {"concurrency": concurrency}
        self.run(self.store.tasks.flows.change(self.store.shards, "default", key, given))
        self.limits[key] = concurrency or float("inf")

    @rule(key=st.sampled_from(["one", "two"]), is_paused=st.booleans())
    def pause(self, key: str, is_paused: bool) -> None:
        self.run(self.store.tasks.flows.change(self.store.shards, "default", key, {"paused": is_paused}))
        (self.paused.add if is_paused else self.paused.discard)(key)

    def started(self, worker: Worker, leased: list[Leased]) -> Any:
        for task in leased:
            assert "queued" == self.states[task.id]
            assert (self.attempts[task.id] + 1, self.crashes[task.id]) == (task.attempt, task.crashes)
            assert (task.id in self.suspects) == task.is_suspect
            many = self.checkpoints[task.id]
            assert (many, b"%d" % many if many else b"") == (task.checkpoint_number, task.checkpoint)
            self.states[task.id] = "running"
            self.leased.add(task.id)
        return multiple(*[(worker, task) for task in leased])

    @rule(target=held, who=st.integers(0, 1), room=st.integers(1, 4))
    def lease(self, who: int, room: int) -> Any:
        ready = self.waiting(is_suspect=False)
        leased = self.run(self.workers[who].lease(room=room))
        assert sum(min(room, many) for many in ready.values()) == len(leased)
        return self.started(self.workers[who], leased)

    @rule(target=held, who=st.integers(0, 1))
    def lease_alone(self, who: int) -> Any:
        ready = self.waiting(is_suspect=True)
        leased = self.run(self.workers[who].lease(room=1, lane="async alone"))
        assert len(ready) == len(leased), "one a call"
        return self.started(self.workers[who], leased)

    @rule(target=held, one=consumes(held), kind=st.sampled_from([b"E", b"R", b"B"]), room=st.integers(1, 4))
    def turn(self, one: tuple[Worker, Leased], kind: bytes, room: int) -> Any:
        """Report and lease in one call, as workers do."""
        worker, task = one
        shard, is_held = shard_of(task.id), self.is_held(task)
        is_freed = is_held and (kind == b"E" or self.states[task.id] != "cancelling")
        ready = self.waiting(is_suspect=False, freed=task.id if is_freed else b"")[shard]
        made = worker.ending(task, Ending("succeeded", b"1")) if kind == b"E" else again(task, kind, 0, None)
        stepped = self.run(worker.step(shard, [made], [("default", "async", room)]))
        if not is_held:
            assert b"0" == stepped.statuses
        elif kind == b"E":
            assert b"1" == stepped.statuses
            self.states[task.id] = "succeeded"
        elif self.states[task.id] == "cancelling":
            assert b"2" == stepped.statuses
            self.run(worker.end_cancelled(task))
            self.states[task.id] = "cancelled"
        else:
            assert b"1" == stepped.statuses
            self.states[task.id] = "queued"
            self.attempts[task.id] += kind == b"R"
            if kind == b"R":
                self.suspects.discard(task.id)
        # What goes back to the front of a list keeps this call from taking of it, and of those behind it.
        missing = min(room, ready) - len(stepped.leased)
        assert missing == 0 or (kind == b"B" and missing > 0 and stepped.is_work_left)
        return self.started(worker, stepped.leased)

    def is_held(self, task: Leased) -> bool:
        run = self.run(self.store.tasks.packed_run(task.id))
        return run is not None and run[:12] == task.token and self.states[task.id] in ("running", "cancelling")

    @rule(one=consumes(held), how=st.sampled_from(["succeed", "fail"]))
    def finish(self, one: tuple[Worker, Leased], how: str) -> None:
        worker, task = one
        is_held = self.is_held(task)
        status = self.run(worker.succeed(task) if how == "succeed" else worker.fail(task))
        assert (b"1" if is_held else b"0") == status
        if is_held:
            self.states[task.id] = "succeeded" if how == "succeed" else "failed"

    @rule(one=consumes(held), kind=st.sampled_from([b"R", b"D", b"B"]), is_delayed=st.booleans())
    def run_again(self, one: tuple[Worker, Leased], kind: bytes, is_delayed: bool) -> None:
        worker, task = one
        is_held, delay_ms = self.is_held(task), 600_000 if is_delayed and kind != b"B" else 0
        status = self.run(worker.again(kind, task, delay_ms=delay_ms, row=b'{"attempt":1}' if kind == b"R" else None))
        if not is_held:
            assert b"0" == status
        elif self.states[task.id] == "cancelling":
            assert b"2" == status
            assert b"1" == self.run(worker.end_cancelled(task))
            self.states[task.id] = "cancelled"
        else:
            assert b"1" == status
            self.states[task.id] = "scheduled" if delay_ms else "queued"
            self.attempts[task.id] += kind == b"R"
            if kind != b"B":
                self.suspects.discard(task.id)

    @rule(one=consumes(held))
    def crash(self, one: tuple[Worker, Leased]) -> None:
        _, task = one
        is_held = self.is_held(task)
        shard = shard_of(task.id)
        lost = self.run(
            reap(self.store.tasks, self.store.handlers, self.store.settings, shard, [(task.id, task.token)])
        )
        assert int(is_held) == lost
        if not is_held:
            return
        if self.states[task.id] == "cancelling":
            self.states[task.id] = "cancelled"
        elif self.crashes[task.id] == 1:
            self.states[task.id] = "failed"
        else:
            self.crashes[task.id] += 1
            self.suspects.add(task.id)
            self.states[task.id] = "queued"

    @rule(one=held)
    def beat(self, one: tuple[Worker, Leased]) -> None:
        _, task = one
        expected = {"running": b"1", "cancelling": b"2"}[self.states[task.id]] if self.is_held(task) else b"0"
        assert expected == self.run(self.store.tasks.extend(shard_of(task.id), [(task.id, task.token)], LEASE_MS))

    @rule(one=held)
    def checkpoint(self, one: tuple[Worker, Leased]) -> None:
        _, task = one
        is_held, number = self.is_held(task), self.checkpoints[task.id] + 1
        notes = [(task.id, task.token, number, b"%d" % number), (task.id, task.token, number - 1, b"late")]
        noted = self.run(self.store.tasks.note_checkpoints(shard_of(task.id), notes))
        assert (b"11" if is_held else b"00") == noted
        self.checkpoints[task.id] += is_held

    @rule(one=held)
    def log(self, one: tuple[Worker, Leased]) -> None:
        """Say two lines, of which the second is sent twice."""
        _, task = one
        is_held, said = self.is_held(task), self.said.setdefault(task.id, [])
        history = self.run(self.store.attempts.history(task.id))
        first = history.said if history else 0
        two = [f"{len(said)}", f"{len(said) + 1}"]
        lines = [pack_line(0, "info", text) for text in two]
        notes = [LogNote(task.id, task.token, first + n, lines[n:], task.namespace) for n in (0, 1)]
        assert (b"11" if is_held else b"00") == self.run(self.store.attempts.note_log(shard_of(task.id), notes))
        said += two if is_held else []

    @rule(target=outside, one=consumes(held))
    def hand_over(self, one: tuple[Worker, Leased]) -> Leased:
        worker, task = one
        is_held = self.is_held(task)
        assert (b"1" if is_held else b"0") == self.run(worker.report([task], [hand_over(task, 60_000, LAST_MS)]))
        return task

    @rule(task=outside)
    def beat_outside(self, task: Leased) -> None:
        """Its endpoint is heard; what its worker says of it, or its worker's death, changes nothing."""
        is_held, shard, lost = self.is_held(task), shard_of(task.id), [(task.id, task.token)]
        expected = {"running": b"1", "cancelling": b"2"}[self.states[task.id]] if is_held else b"0"
        assert expected == self.run(self.store.completions.beat(task.id, task.token))
        assert (b"1" if is_held else b"0") == self.run(self.store.tasks.extend(shard, lost, LEASE_MS))
        assert 0 == self.run(reap(self.store.tasks, self.store.handlers, self.store.settings, shard, lost, 1))

    @rule(task=consumes(outside), how=st.sampled_from(["complete", "fail", "defer"]))
    def end_outside(self, task: Leased, how: str) -> None:
        outcome = {
            "complete": Succeeded(b"1"),
            "fail": Failed({"type": "x", "message": "", "traceback": None}, after_seconds=600),
            "defer": Deferred(600),
        }[how]
        is_held = self.is_held(task)
        for _ in range(2):
            assert is_held == self.run(self.store.completions.end(task.id, task.token, how, outcome))  # type: ignore[arg-type]
        if not is_held:
            return
        if how == "complete":
            self.states[task.id] = "succeeded"
        elif self.states[task.id] == "cancelling":
            self.states[task.id] = "cancelled"
        elif how == "fail" and task.attempt > self.store.settings.retries:
            self.states[task.id] = "failed"
        else:
            self.states[task.id] = "scheduled"
            self.attempts[task.id] += how == "fail"
            self.suspects.discard(task.id)

    @rule(id_=ids)
    def cancel(self, id_: bytes) -> None:
        was = self.states.get(id_)
        answer = self.run(ask_cancel(self.store, id_))
        if was is None:
            assert None is answer
        elif was in OVER:
            assert "over" == answer
        elif was in ("running", "cancelling"):
            assert "stopping" == answer
            self.states[id_] = "cancelling"
        else:
            assert "ended" == answer
            self.states[id_] = "cancelled"

    @rule(id_=ids)
    def forget(self, id_: bytes) -> None:
        [found] = self.run(self.store.tasks.read([id_]))
        if found is None:
            assert id_ not in self.states
            return
        answer = self.run(self.store.tasks.forget(id_, found.record))
        assert (1 if self.states[id_] in OVER else -1) == answer
        if answer == 1:
            del self.states[id_]
            self.said.pop(id_, None)

    @invariant()
    def agrees(self) -> None:
        for id_, expected in self.states.items():
            assert expected == self.run(state(self.store, id_))
        counted = self.run(self.store.queues.counts()).get("default", {})
        recount = Counter(COUNTED[one] for one in self.states.values() if one in COUNTED)
        assert {name: recount[name] for name in counted} == counted
        assert [] == invariants.faults_of(self.deployment)
        for id_, said in self.said.items():
            assert said == self.run(self.kept(id_))

    async def kept(self, id_: bytes) -> list[str]:
        """The lines of all attempts."""
        history = await self.store.attempts.history(id_)
        lines = [*(row.get("log", []) for row in history.rows), history.lines] if history else []
        return [line[2] for log in lines for line in log]


@pytest.mark.parametrize("name", ["valkey-1", "valkey-16", pytest.param("redis-1", marks=pytest.mark.full)])
def test_the_store_does_what_its_model_does(pool: Servers, name: str) -> None:
    """Any order of things that users and workers do."""
    loop = asyncio.new_event_loop()

    class Machine(Model):
        pass

    Machine.deployment, Machine.loop = deployments.of_name(pool, name), loop
    case = Machine.TestCase
    case.settings = settings(
        max_examples=25,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],  # a walk that fails is short enough to read; shortening it takes minutes
    )
    try:
        case("runTest").runTest()
    finally:
        Machine.deployment.empty()
        Machine.deployment.close()
        loop.close()
