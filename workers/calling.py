"""
Submitting tasks by their handlers: `await send.submit("a@b.c")`, and the handles that this answers.

Arguments are checked here first, against the handler's own signature; then they go over HTTP with the client, like
everybody else's, with its retries and idempotency keys. Options of the task are given before, by `send.options(…)`,
so that they can never be mistaken for arguments and editors show the handler's own signature.
The fact to know: the async methods use one client for each event loop, the others one for each process.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from service.errors import InvalidArguments
from workers import doors, plain

if TYPE_CHECKING:
    from service.client import Task, TaskError
    from service.client.calls import Steps
    from service.client.types import Seconds
    from workers.doors import AsyncDoor, Door
    from workers.handler import Handler

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class SubmitOptions(TypedDict, total=False):
    """What `options` takes; None is the same as left out. Times are seconds or timedeltas."""

    delay: Seconds | None
    run_at: datetime | str | None
    queue: str | None
    priority: int | None
    timeout: Seconds | None
    soft_timeout: Seconds | None
    retries: int | None
    retry_for: Seconds | None
    backoff: Mapping[str, Any] | Iterable[Seconds] | None
    max_crashes: int | None
    idempotency_key: str | None
    tags: Iterable[str] | None
    metadata: Mapping[str, Any] | None
    result_ttl: Seconds | None
    callback: str | Mapping[str, Any] | None
    parent: str | None


# The contract's names, where they differ: there a number says its unit.
CONTRACT_NAMES = {
    "delay": "delay_seconds",
    "timeout": "timeout_seconds",
    "soft_timeout": "soft_timeout_seconds",
    "retry_for": "retry_for_seconds",
    "result_ttl": "result_ttl_seconds",
}


def submission_of(
    handler: Handler[..., Any], options: Mapping[str, Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """
    The submission of one call.

    Raises:
        InvalidArguments: they do not fit the signature; every fault is named, and nothing was sent.
    """
    given = handler.arguments.named(args, kwargs)
    try:
        written = plain.arguments(given)
    except TypeError as exc:
        raise InvalidArguments(f"{handler.name} cannot take these arguments: {exc}", []) from exc
    handler.bind(written)
    named = {CONTRACT_NAMES.get(name, name): value for name, value in options.items() if value is not None}
    return {"name": handler.name, "args": written, **named}


class Seen(Generic[T]):
    """
    What both kinds of handle are: a task as it was last seen.

    `state`, `result` and `error` ask nobody: `ready()`, `get()`, `refresh()` and `cancel()` see the task anew.
    """

    def __init__(self, task: Task, handler: Handler[..., Any]) -> None:
        self.task, self._handler = task, handler

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.task.what} {self.state}>"

    @property
    def id(self) -> str:
        """The id of the task, which any other program can use too."""
        return self.task.id

    @property
    def state(self) -> str:
        """`scheduled`, `queued`, `running`, `cancelling`, `succeeded`, `failed`, `cancelled` or `expired`."""
        return self.task.state

    @property
    def result(self) -> T | None:
        """What the handler returned, in the type that it declares; None without a result."""
        result: T | None = self._handler.arguments.returned(self.task.result) if self.task.has_result else None
        return result

    @property
    def error(self) -> TaskError | None:
        """Why it failed last."""
        return self.task.error

    # ------------------------------------------------------------ what is said, without a network

    def _refreshed(self) -> Steps[str]:
        if not self.task.is_ended:
            self.task = yield from self._calls.get(self.id, None)
        return self.state

    def _is_ready(self) -> Steps[bool]:
        yield from self._refreshed()
        return self.task.is_ended

    def _got(self, timeout: float | None) -> Steps[T]:
        if not self.task.is_ended:
            self.task = yield from self._calls.wait(self.id, timeout)
        if not self.task.succeeded:
            raise doors.failure_of(self.task)
        if not self.task.has_result:
            raise doors.result_gone(self.task)
        result: T = self._handler.arguments.returned(self.task.result)
        return result

    def _cancelled(self) -> Steps[str]:
        self.task = yield from self._calls.cancel(self.id)
        return self.state

    @property
    def _calls(self) -> Any:
        raise NotImplementedError


class Handle(Seen[T]):
    """A submitted task, for asyncio."""

    def __init__(self, task: Task, handler: Handler[..., Any], door: AsyncDoor) -> None:
        super().__init__(task, handler)
        self._door = door

    @property
    def _calls(self) -> Any:
        return self._door.calls

    async def refresh(self) -> str:
        """The state as it is now."""
        return await self._door.run(self._refreshed())

    async def ready(self) -> bool:
        """Whether the task has ended, however it did."""
        return await self._door.run(self._is_ready())

    async def get(self, timeout: float | None = None) -> T:
        """
        The result, once there is one.

        Raises:
            WaitTimedOut: not within *timeout* seconds (None: waits for ever); the task goes on.
            TaskFailed: it failed, expired or was cancelled; `error` says why.
            ResultGone: it succeeded, and its result was not kept.
        """
        return await self._door.run(self._got(timeout))

    async def cancel(self) -> str:
        """Stop it; the state it then has. Raises StateConflict when it has ended."""
        return await self._door.run(self._cancelled())


class SyncHandle(Seen[T]):
    """A submitted task, for synchronous code; its methods are those of `Handle`."""

    def __init__(self, task: Task, handler: Handler[..., Any], door: Door) -> None:
        super().__init__(task, handler)
        self._door = door

    @property
    def _calls(self) -> Any:
        return self._door.calls

    def refresh(self) -> str:
        """As `Handle.refresh`."""
        return self._door.run(self._refreshed())

    def ready(self) -> bool:
        """As `Handle.ready`."""
        return self._door.run(self._is_ready())

    def get(self, timeout: float | None = None) -> T:
        """As `Handle.get`."""
        return self._door.run(self._got(timeout))

    def cancel(self) -> str:
        """As `Handle.cancel`."""
        return self._door.run(self._cancelled())


Row = Sequence[Any] | Mapping[str, Any]


def rows_of(handler: Handler[..., Any], options: Mapping[str, Any], rows: Iterable[Row]) -> list[dict[str, Any]]:
    """
    The submissions of *rows*, each the positional arguments as a tuple or list, or all by name as a dict.

    All are checked before any is sent. Raises InvalidArguments, naming the row.
    """
    if options.get("idempotency_key") is not None:
        raise TypeError(f"{handler.name}: one idempotency_key cannot stand for many tasks; submit each by itself")
    made: list[dict[str, Any]] = []
    for place, row in enumerate(rows):
        args, kwargs = ((), row) if isinstance(row, Mapping) else (row, {})
        if isinstance(row, str | bytes) or not isinstance(args, Sequence):
            raise TypeError(f"row {place}, {row!r}: needs a tuple of arguments, or a dict of them by name")
        try:
            made.append(submission_of(handler, options, args, kwargs))
        except InvalidArguments as exc:
            raise InvalidArguments(f"row {place}: {exc}", exc.errors) from exc
    return made


class Submitting(Generic[P, R]):
    """What can be submitted: a handler, or a handler with options of its tasks."""

    _target: Handler[..., Any]
    _submit_options: Mapping[str, Any]

    def options(self, **options: Unpack[SubmitOptions]) -> Submitting[P, R]:
        """The same with options for what is submitted by it: `await send.options(delay=300).submit("a@b.c")`."""
        return WithOptions(self._target, {**self._submit_options, **options})

    @overload
    async def submit(self: Submitting[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...

    @overload
    async def submit(self: Submitting[P, T], *args: P.args, **kwargs: P.kwargs) -> Handle[T]: ...

    async def submit(self, *args: Any, **kwargs: Any) -> Handle[Any]:
        """
        Submit one task; the arguments are those of the function, without the Context and what dependencies fill.

        Raises:
            InvalidArguments: they do not fit the signature; nothing was sent.
            ClientError: the API refused, or did not answer; the tree stands in `service.client`.
        """
        submission = submission_of(self._target, self._submit_options, args, kwargs)
        door = await doors.async_door()
        return Handle(await door.submit(submission, self._target), self._target, door)

    @overload
    def submit_sync(
        self: Submitting[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[T]: ...

    @overload
    def submit_sync(self: Submitting[P, T], *args: P.args, **kwargs: P.kwargs) -> SyncHandle[T]: ...

    def submit_sync(self, *args: Any, **kwargs: Any) -> SyncHandle[Any]:
        """As `submit`, without asyncio. It blocks, so not on an event loop."""
        submission = submission_of(self._target, self._submit_options, args, kwargs)
        door = doors.door()
        return SyncHandle(door.submit(submission, self._target), self._target, door)

    @overload
    async def submit_many(self: Submitting[P, Coroutine[Any, Any, T]], rows: Iterable[Row]) -> list[Handle[T]]: ...

    @overload
    async def submit_many(self: Submitting[P, T], rows: Iterable[Row]) -> list[Handle[T]]: ...

    async def submit_many(self, rows: Iterable[Row]) -> list[Handle[Any]]:
        """
        Submit a task for each of *rows*: its arguments as a tuple, or by name as a dict. A handle for each, in order.

        Raises:
            InvalidArguments: of some row; nothing was sent.
            ClientError: as `submit`; up to 1,000 tasks are one request, and those before a failed one are stored.
        """
        submissions = rows_of(self._target, self._submit_options, rows)
        door = await doors.async_door()
        return [Handle(task, self._target, door) for task in await door.submit_many(submissions, self._target)]

    @overload
    def submit_many_sync(self: Submitting[P, Coroutine[Any, Any, T]], rows: Iterable[Row]) -> list[SyncHandle[T]]: ...

    @overload
    def submit_many_sync(self: Submitting[P, T], rows: Iterable[Row]) -> list[SyncHandle[T]]: ...

    def submit_many_sync(self, rows: Iterable[Row]) -> list[SyncHandle[Any]]:
        """As `submit_many`, without asyncio."""
        submissions = rows_of(self._target, self._submit_options, rows)
        door = doors.door()
        return [SyncHandle(task, self._target, door) for task in door.submit_many(submissions, self._target)]


class WithOptions(Submitting[P, R]):
    """A handler with options of its tasks."""

    def __init__(self, target: Handler[..., Any], options: Mapping[str, Any]) -> None:
        """Raises TypeError for an option that there is not."""
        for name in options:
            if name not in SubmitOptions.__annotations__:
                known = ", ".join(SubmitOptions.__annotations__)
                raise TypeError(f"{target.name}.options({name}=…): there is no such option; there are {known}")
        self._target, self._submit_options = target, options

    def __repr__(self) -> str:
        return f"<{self._target.name} with {', '.join(self._submit_options)}>"
