"""
The synchronous client's methods for queues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, Unpack

from service.client.bulk import Bulk, BulkCount
from service.client.calls import Steps
from service.client.queues import Queue, QueueScale, QueueSettings, Route
from service.client.shell import Shell

T = TypeVar("T")


class QueueKeeper(Shell):
    """What `Taskpost` can do with queues."""

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def queues(self) -> list[Queue]:
        """The queues, by name, with what waits in them and what is set for them."""
        return self._run(self._queues.everything())

    def queue(self, name: str, /) -> Queue:
        """A queue. Raises NotFound."""
        return self._run(self._queues.get(name))

    def change_queue(
        self,
        name: str,
        /,
        settings: Mapping[str, Any] | None = None,
        *,
        if_version: str | None = None,
        **changes: Unpack[QueueSettings],
    ) -> Queue:
        """
        Change settings of a queue, `change_queue("mail", concurrency=10)`; None takes one away. With *if_version* only
        if it is still of that version. Raises VersionConflict.
        """
        return self._run(self._queues.change(name, {**(settings or {}), **changes}, if_version))

    def pause_queue(self, name: str, /, *, reason: str | None = None, by: str | None = None) -> Queue:
        """Have no task of the queue started until it is resumed; *reason* and *by* are shown to those who wait."""
        return self._run(self._queues.tell(name, "pause", {"reason": reason, "by": by}))

    def drain_queue(self, name: str, /, *, reason: str | None = None, by: str | None = None) -> Queue:
        """Have no submission taken for the queue until it is resumed, and let it run empty."""
        return self._run(self._queues.tell(name, "drain", {"reason": reason, "by": by}))

    def resume_queue(self, name: str, /) -> Queue:
        """End a pause and a drain."""
        return self._run(self._queues.tell(name, "resume", {}))

    def delete_queue(self, name: str, /) -> None:
        """Forget what is set for an empty queue. Raises NotFound; StateConflict when there are tasks in it."""
        self._run(self._queues.delete(name))

    def count_purge(self, name: str, /) -> BulkCount:
        """How many tasks `purge_queue` would cancel, and some of them."""
        return self._run(self._queues.count_purge(name))

    def purge_queue(self, name: str, /, *, rate_per_second: float | None = None) -> Bulk:
        """Cancel all that waits in the queue. The scheduler does it: see `bulk`."""
        return self._run(self._queues.purge(name, rate_per_second))

    def scale_queue(
        self, name: str, /, *, tasks_per_worker: int | None = None, least: int | None = None, most: int | None = None
    ) -> QueueScale:
        """How many workers the queue needs, from *least* (0) to *most* (100), if each runs *tasks_per_worker* (100)."""
        bounds = {"tasks_per_worker": tasks_per_worker, "min": least, "max": most}
        return self._run(self._queues.scale(name, bounds))

    def routes(self) -> list[Route]:
        """By which rules tasks come to queues that name none, in the order in which they are tried."""
        return self._run(self._queues.routes())

    def set_routes(self, routes: Sequence[Route], /) -> list[Route]:
        """Replace all routes."""
        return self._run(self._queues.put_routes(routes))
