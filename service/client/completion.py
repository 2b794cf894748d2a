"""
For endpoints written in Python that answer 202 and finish their task later: what they say at the completion URL.

Nothing here knows of a task but its URL, and no key is sent: the URL is the key. What could not be delivered is sent
again, since every call may be repeated.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from service.client.asynchronous import AsyncTaskpost
from service.client.blocking import Taskpost
from service.client.calls import Answer, Request, Steps
from service.client.errors import StateConflict
from service.client.submission import encode
from service.completion import PATH

LATER = {"Taskpost-Async": "1"}
JSON = {"content-type": "application/json"}


def later(heartbeat_seconds: float | None = None) -> dict[str, str]:
    """The headers with which an endpoint answers 202 to finish later; it will be heard from so often (60 s)."""
    return LATER if heartbeat_seconds is None else {**LATER, "Taskpost-Heartbeat": f"{heartbeat_seconds:g}"}


def split(url: str) -> tuple[str, str]:
    """(where the API is, the path) of a completion URL. Raises ValueError."""
    beginning, found, token = url.rpartition(PATH)
    if not found or not token or not urlsplit(beginning).hostname:
        raise ValueError(f"{url!r} is not a completion URL; it comes as the header Taskpost-Completion-Url")
    return beginning, PATH + token


class Saying:
    """What is said, as steps for a client."""

    def __init__(self, path: str) -> None:
        self.path = path

    def say(self, taskpost: Taskpost | AsyncTaskpost, action: str, told: Mapping[str, Any]) -> Steps[bool]:
        """Whether the task is to be cancelled; True as well when the attempt is over, and goes on nowhere."""
        body = encode({name: value for name, value in told.items() if value is not None})
        request = Request("POST", f"{self.path}/{action}", body, JSON)
        return answered(taskpost._calls.ask(request), is_last=action in ("complete", "fail", "defer"))


def answered(asking: Steps[Answer], *, is_last: bool) -> Generator[Any, Any, bool]:
    try:
        answer = yield from asking
    except StateConflict:
        if is_last:  # what was to be reported is lost, and the endpoint should know
            raise
        return True
    return b"true" in answer.body


class Completion:
    """
    One attempt in an endpoint's hands. Each method may raise `ConnectFailed`, `NoAnswer` or an `ApiError`; one that
    ends the attempt raises `StateConflict` when that was over before.

        completion = Completion(request.headers["Taskpost-Completion-Url"])
        while work_is_left():
            if completion.heartbeat():
                return completion.fail("stopped, as asked")
        completion.complete({"pages": 12})
    """

    def __init__(self, url: str, *, retries: int = 5, transport: httpx.BaseTransport | None = None) -> None:
        beginning, path = split(url)
        self._saying = Saying(path)
        self._taskpost = Taskpost(beginning, "", retries=retries, transport=transport)

    def __enter__(self) -> Completion:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._taskpost.close()

    def _say(self, action: str, **told: Any) -> bool:
        return self._taskpost._run(self._saying.say(self._taskpost, action, told))

    def complete(self, result: Any = None) -> None:
        """The task succeeded."""
        self._say("complete", result=result)

    def fail(
        self, message: str, *, kind: str = "Failed", traceback: str | None = None, retry: bool = True,
        after_seconds: float | None = None,
    ) -> None:  # fmt: skip
        """The attempt failed, *kind* says how; another follows while retries are left, unless *retry* is False."""
        self._say("fail", type=kind, message=message, traceback=traceback, retry=retry, after_seconds=after_seconds)

    def defer(self, after_seconds: float, reason: str | None = None) -> None:
        """Call again after so many seconds; counts nothing."""
        self._say("defer", after_seconds=after_seconds, reason=reason)

    def heartbeat(self) -> bool:
        """Still at it. True: stop, the task is to be cancelled, or the attempt is over."""
        return self._say("heartbeat")

    def progress(self, current: float, total: float | None = None, message: str | None = None) -> bool:
        """How far it is; a heartbeat too. True: stop."""
        return self._say("progress", current=current, total=total, message=message)

    def log(self, message: str, level: str = "info") -> bool:
        """A line of the attempt's log; a heartbeat too. True: stop."""
        return self._say("log", lines=[{"level": level, "message": message}])


class AsyncCompletion:
    """`Completion` for asyncio."""

    def __init__(self, url: str, *, retries: int = 5, transport: httpx.AsyncBaseTransport | None = None) -> None:
        beginning, path = split(url)
        self._saying = Saying(path)
        self._taskpost = AsyncTaskpost(beginning, "", retries=retries, transport=transport)

    async def __aenter__(self) -> AsyncCompletion:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._taskpost.close()

    async def _say(self, action: str, **told: Any) -> bool:
        return await self._taskpost._run(self._saying.say(self._taskpost, action, told))

    async def complete(self, result: Any = None) -> None:
        """As `Completion.complete`."""
        await self._say("complete", result=result)

    async def fail(
        self, message: str, *, kind: str = "Failed", traceback: str | None = None, retry: bool = True,
        after_seconds: float | None = None,
    ) -> None:  # fmt: skip
        """As `Completion.fail`."""
        told = {"type": kind, "message": message, "traceback": traceback, "retry": retry}
        await self._say("fail", **told, after_seconds=after_seconds)

    async def defer(self, after_seconds: float, reason: str | None = None) -> None:
        """As `Completion.defer`."""
        await self._say("defer", after_seconds=after_seconds, reason=reason)

    async def heartbeat(self) -> bool:
        """As `Completion.heartbeat`."""
        return await self._say("heartbeat")

    async def progress(self, current: float, total: float | None = None, message: str | None = None) -> bool:
        """As `Completion.progress`."""
        return await self._say("progress", current=current, total=total, message=message)

    async def log(self, message: str, level: str = "info") -> bool:
        """As `Completion.log`."""
        return await self._say("log", lines=[{"level": level, "message": message}])
