"""
The synchronous client's methods for events.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar, Unpack

import httpx

from service.client.calls import Steps
from service.client.errors import ClientError
from service.client.live import Event, EventFilters, Following, ReadToken
from service.client.options import Seconds
from service.client.shell import Shell, id_of
from service.client.types import Task

T = TypeVar("T")
WhenBroken = Callable[[ClientError], None]


class LiveReader(Shell):
    """How `Taskpost` follows what happens."""

    _http: httpx.Client

    def _run(self, steps: Steps[T]) -> T:
        """Do what *steps* ask for until they return."""
        raise NotImplementedError

    def events(
        self, *, cursor: str | None = None, when_broken: WhenBroken | None = None, **filters: Unpack[EventFilters]
    ) -> Iterator[Event]:
        """
        What happens from now on, or from *cursor* on, as it happens and without end:
        `for event in taskpost.events(queue="mail")`.

        A connection that breaks is made again, behind the last event; *when_broken* is told why it broke.

        Raises:
            Refused: the filters have faults.
            ConnectFailed: there was nobody from the beginning.
        """
        return self._follow(self._live.all(filters, cursor), when_broken)

    def follow(
        self, task: str | Task, *, cursor: str | None = None, when_broken: WhenBroken | None = None
    ) -> Iterator[Event]:
        """
        How *task* stands, then what happens to it, its progress and its log, up to its end. See `events`.

        Raises:
            NotFound: there is no such task.
        """
        return self._follow(self._live.one(id_of(task), cursor), when_broken)

    def read_token(self, task: str | Task, *, ttl_seconds: Seconds | None = None) -> ReadToken:
        """What lets a browser read *task* and follow it; for a quarter of an hour unless told otherwise."""
        return self._run(self._live.read_token(id_of(task), ttl_seconds))

    def _follow(self, following: Following, when_broken: WhenBroken | None) -> Iterator[Event]:
        while True:
            request = following.request()
            broken: ClientError | None = None
            try:
                with self._http.stream(**self.streamed(request)) as answer:
                    body = b"" if answer.status_code == 200 else answer.read()
                    following.begin(answer.status_code, answer.headers, body)
                    for some in answer.iter_bytes() if answer.status_code == 200 else ():
                        yield from following.feed(some)
            except httpx.TransportError as exc:
                broken = self.failed(request, exc)
            except ClientError as exc:
                broken = exc
            if following.is_over:
                return
            pause = following.broke(broken or following.ended())
            if when_broken is not None:
                when_broken(broken or following.ended())
            time.sleep(pause)
