"""
What goes wrong between a program and the API, as the client tells it.

    TaskpostError
    └── ClientError
        ├── ConnectFailed      nobody listens at the URL; nothing was sent
        ├── NoAnswer           the request went out and no whole answer came; it may have been carried out
        ├── WaitTimedOut       the task has not ended in the time given; it goes on
        └── ApiError           the API answered with a problem (RFC 9457)
            ├── Refused        400, 413, 415, 422, 431: the request has faults; nothing was stored
            ├── Unauthorized   401, 403: an API key is missing or may not do this
            ├── NotFound       404: no such task or schedule, or no longer
            ├── StateConflict  409: the task's state does not allow this, or there is a schedule of that name
            │   ├── NotFinished    its result was asked for too early
            │   └── TaskFailed     it ended without a result
            ├── ResultGone     410: it succeeded, and its result was not kept
            ├── VersionConflict  412: the schedule was changed since it was read
            └── Unavailable    429, 502, 503, 504: ask again after `retry_after` seconds

Refuses to show an API key. The fact to know: the text of each names every fault, one a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from service.errors import TaskpostError

if TYPE_CHECKING:
    from service.client.types import Task


class ClientError(TaskpostError):
    """The root: catch this to catch everything the client raises about a request."""


class ConnectFailed(ClientError):
    """Nobody answers at *url*; the request was not sent."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"nobody answers at {url} ({reason}). Start Taskpost there with `taskpost up`, "
            "or set TASKPOST_URL to where it runs"
        )
        self.url = url


class NoAnswer(ClientError):
    """The request went out, and no whole answer came back: nobody knows whether it was carried out."""


class WaitTimedOut(ClientError):
    """*task*, as last seen, has not ended in the time given. It goes on; wait again, or cancel it."""

    def __init__(self, task: Task, seconds: float) -> None:
        super().__init__(f"task {task.id} is {task.state} after {seconds:g} s of waiting; it goes on")
        self.task = task


class ApiError(ClientError):
    """
    The API answered with a problem.

    *type* is its stable slug (`invalid-arguments`), empty when something other than Taskpost answered.
    *errors* are the faults, `{"pointer" | "parameter" | "header": where, "detail": what, "hint": what was meant}`.
    *retry_after* is in seconds, None when the API did not say.
    """

    def __init__(self, problem: Mapping[str, Any], retry_after: float | None = None) -> None:
        self.problem = dict(problem)
        self.status = int(problem.get("status") or 0)
        self.type = str(problem.get("type") or "").removeprefix("/problems/")
        self.title = str(problem.get("title") or "")
        self.detail = str(problem.get("detail") or self.title or f"status {self.status}")
        self.errors: list[dict[str, Any]] = [one for one in problem.get("errors") or [] if isinstance(one, dict)]
        self.retry_after = retry_after
        # A single fault is often told in the detail already.
        is_told = len(self.errors) == 1 and str(self.errors[0].get("detail", "")) in self.detail
        faults = [] if is_told else [f"  {fault_line(one)}" for one in self.errors]
        super().__init__("\n".join([self.detail, *faults]))


class Refused(ApiError):
    """The request has faults, listed in `errors`; nothing was stored."""


class Unauthorized(ApiError):
    """An API key is missing or wrong, or may not do this."""

    def __str__(self) -> str:
        return f"{super().__str__()}. The client reads its key from TASKPOST_API_KEY"


class NotFound(ApiError):
    """There is no such thing, or no longer."""


class StateConflict(ApiError):
    """The task's state does not allow this."""


class NotFinished(StateConflict):
    """The task has no result yet."""


class TaskFailed(StateConflict):
    """The task ended without a result; `problem["error"]` says why, when it failed."""


class ResultGone(ApiError):
    """The task succeeded, and its result was not kept."""


class VersionConflict(ApiError):
    """The schedule or queue is of another version than was asked for; `problem["version"]` says which, if it exists."""


class Unavailable(ApiError):
    """The service cannot do this now; ask again after `retry_after` seconds."""


BY_TYPE: dict[str, type[ApiError]] = {
    "not-finished": NotFinished,
    "task-failed": TaskFailed,
    "idempotency-in-flight": Unavailable,  # asked again, it answers the task
}
BY_STATUS: dict[int, type[ApiError]] = (
    dict.fromkeys((400, 413, 415, 422, 431), Refused)
    | dict.fromkeys((401, 403), Unauthorized)
    | dict.fromkeys((429, 502, 503, 504), Unavailable)
    | {404: NotFound, 409: StateConflict, 410: ResultGone, 412: VersionConflict}
)


def api_error(problem: Mapping[str, Any], retry_after: float | None = None) -> ApiError:
    """The error of a problem's JSON, of the class that its type, else its status, stands for."""
    slug = str(problem.get("type") or "").removeprefix("/problems/")
    status = problem.get("status")
    kind = BY_TYPE.get(slug) or BY_STATUS.get(status if isinstance(status, int) else 0, ApiError)
    return kind(problem, retry_after)


def fault_line(fault: Mapping[str, Any]) -> str:
    """One fault as a line: where, what, and what was probably meant."""
    where = fault.get("pointer") or fault.get("parameter") or fault.get("header")
    detail, meant = str(fault.get("detail", "")), fault.get("hint")
    hint = f" (did you mean {meant}?)" if meant and "did you mean" not in detail else ""
    return f"{where}: {detail}{hint}" if where else f"{detail}{hint}"


def read_problem(request: str, status: int, content_type: str, body: bytes, retry_after: str | None) -> ApiError:
    """
    The error of an answer that is not success. *request* is `GET http://…`.

    An answer that is no problem document came from something else, a proxy or another server: the text says so.
    """
    after = float(retry_after) if retry_after and retry_after.isdigit() else None
    if content_type.startswith("application/problem+json"):
        try:
            problem = orjson.loads(body)
        except orjson.JSONDecodeError:
            problem = None
        if isinstance(problem, dict):
            return api_error({"status": status} | problem, after)
    detail = f"{request} was answered {status} by something other than Taskpost; is TASKPOST_URL right?"
    if said := " ".join(body[:2000].decode("utf-8", "replace").split())[:200]:
        detail += f" It said: {said}"
    return api_error({"type": "", "title": "Not an answer of Taskpost", "status": status, "detail": detail}, after)
