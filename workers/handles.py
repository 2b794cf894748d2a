"""
Handles: submitted tasks in the hands of the program that submitted them.

`Handle` is for asyncio, `SyncHandle` for synchronous code. What they say is written once, as steps without a network;
a door takes the steps (`doors.py`), to the API or to what stands in for it.
The fact to know: `state`, `result` and `error` are as last seen; only the methods ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from workers import doors

if TYPE_CHECKING:
    from service.client import Task, TaskError
    from service.client.calls import Steps
    from workers.doors import AsyncDoor, Door
    from workers.handler import Handler

T = TypeVar("T")


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
