"""
Submitting tasks by their handlers: `await send.submit("a@b.c")` answers a handle (`handles.py`).

Arguments are checked here first, against the handler's own signature; then they go over HTTP with the client, like
everybody else's, with its retries and idempotency keys. Options of the task are given before, by `send.options(…)`,
so that they can never be mistaken for arguments and editors show the handler's own signature.
The fact to know: the async methods use one client for each event loop, the others one for each process.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar, Unpack, overload

from service import plain
from service.errors import InvalidArguments
from workers import doors
from workers.handles import Handle, SyncHandle
from workers.options import hint_for

if TYPE_CHECKING:
    from service.client.options import Seconds
    from workers.handler import Handler

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class SubmitOptions(TypedDict, total=False):
    """What `options` takes; None is the same as left out. Times are seconds or timedeltas."""

    delay: Seconds | None
    run_at: datetime | str | None
    expires_in: Seconds | None
    expires_at: datetime | str | None
    queue: str | None
    priority: int | None
    timeout: Seconds | None
    soft_timeout: Seconds | None
    retries: int | None
    retry_for: Seconds | None
    backoff: Mapping[str, Any] | Iterable[Seconds] | None
    max_crashes: int | None
    idempotency_key: str | None
    unique: Mapping[str, Any] | None
    debounce: Mapping[str, Any] | None
    flow: str | Mapping[str, Any] | None
    group: str | None
    tags: Iterable[str] | None
    metadata: Mapping[str, Any] | None
    result_ttl: Seconds | None
    callback: str | Mapping[str, Any] | None
    parent: str | None


# The contract's names, where they differ: there a number says its unit.
CONTRACT_NAMES = {
    "delay": "delay_seconds",
    "expires_in": "expires_in_seconds",
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
                hint = hint_for(name, SubmitOptions.__annotations__)
                raise TypeError(f"{target.name}.options({name}=…): there is no such option: {hint}")
        self._target, self._submit_options = target, options

    def __repr__(self) -> str:
        return f"<{self._target.name} with {', '.join(self._submit_options)}>"
