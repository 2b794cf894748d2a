"""
For tests of programs that submit tasks. The pytest plugin, which comes with the distribution, has the same as fixtures.

    taskpost_eager      tasks submitted in the test run at once (`eager.py`)
    taskpost_submitted  tasks submitted in the test are noted in this list, and run only in eager mode

Nothing is sent in either case. The fact to know: pytest loads this module in every run of a project that has Taskpost
installed, so what takes long to load, the clients and the store, waits until a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from service.client import Task
    from service.client.calls import Steps
    from workers.eager import EagerAsyncDoor, EagerDoor
    from workers.handler import Handler

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Submitted:
    """One submission: the handler's name, the arguments as JSON has them, and the options by the contract's names."""

    name: str
    args: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)


class Recorder:
    """Stands in for the API: notes what is submitted, and runs it if something before it would."""

    def __init__(self) -> None:
        self.submitted: list[Submitted] = []
        self.tasks: dict[str, Task] = {}

    # ------------------------------------------------------------ the doors

    def sync(self) -> RecorderDoor:
        return RecorderDoor(self, self.under and self.under.sync())

    def asynchronous(self) -> RecorderAsyncDoor:
        return RecorderAsyncDoor(self, self.under and self.under.asynchronous())

    @property
    def under(self) -> Any:
        """What the submissions would go to without us, apart from the API."""
        from service.settings import ClientSettings
        from workers import doors

        below = [one for one in doors.STANDING_IN if not isinstance(one, Recorder)]
        if below:
            return below[-1]
        return doors.eager_of(ClientSettings.from_env())

    def note(self, submission: Mapping[str, Any], handler: Handler[..., Any], task: Task | None) -> Task:
        """Note one; a task that nobody ran waits for ever."""
        from service.client.submission import document

        said = document(submission)
        name, args = said.pop("name"), said.pop("args")
        self.submitted.append(Submitted(name, args, said))
        if task is None:
            task = waiting(submission, handler)
        self.tasks[task.id] = task
        return task

    # ------------------------------------------------------------ what a handle asks

    def get(self, id_: str, _wait: float | None) -> Steps[Task]:
        yield from ()
        return self.tasks[id_]

    def wait(self, id_: str, timeout: float | None) -> Steps[Task]:
        from service.client import WaitTimedOut

        yield from ()
        raise WaitTimedOut(self.tasks[id_], timeout or 0)

    def cancel(self, id_: str) -> Steps[Task]:
        from service.client import Task
        from service.client.types import view

        yield from ()
        self.tasks[id_] = view(Task, {**self.tasks[id_].raw, "state": "cancelled"})
        return self.tasks[id_]


class RecorderDoor:
    """Notes what synchronous code submits."""

    def __init__(self, recorder: Recorder, under: EagerDoor | None) -> None:
        self.calls, self.under = recorder, under

    def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task:
        ran = self.under.submit(submission, handler) if self.under else None
        return self.calls.note(submission, handler, ran)

    def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]:
        return [self.submit(one, handler) for one in submissions]

    def run(self, steps: Steps[T]) -> T:
        from workers.eager import stepped

        return stepped(steps)


class RecorderAsyncDoor:
    """Notes what asyncio code submits."""

    def __init__(self, recorder: Recorder, under: EagerAsyncDoor | None) -> None:
        self.calls, self.under = recorder, under

    async def submit(self, submission: dict[str, Any], handler: Handler[..., Any]) -> Task:
        ran = await self.under.submit(submission, handler) if self.under else None
        return self.calls.note(submission, handler, ran)

    async def submit_many(self, submissions: list[dict[str, Any]], handler: Handler[..., Any]) -> list[Task]:
        return [await self.submit(one, handler) for one in submissions]

    async def run(self, steps: Steps[T]) -> T:
        from workers.eager import stepped

        return stepped(steps)


def waiting(submission: Mapping[str, Any], handler: Handler[..., Any]) -> Task:
    """The task of a submission that nobody runs."""
    from service.client import Task
    from service.client.types import view
    from service.ids import encode_id, new_ids
    from workers.eager import EagerRun

    run = EagerRun(submission, handler)
    return view(
        Task,
        {
            "id": encode_id(new_ids(0, 1, run.now_ms)[0]),
            "state": "queued",
            "queue": run.queue,
            "lane": handler.lane,
            **{key: value for key, value in run.submission.items() if key in Task.__struct_fields__},
        },
    )


@contextmanager
def recorded() -> Iterator[list[Submitted]]:
    """While it lasts, what Python submits in this process is noted in the list, and not sent."""
    from workers import doors

    recorder = Recorder()
    with doors.standing_in(recorder):
        yield recorder.submitted


@pytest.fixture
def taskpost_eager() -> Iterator[None]:
    """Tasks submitted in the test run at once, in its process."""
    from workers.eager import eager

    with eager():
        yield


@pytest.fixture
def taskpost_submitted() -> Iterator[list[Submitted]]:
    """What the test submitted, in order; together with `taskpost_eager` it runs too."""
    with recorded() as submitted:
        yield submitted
