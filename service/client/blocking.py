"""
The client for synchronous code: sends what `calls` asks for, and sleeps where it pauses.
"""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, Unpack

import httpx

from service.client.blocking_bulk import Bulks
from service.client.blocking_flows import FlowKeeper
from service.client.blocking_keys import KeyKeeper
from service.client.blocking_live import LiveReader
from service.client.blocking_queues import QueueKeeper
from service.client.blocking_schedules import Schedules
from service.client.blocking_statistics import StatisticsReader
from service.client.bulk import Edits
from service.client.calls import Answer, Pause, Steps
from service.client.endpoints import Endpoint, EndpointCall, EndpointSettings
from service.client.many import Listing, Window
from service.client.options import Options, Seconds, Submission
from service.client.search import Filters, filters_of
from service.client.shell import id_of
from service.client.submission import plain
from service.client.types import (
    Attempt,
    Explanation,
    Handler,
    Receipt,
    Rescheduling,
    Secret,
    Task,
    Worker,
)
from service.client.workers import WorkerCommand, WorkerDetail, WorkerSizes

T = TypeVar("T")
List = builtins.list  # in the class below `list` is a method


class Taskpost(Schedules, Bulks, KeyKeeper, QueueKeeper, FlowKeeper, StatisticsReader, LiveReader):
    """
    The API, for synchronous code. Safe to share between threads; close it, or use it with `with`.

    *timeout_seconds* bounds one request, apart from the time it asks the API to wait; *retries* is how often one is
    repeated. *transport* is for tests: `httpx.MockTransport`. Every method may raise `ConnectFailed`, `NoAnswer`
    (nobody knows whether it was carried out) or an `ApiError`; the tree stands in `errors`.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_seconds: float = 30,
        retries: int = 3,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(url, api_key, timeout_seconds, retries)
        self._http = httpx.Client(transport=transport, **self.options())

    def __enter__(self) -> Taskpost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    got = self._http.request(**self.sent(step))
                except httpx.TransportError as exc:
                    step = steps.throw(self.failed(step, exc))
                else:
                    step = steps.send(Answer(got.status_code, got.headers, got.content))
        except StopIteration as end:
            done: T = end.value
            return done

    def submit(
        self,
        name: str | None = None,
        args: Mapping[str, Any] | None = None,
        *,
        wait: float | None = None,
        **options: Unpack[Options],
    ) -> Task:
        """
        Submit one task: `submit("demo.add", {"a": 2, "b": 3}, queue="mail")`, `submit(url="https://…", body={…})`.

        With *wait* the task is answered when it has ended, at the latest after that many seconds: then unfinished.

        Raises:
            Refused: the submission has faults, all listed; nothing was stored.
        """
        return self._run(self._calls.submit({"name": name, "args": args, **options}, wait))

    def submit_many(self, submissions: Iterable[Submission]) -> List[Receipt]:
        """
        Submit many, up to 1,000 a request; a receipt for each, in the order given. A fault stops no other.

        When a later request fails its error is raised, and the receipts of earlier ones are lost: where that matters
        use `stream`, or keys of your own and call again.
        """
        return builtins.list(self._receipts(Window(self._calls, "batch"), submissions))

    def stream(self, submissions: Iterable[Submission]) -> Iterator[Receipt]:
        """Submit without end: takes from *submissions* as the receipts are taken, a window of 64 KiB at a time."""
        return self._receipts(Window(self._calls, "stream"), submissions)

    def _receipts(self, window: Window, submissions: Iterable[Submission]) -> Iterator[Receipt]:
        for one in submissions:
            yield from self._run(window.add(one))
        yield from self._run(window.send())

    def get(self, task: str | Task, *, wait: float | None = None) -> Task:
        """The task as it stands; with *wait* as soon as it has ended, at the latest after that many seconds."""
        return self._run(self._calls.get(id_of(task), wait))

    def wait(self, task: str | Task, timeout_seconds: float | None = None) -> Task:
        """The task once it has ended, however it did. Raises WaitTimedOut after *timeout_seconds*; None never."""
        return self._run(self._calls.wait(id_of(task), timeout_seconds))

    def result(self, task: str | Task, *, wait: float | None = None) -> Any:
        """
        The result: JSON as Python has it, text as str, anything else as bytes.

        Raises:
            NotFinished: not within *wait* seconds.
            TaskFailed: the task failed, expired or was cancelled.
            ResultGone: it succeeded, and its result was not kept.
        """
        return self._run(self._calls.result(id_of(task), wait))

    def cancel(self, task: str | Task) -> Task:
        """Stop a task; a running one reads as `cancelling` until it has. Raises StateConflict when it has ended."""
        return self._run(self._calls.cancel(id_of(task)))

    def explain(self, task: str | Task) -> Explanation:
        """Why the task stands where it stands."""
        return self._run(self._calls.explain(id_of(task)))

    def replay(self, task: str | Task, **edits: Unpack[Edits]) -> Task:
        """Do an ended task once more, as a new task, which this answers. Raises StateConflict when it has not ended."""
        return self._run(self._calls.replay(id_of(task), edits))

    def run(self, task: str | Task) -> Task:
        """Let a waiting task start now. Raises StateConflict when it does not wait."""
        return self._run(self._calls.run(id_of(task)))

    def reschedule(self, task: str | Task, **given: Unpack[Rescheduling]) -> Task:
        """Change when a waiting task starts, its priority, or both. Raises StateConflict when it does not wait."""
        return self._run(self._calls.reschedule(id_of(task), given))

    def delete(self, task: str | Task) -> None:
        """Remove an ended task without a trace. Raises StateConflict when it has not ended."""
        self._run(self._calls.delete(id_of(task)))

    def attempts(self, task: str | Task) -> List[Attempt]:
        """The runs of the task, oldest first."""
        return self._run(self._calls.attempts(id_of(task)))

    def list(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> Iterator[Task]:
        """The tasks that match all filters, at most *limit* (None: all); pages are read as they are needed."""
        listing = Listing(self._calls, Task, "/v1/tasks", filters_of(filters), limit)
        while not listing.is_over:
            yield from self._run(listing.more())

    def workers(self) -> List[Worker]:
        """The live workers, oldest first."""
        return self._run(self._calls.everything(Worker, "/v1/workers"))

    def worker(self, id_: str) -> WorkerDetail:
        """One live worker: its processes, their memory, what they run. Raises NotFound."""
        return self._run(self._calls.worker(id_))

    def quiet_worker(self, id_: str) -> WorkerCommand:
        """Let a worker finish what it runs and take nothing more. `worker` shows when it is so; so with all four."""
        return self._run(self._calls.tell(id_, "quiet", {}))

    def resume_worker(self, id_: str) -> WorkerCommand:
        """Let a quiet worker take tasks again."""
        return self._run(self._calls.tell(id_, "resume", {}))

    def stop_worker(self, id_: str, *, drain_seconds: Seconds | None = None) -> WorkerCommand:
        """Stop a worker as SIGTERM does; its tasks may go on for *drain_seconds* (None: as its settings say)."""
        seconds = None if drain_seconds is None else plain("drain_seconds", drain_seconds)
        return self._run(self._calls.tell(id_, "stop", {"drain_seconds": seconds}))

    def resize_worker(self, id_: str, **sizes: Unpack[WorkerSizes]) -> WorkerCommand:
        """Change how much a worker runs at once; nothing that runs is stopped."""
        return self._run(self._calls.tell(id_, "resize", sizes))

    def handlers(self) -> List[Handler]:
        """The handlers that workers have published, by name."""
        return self._run(self._calls.everything(Handler, "/v1/handlers"))

    def secrets(self, *, reveal: bool = False) -> List[Secret]:
        """What signs calls of URLs, the current secret first; masked unless *reveal*."""
        return self._run(self._calls.secrets(reveal))

    def rotate_secrets(self, *, overlap_seconds: Seconds | None = None) -> List[Secret]:
        """
        Make a new secret; those before it sign along for *overlap_seconds* (None: a day). The new one, shown whole,
        comes first. Sent once: look at `secrets` before calling again after `NoAnswer`.
        """
        return self._run(self._calls.rotate_secrets(overlap_seconds))

    def endpoints(self) -> List[Endpoint]:
        """The endpoints that were called within the last week, or have settings, by name."""
        return self._run(self._calls.everything(Endpoint, "/v1/endpoints"))

    def endpoint(self, endpoint: str) -> Endpoint:
        """How calls of *endpoint* (its name, or a URL) go, and what is set for it. Raises NotFound."""
        return self._run(self._calls.endpoint(endpoint))

    def change_endpoint(self, endpoint: str, **settings: Unpack[EndpointSettings]) -> Endpoint:
        """Set what is named; None takes it away. Raises Refused."""
        return self._run(self._calls.change_endpoint(endpoint, settings))

    def disable_endpoint(self, endpoint: str, *, reason: str | None = None) -> Endpoint:
        """Have *endpoint* called no more: its tasks fail, and new ones are refused."""
        return self._run(self._calls.tell_endpoint(endpoint, "disable", {"reason": reason}))

    def enable_endpoint(self, endpoint: str, *, url: str | None = None) -> Endpoint:
        """Have *endpoint* called again, with all its URLs; or only *url*, which had answered 410."""
        return self._run(self._calls.tell_endpoint(endpoint, "enable", {"url": url}))

    def try_endpoint(self, endpoint: str, **call: Unpack[EndpointCall]) -> Task:
        """Call *endpoint* once, also while it is disabled; the task that does, to be waited for. Raises Refused."""
        return self._run(self._calls.try_endpoint(endpoint, call))

    def credentials(self, endpoint: str) -> dict[str, Any]:
        """How calls of *endpoint* (its name, or a URL) say who they are; secrets are hidden. Raises NotFound."""
        return self._run(self._calls.credentials(endpoint))

    def set_credentials(self, endpoint: str, auth: Mapping[str, Any]) -> dict[str, Any]:
        """
        Have calls of *endpoint* say who they are: `{"kind": "bearer", "token": …}`, and the other kinds of the
        contract's `EndpointAuth`. Replaces what was set before; answers it with its secrets hidden. Raises Refused.
        """
        return self._run(self._calls.set_credentials(endpoint, auth))

    def remove_credentials(self, endpoint: str) -> None:
        """Calls of *endpoint* carry their signature alone from now on. Raises NotFound."""
        self._run(self._calls.remove_credentials(endpoint))
