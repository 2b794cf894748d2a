"""
Settings of queues against a plain model of them: random walks of submitting, leasing, ending, crashing, cancelling,
pausing, limiting and draining, after each step of which counts and the whole keyspace agree.
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

from service.errors import QueueDraining, QueueFull
from service.store import Store
from service.store.endings import Ending, again
from service.store.outside import reap
from service.task import Leased
from tests.store import deployments, invariants
from tests.store.acting import Worker, ask_cancel, new
from tests.store.deployments import Deployment, Servers

Answer = TypeVar("Answer")
QUEUES = st.sampled_from(["a", "b"])
WAITING = ("queued", "scheduled")


class Model(RuleBasedStateMachine):
    """What ought to be, beside what is; on one shard, where limits are exact."""

    deployment: ClassVar[Deployment]
    loop: ClassVar[asyncio.AbstractEventLoop]
    held = Bundle("held")
    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.deployment.empty()
        self.store: Store = self.run(self.deployment.open())
        self.worker = Worker(self.store)
        self.states: dict[bytes, str] = {}
        self.queue_of: dict[bytes, str] = {}
        self.settings: dict[str, dict[str, Any]] = {"a": {}, "b": {}}
        self.starts = {"a": 0, "b": 0}  # what is left of a burst; the rate itself brings nothing in the time of a test

    def run(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        self.run(self.store.close())

    def many(self, queue: str, *states: str) -> int:
        return sum(self.queue_of[id_] == queue and one in states for id_, one in self.states.items())

    def may_start(self, queue: str, freed: int = 0) -> int:
        """How many of its tasks the settings of *queue* let start, when *freed* end in the same call."""
        given = self.settings[queue]
        if "paused" in given:
            return 0
        room = self.many(queue, "queued")
        if "concurrency" in given:
            room = min(room, max(0, given["concurrency"] - self.many(queue, "running", "cancelling") + freed))
        return min(room, self.starts[queue]) if "rate" in given else room

    @rule(target=ids, queue=QUEUES, many=st.integers(1, 4), is_delayed=st.booleans())
    def submit(self, queue: str, many: int, is_delayed: bool) -> Any:
        given, waiting = self.settings[queue], self.many(queue, *WAITING)
        tasks = [new(queue=queue, delay_ms=600_000 if is_delayed else 0, max_crashes=9) for _ in range(many)]
        taken = self.run(self.store.tasks.submit(tasks))
        refusal = QueueDraining if "draining" in given else QueueFull
        fitting = 0 if "draining" in given else max(0, given.get("max_length", 10**9) - waiting)
        assert [None] * min(fitting, many) == [one.refusal for one in taken[:fitting]]
        assert all(isinstance(one.refusal, refusal) for one in taken[fitting:])
        for one in taken[:fitting]:
            self.states[one.id], self.queue_of[one.id] = "scheduled" if is_delayed else "queued", queue
        return multiple(*[one.id for one in taken[:fitting]])

    def started(self, leased: list[Leased]) -> Any:
        for task in leased:
            assert "queued" == self.states[task.id]
            self.states[task.id] = "running"
            self.starts[task.queue] -= "rate" in self.settings[task.queue]
        return multiple(*leased)

    @rule(target=held, room=st.integers(1, 5))
    def lease(self, room: int) -> Any:
        """The room of the lane is shared by both queues, first come."""
        first = min(room, self.may_start("a"))
        second = min(room - first, self.may_start("b"))
        stepped = self.run(self.worker.step(wants=[("a", "async", room), ("b", "async", room)]))
        by_queue = Counter(task.queue for task in stepped.leased)
        assert (first, second) == (by_queue["a"], by_queue["b"])
        return self.started(stepped.leased)

    @rule(target=held, task=consumes(held), room=st.integers(1, 3))
    def turn(self, task: Leased, room: int) -> Any:
        """What ends makes room in the same call."""
        is_running = self.states[task.id] in ("running", "cancelling")
        expected = min(room, self.may_start(task.queue, int(is_running)))
        ending = self.worker.ending(task, Ending("succeeded", b"1"))
        stepped = self.run(self.worker.step(0, [ending], [(task.queue, "async", room)]))
        assert (b"1" if is_running else b"0", expected) == (stepped.statuses, len(stepped.leased))
        if is_running:
            self.states[task.id] = "succeeded"
        return self.started(stepped.leased)

    @rule(task=consumes(held), is_delayed=st.booleans())
    def retry(self, task: Leased, is_delayed: bool) -> None:
        report = again(task, b"R", 600_000 if is_delayed else 0, None)
        status = self.run(self.worker.report([task], [report]))
        if self.states[task.id] == "running":
            assert b"1" == status
            self.states[task.id] = "scheduled" if is_delayed else "queued"
        elif status == b"2":
            self.run(self.worker.end_cancelled(task))
            self.states[task.id] = "cancelled"

    @rule(task=consumes(held))
    def lose(self, task: Leased) -> None:
        """Its worker ended it, so that it is not to blame."""
        store = self.store
        self.run(reap(store.tasks, store.handlers, store.settings, 0, [(task.id, task.token)], -1))
        self.states[task.id] = {"running": "queued", "cancelling": "cancelled"}.get(
            self.states[task.id], self.states[task.id]
        )

    @rule(id_=ids)
    def cancel(self, id_: bytes) -> None:
        self.run(ask_cancel(self.store, id_))
        was = self.states[id_]
        self.states[id_] = {"running": "cancelling", "queued": "cancelled", "scheduled": "cancelled"}.get(was, was)

    @rule(
        queue=QUEUES,
        given=st.fixed_dictionaries(
            {},
            optional={
                "paused": st.just({}),
                "draining": st.just({}),
                "concurrency": st.integers(1, 3),
                "rate": st.just(0.001),
                "max_length": st.integers(1, 5),
            },
        ),
        burst=st.integers(1, 4),
    )
    def set_up(self, queue: str, given: dict[str, Any], burst: int) -> None:
        """A rate that was there before has its burst anew only where it was not used up."""
        before = self.settings[queue]
        if "rate" in given:
            given |= {"period_seconds": 86_400, "burst": burst}
            # What was started under the old rate stays paid for, at most to the end of the new burst.
            used = before["burst"] - self.starts[queue] if "rate" in before else 0
            self.starts[queue] = burst - min(used, burst)
        self.settings[queue] = given
        self.run(self.store.limits.apply(queue, given))

    @invariant()
    def agrees(self) -> None:
        counted = self.run(self.store.queues.counts())
        for queue in ("a", "b"):
            expected = {"queued": self.many(queue, "queued"), "scheduled": self.many(queue, "scheduled"),
                        "running": self.many(queue, "running", "cancelling")}  # fmt: skip
            assert expected == counted.get(queue, dict.fromkeys(expected, 0))
        assert [] == invariants.faults_of(self.deployment)


@pytest.mark.parametrize("name", ["valkey-1", pytest.param("redis-1", marks=pytest.mark.full)])
def test_queues_do_what_their_model_does(pool: Servers, name: str) -> None:
    """Any order of things that users, workers and operators do."""
    loop = asyncio.new_event_loop()

    class Machine(Model):
        pass

    Machine.deployment, Machine.loop = deployments.of_name(pool, name), loop
    case = Machine.TestCase
    case.settings = settings(
        max_examples=25,
        stateful_step_count=30,
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
