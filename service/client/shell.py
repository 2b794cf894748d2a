"""
What the two clients share: their settings, and httpx' way of saying things translated.

Owns no connection. The fact to know: errors of httpx end here; what callers see is the tree in `errors`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import httpx

from service.client.bulk import BulkCalls
from service.client.calls import Calls, Request
from service.client.errors import ConnectFailed, NoAnswer
from service.client.flows import FlowCalls
from service.client.keys import KeyCalls
from service.client.live import SILENCE_SECONDS, LiveCalls
from service.client.queues import QueueCalls
from service.client.schedule_calls import ScheduleCalls
from service.client.statistics import StatisticsCalls
from service.client.types import Task
from service.settings import ClientSettings

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Shell:
    """What both clients share: settings, and reading what httpx says."""

    def __init__(self, url: str | None, api_key: str | None, timeout_seconds: float, retries: int) -> None:
        settings = ClientSettings.from_env(url=url, api_key=api_key)
        self._calls = Calls(settings.url, settings.api_key, retries)
        self._bulks = BulkCalls(self._calls)
        self._keys = KeyCalls(self._calls)
        self._schedules = ScheduleCalls(self._calls)
        self._queues = QueueCalls(self._calls)
        self._flows = FlowCalls(self._calls)
        self._statistics = StatisticsCalls(self._calls)
        self._live = LiveCalls(self._calls)
        self._timeout_seconds = timeout_seconds

    @property
    def url(self) -> str:
        """Where the API is."""
        return self._calls.url

    def options(self) -> dict[str, Any]:
        """How to make the httpx client. A proxy of the environment is no way to this machine itself."""
        is_local = urlsplit(self.url).hostname in LOOPBACK
        return {"base_url": self.url, "headers": self._calls.headers, "trust_env": not is_local}

    def sent(self, request: Request) -> dict[str, Any]:
        """The arguments of `httpx.Client.request`."""
        timeout = httpx.Timeout(self._timeout_seconds, read=self._timeout_seconds + request.wait_seconds)
        return {
            "method": request.method,
            "url": request.path,
            "content": request.content,
            "headers": dict(request.headers),
            "timeout": timeout,
        }

    def streamed(self, request: Request) -> dict[str, Any]:
        """The arguments of `httpx.Client.stream`, for an answer without end that is never silent for long."""
        timeout = httpx.Timeout(self._timeout_seconds, read=SILENCE_SECONDS)
        return {**self.sent(request), "timeout": timeout}

    def failed(self, request: Request, exc: httpx.TransportError) -> ConnectFailed | NoAnswer:
        reason = str(exc) or type(exc).__name__
        if isinstance(exc, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.UnsupportedProtocol):
            return ConnectFailed(self.url, reason)
        kept = "" if request.method == "GET" else "; it may have been carried out"
        return NoAnswer(f"{request.method} {self.url.rstrip('/')}{request.path} got no whole answer ({reason}){kept}")


def id_of(task: str | Task) -> str:
    """The id of a task, given as such or as the task."""
    return task if isinstance(task, str) else task.id
