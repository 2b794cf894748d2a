"""
What the client says and what it makes of the answers, without a network: the sync and the async client drive this.

Each operation is a generator: it yields a `Request` and is sent its `Answer` (or thrown `ConnectFailed`, `NoAnswer`),
yields a `Pause` and is sent nothing, and returns what the caller gets. Nothing here opens a connection or sleeps.

The fact to know: only what may be repeated is repeated. Reading, cancelling and deleting always may; a submission
because it carries an idempotency key, made up here when it has none, so that a retry after a lost reply finds
the first task and never makes a second.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import orjson

from service import __version__
from service.client.endpoints import Endpoint
from service.client.errors import (
    ApiError,
    ClientError,
    ConnectFailed,
    NoAnswer,
    NotFinished,
    NotFound,
    Unavailable,
    WaitTimedOut,
    read_problem,
)  # fmt: skip
from service.client.submission import document, encode, plain
from service.client.types import Attempt, Explanation, Page, Seconds, Secret, Task, View, view
from service.client.workers import WorkerCommand, WorkerDetail
from service.endpoint import endpoint_of
from service.errors import InvalidSetting
from service.retry import delay_seconds

T = TypeVar("T")
V = TypeVar("V", bound=View)

MADE_UP_KEY = "client-"
JSON = {"content-type": "application/json"}
MOST_WAIT_SECONDS = 25.0  # the longest the API holds one answer
MOST_PAUSE_SECONDS = 30.0  # a Retry-After over this is the caller's to wait for
PAUSES = {"kind": "exponential", "base_seconds": 0.2, "cap_seconds": 5, "jitter": "equal"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request. *wait_seconds*: how much longer than usual the API may take to answer."""

    method: str
    path: str
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_seconds: float = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float


Steps = Generator[Request | Pause, Answer | None, T]


@dataclass(frozen=True, slots=True)
class Calls:
    """The operations of one API at *url*; *retries* are the repetitions of a request that got no good answer."""

    url: str
    api_key: str = field(repr=False)
    retries: int

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).hostname:
            raise InvalidSetting(f"TASKPOST_URL={self.url}: needs http:// or https:// and a host")
        if not (self.api_key.isascii() and self.api_key.isprintable()):
            raise InvalidSetting("TASKPOST_API_KEY: needs printable ASCII characters; is there a line break in it?")

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        key = {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
        return {"user-agent": f"taskpost/{__version__}", "accept": "application/json, */*"} | key

    # ------------------------------------------------------------ one request

    def ask(self, request: Request, *, is_repeatable: bool = True) -> Steps[Answer]:
        """The answer, a success. Raises ConnectFailed, NoAnswer or an ApiError when the retries are used up."""
        attempt = 1
        while True:
            try:
                answer = cast(Answer, (yield request))
                if answer.status < 300:
                    return answer
                raise self._problem(request, answer)
            except (ConnectFailed, NoAnswer, Unavailable) as exc:
                is_safe = is_repeatable or isinstance(exc, ConnectFailed)
                pause = delay_seconds(PAUSES, attempt, random.random)
                if isinstance(exc, Unavailable):
                    pause = max(pause, exc.retry_after or 0)
                if not is_safe or attempt > self.retries or pause > MOST_PAUSE_SECONDS:
                    raise
            except NotFound:
                # The first DELETE did it, and only its answer was lost.
                if request.method == "DELETE" and attempt > 1:
                    return Answer(204, {}, b"")
                raise
            yield Pause(pause)
            attempt += 1

    def _problem(self, request: Request, answer: Answer) -> ApiError:
        return read_problem(
            f"{request.method} {self.url.rstrip('/')}{request.path}",
            answer.status,
            answer.content_type,
            answer.body,
            answer.headers.get("retry-after"),
        )

    def read(self, kind: type[V], request: Request) -> Steps[V]:
        answer = yield from self.ask(request)
        return view(kind, parsed(answer))

    # ------------------------------------------------------------ one task

    def submit(self, submission: Mapping[str, Any], wait: float | None) -> Steps[Task]:
        """The stored task; ended, if it did so within *wait* seconds."""
        end = time.monotonic() + (wait or 0)
        body = self.with_key(submission)
        held = min(wait or 0, MOST_WAIT_SECONDS)
        headers = {"content-type": "application/json"} | ({"prefer": f"wait={held:.3f}"} if held else {})
        request = Request("POST", "/v1/tasks", encode(body), headers, held)
        answer = yield from self.ask(request, is_repeatable="idempotency_key" in body)
        task = view(Task, parsed(answer))
        if task.is_ended or not wait or (left := end - time.monotonic()) <= 0:
            return task
        return (yield from self.get(task.id, left))

    def with_key(self, submission: Mapping[str, Any]) -> dict[str, Any]:
        """The contract's submission, with an idempotency key unless nothing is ever repeated."""
        body = document(submission)
        if self.retries and "idempotency_key" not in body:
            body["idempotency_key"] = f"{MADE_UP_KEY}{uuid4().hex}"
        return body

    def get(self, id_: str, wait: float | None) -> Steps[Task]:
        """The task: as it stands, or as soon as it has ended, at the latest after *wait* seconds."""
        end = time.monotonic() + (wait or 0)
        while True:
            task = yield from self.read(Task, waiting(task_path(id_), end))
            if task.is_ended or time.monotonic() >= end:
                return task

    def wait(self, id_: str, timeout: float | None) -> Steps[Task]:
        """The ended task. Raises WaitTimedOut when it has not ended *timeout* seconds (None: for ever) from now."""
        while True:
            task = yield from self.get(id_, MOST_WAIT_SECONDS if timeout is None else timeout)
            if task.is_ended:
                return task
            if timeout is not None:
                raise WaitTimedOut(task, timeout)

    def result(self, id_: str, wait: float | None) -> Steps[Any]:
        """The result: what JSON says, a str for text, bytes for anything else."""
        end = time.monotonic() + (wait or 0)
        while True:
            try:
                answer = yield from self.ask(waiting(f"{task_path(id_)}/result", end))
                break
            except NotFinished:
                if time.monotonic() >= end:
                    raise
        kind = answer.content_type.partition(";")[0].strip()
        if kind == "application/json":
            return parsed(answer)
        return answer.body.decode() if kind == "text/plain" else answer.body

    def cancel(self, id_: str) -> Steps[Task]:
        return (yield from self.read(Task, Request("POST", f"{task_path(id_)}/cancel")))

    def explain(self, id_: str) -> Steps[Explanation]:
        return (yield from self.read(Explanation, Request("GET", f"{task_path(id_)}/explain")))

    def replay(self, id_: str, edits: Mapping[str, Any]) -> Steps[Task]:
        """Carries a key made up here, so that a repetition makes no second task."""
        headers = {"idempotency-key": f"{MADE_UP_KEY}{uuid4().hex}"}
        body = encode(given) if (given := document(edits)) else None
        path, json = f"{task_path(id_)}/replay", JSON if body else {}
        return (yield from self.read(Task, Request("POST", path, body, headers | json)))

    def run(self, id_: str) -> Steps[Task]:
        return (yield from self.read(Task, Request("POST", f"{task_path(id_)}/run")))

    def reschedule(self, id_: str, given: Mapping[str, Any]) -> Steps[Task]:
        body, headers = encode(document(given)), {"content-type": "application/json"}
        return (yield from self.read(Task, Request("POST", f"{task_path(id_)}/reschedule", body, headers)))

    def delete(self, id_: str) -> Steps[None]:
        yield from self.ask(Request("DELETE", task_path(id_)))

    def attempts(self, id_: str) -> Steps[list[Attempt]]:
        return (yield from self.everything(Attempt, f"{task_path(id_)}/attempts"))

    # ------------------------------------------------------------ workers

    def worker(self, id_: str) -> Steps[WorkerDetail]:
        return (yield from self.read(WorkerDetail, Request("GET", worker_path(id_))))

    def tell(self, id_: str, command: str, given: Mapping[str, Any]) -> Steps[WorkerCommand]:
        """May be repeated: told twice, a worker is as it was told."""
        asked = {name: value for name, value in given.items() if value is not None}
        path, json = f"{worker_path(id_)}/{command}", {"content-type": "application/json"}
        request = Request("POST", path, encode(asked), json) if asked or command == "resize" else Request("POST", path)
        return (yield from self.read(WorkerCommand, request))

    # ------------------------------------------------------------ what proves who calls

    def secrets(self, reveal: bool) -> Steps[list[Secret]]:
        page = yield from self.page("/v1/secrets", {"reveal": "true" if reveal else None})
        return [view(Secret, one) for one in page.items]

    def rotate_secrets(self, overlap_seconds: Seconds | None) -> Steps[list[Secret]]:
        """Sent once: a repetition would rotate again."""
        asked = {} if overlap_seconds is None else {"overlap_seconds": plain("overlap_seconds", overlap_seconds)}
        request = Request("POST", "/v1/secrets/rotate", encode(asked), {"content-type": "application/json"})
        answer = yield from self.ask(request, is_repeatable=False)
        return [view(Secret, one) for one in view(Page, parsed(answer)).items]

    def credentials(self, endpoint: str) -> Steps[dict[str, Any]]:
        answer = yield from self.ask(Request("GET", auth_path(endpoint)))
        return cast(dict[str, Any], parsed(answer))

    def set_credentials(self, endpoint: str, auth: Mapping[str, Any]) -> Steps[dict[str, Any]]:
        """Repeated when need be: the same credentials replace themselves."""
        request = Request("PUT", auth_path(endpoint), encode(dict(auth)), {"content-type": "application/json"})
        return cast(dict[str, Any], parsed((yield from self.ask(request))))

    def remove_credentials(self, endpoint: str) -> Steps[None]:
        yield from self.ask(Request("DELETE", auth_path(endpoint)))

    # ------------------------------------------------------------ endpoints

    def endpoint(self, endpoint: str) -> Steps[Endpoint]:
        return (yield from self.read(Endpoint, Request("GET", endpoint_path(endpoint))))

    def change_endpoint(self, endpoint: str, change: Mapping[str, Any]) -> Steps[Endpoint]:
        """Repeated when need be: the same settings replace themselves."""
        request = Request("PATCH", endpoint_path(endpoint), encode(dict(change)), {"content-type": "application/json"})
        return (yield from self.read(Endpoint, request))

    def tell_endpoint(self, endpoint: str, what: str, given: Mapping[str, Any]) -> Steps[Endpoint]:
        """`enable` or `disable`; told twice, it is as it was told."""
        path, json = f"{endpoint_path(endpoint)}/{what}", {"content-type": "application/json"}
        return (yield from self.read(Endpoint, Request("POST", path, encode(without_none(given)), json)))

    def try_endpoint(self, endpoint: str, given: Mapping[str, Any]) -> Steps[Task]:
        """Sent once: a repetition would call again."""
        path, json = f"{endpoint_path(endpoint)}/test", {"content-type": "application/json"}
        request = Request("POST", path, encode(without_none(given)), json)
        return view(Task, parsed((yield from self.ask(request, is_repeatable=False))))

    # ------------------------------------------------------------ lists

    def page(self, path: str, query: Mapping[str, Any]) -> Steps[Page]:
        """One page of the list at *path*; what is None in *query* is not asked for."""
        asked = urlencode({key: value for key, value in query.items() if value is not None}, quote_via=quote)
        return (yield from self.read(Page, Request("GET", f"{path}?{asked}" if asked else path)))

    def everything(self, kind: type[V], path: str) -> Steps[list[V]]:
        """A list that the API answers whole; further pages are read if it ever has some."""
        found: list[V] = []
        cursor: str | None = None
        while True:
            page = yield from self.page(path, {"cursor": cursor})
            found += [view(kind, one) for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return found


# ---------------------------------------------------------------- parts of requests and answers


def task_path(id_: str) -> str:
    if not id_:
        raise ValueError("the id of a task is needed, not an empty text")
    return f"/v1/tasks/{quote(id_, safe='')}"


def worker_path(id_: str) -> str:
    if not id_:
        raise ValueError("the id of a worker is needed, not an empty text")
    return f"/v1/workers/{quote(id_, safe='')}"


def without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: one for name, one in given.items() if one is not None}


def endpoint_path(endpoint: str) -> str:
    """The path of *endpoint*, given by its name or as a URL that is called."""
    name = endpoint_of(endpoint) if "://" in endpoint else endpoint
    return f"/v1/endpoints/{quote(name, safe=':')}"


def auth_path(endpoint: str) -> str:
    """The path of the credentials of *endpoint*."""
    return f"{endpoint_path(endpoint)}/auth"


def waiting(path: str, end: float) -> Request:
    """A GET that the API may hold until *end* on the monotonic clock, as long as it ever holds one."""
    held = round(min(end - time.monotonic(), MOST_WAIT_SECONDS), 3)
    return Request("GET", f"{path}?wait={held:g}", wait_seconds=held) if held > 0 else Request("GET", path)


def parsed(answer: Answer, text: bytes | None = None) -> Any:
    """The JSON of an answer, or of one line of it."""
    try:
        return orjson.loads(answer.body if text is None else text)
    except orjson.JSONDecodeError as exc:
        raise ClientError(
            f"the API answered {answer.status} with something that is not JSON ({answer.content_type or 'no type'}); "
            "is TASKPOST_URL right?"
        ) from exc
