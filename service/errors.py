"""
Every error Taskpost raises on purpose.

    TaskpostError
    ├── InvalidSetting            a setting that cannot be used; the process does not start
    ├── InvalidHandler            a @task declaration that cannot work; the worker does not start
    ├── InvalidArguments          arguments that do not fit a handler's signature
    ├── InvalidSecret             a key for signatures that cannot be read
    ├── InvalidSignature          a request that was not signed as it says, or is too old
    ├── EgressDenied              a URL, a host or an address that the egress guard does not let anybody call
    └── Problem                   what the API answers, RFC 9457; one stable type each
        ├── BadRequest
        │   ├── MalformedJson          400 malformed-json
        │   └── InvalidRequest         400 invalid-request
        ├── Unauthorized               401 unauthorized
        ├── Forbidden                  403 forbidden
        ├── NotFound                   404 not-found
        │   ├── TaskNotFound           404 task-not-found
        │   ├── ScheduleNotFound       404 schedule-not-found
        │   ├── BackfillNotFound       404 backfill-not-found
        │   ├── BulkNotFound           404 bulk-not-found
        │   ├── KeyNotFound            404 key-not-found
        │   └── WorkerNotFound         404 worker-not-found
        ├── MethodNotAllowed           405 method-not-allowed
        ├── RequestTimeout             408 request-timeout
        ├── Conflict
        │   ├── StateConflict          409 state-conflict
        │   ├── UniqueConflict         409 unique-conflict
        │   ├── IdempotencyInFlight    409 idempotency-in-flight
        │   ├── TooManyBackfills       409 too-many-backfills
        │   ├── TooManyBulks           409 too-many-bulks
        │   ├── TooManyKeys            409 too-many-keys
        │   ├── WorkerStopping         409 worker-stopping
        │   ├── LeaseLost              409 lease-lost
        │   ├── AlreadyExists          409 already-exists
        │   ├── QueueNotEmpty          409 queue-not-empty
        │   ├── QueueDraining          409 queue-draining
        │   ├── NotFinished            409 not-finished
        │   └── TaskFailed             409 task-failed
        ├── ResultGone                 410 result-gone
        ├── PreconditionFailed         412 precondition-failed
        ├── TooLarge                   413 too-large
        ├── TargetTooLong              414 target-too-long
        ├── UnsupportedMediaType       415 unsupported-media-type
        ├── Invalid
        │   ├── InvalidSubmission      422 invalid-submission
        │   ├── UnknownHandler         422 unknown-handler
        │   ├── UnknownQueue           422 unknown-queue
        │   ├── InvalidTaskArguments   422 invalid-arguments
        │   ├── InvalidQuery           422 invalid-query
        │   └── IdempotencyMismatch    422 idempotency-mismatch
        ├── QueueFull                  429 queue-full
        ├── TooManyRequests            429 too-many-requests
        ├── HeadersTooLarge            431 headers-too-large
        ├── InternalError              500 internal-error
        ├── DurabilityMissing          501 durability-missing
        └── Unavailable                (retry later; Retry-After says when)
            ├── StoreUnavailable       503 store-unavailable
            ├── StoreFull              503 store-full
            ├── NotDurable             503 not-durable
            ├── Overloaded             503 overloaded
            └── PayloadUnreadable      503 payload-unreadable
"""

from __future__ import annotations

from typing import Any, ClassVar


class TaskpostError(Exception):
    """The root: catch this to catch everything Taskpost raises on purpose."""


class InvalidSetting(TaskpostError):
    """Says which setting, what was given, what is needed."""


class InvalidHandler(TaskpostError):
    """Says which handler declaration, what was given, what is needed."""


class InvalidArguments(TaskpostError, ValueError):
    """Arguments refused by a handler's signature; *errors* holds one `{pointer, detail}` a fault."""

    def __init__(self, detail: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(detail)
        self.errors = errors or []


class InvalidSecret(TaskpostError):
    """Says what a key for signatures needs to look like, and never what it is."""


class InvalidSignature(TaskpostError):
    """A request whose signature does not hold; the text says why, and what to look at."""


class EgressDenied(TaskpostError):
    """The guard's refusal: *reason* is the stable name of the rule, the text says which host, address and setting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Problem(TaskpostError):
    """
    An answer of the API that is not success, as RFC 9457 describes it.

    *errors* names every fault, each `{"pointer" | "parameter" | "header": where, "detail": what and what to do}`.
    *headers* go out with the answer; *extensions* are further members of the problem's JSON.
    """

    type: ClassVar[str] = "internal-error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong on our side"

    def __init__(
        self,
        detail: str,
        *,
        errors: list[dict[str, Any]] | None = None,
        headers: dict[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        self.detail, self.errors, self.headers, self.extensions = detail, errors or [], headers or {}, extensions

    def document(self) -> dict[str, Any]:
        """The problem as its JSON object."""
        type_ = f"/problems/{self.type}"
        shown: dict[str, Any] = {"type": type_, "title": self.title, "status": self.status, "detail": self.detail}
        if self.errors:
            shown["errors"] = self.errors
        shown.update(self.extensions)
        return shown


class BadRequest(Problem):
    status = 400


class MalformedJson(BadRequest):
    type, title = "malformed-json", "The body is not valid JSON"


class InvalidRequest(BadRequest):
    type, title = "invalid-request", "The request cannot be understood"


class Unauthorized(Problem):
    type, status, title = "unauthorized", 401, "A valid API key is needed"


class Forbidden(Problem):
    type, status, title = "forbidden", 403, "This is not allowed"


class NotFound(Problem):
    type, status, title = "not-found", 404, "There is nothing here"


class TaskNotFound(NotFound):
    type, title = "task-not-found", "No such task"


class ScheduleNotFound(NotFound):
    type, title = "schedule-not-found", "No such schedule"


class BackfillNotFound(NotFound):
    type, title = "backfill-not-found", "No such backfill"


class BulkNotFound(NotFound):
    type, title = "bulk-not-found", "No such work on many tasks"


class KeyNotFound(NotFound):
    type, title = "key-not-found", "No such API key"


class WorkerNotFound(NotFound):
    type, title = "worker-not-found", "No such worker"


class MethodNotAllowed(Problem):
    type, status, title = "method-not-allowed", 405, "This method is not offered here"


class RequestTimeout(Problem):
    type, status, title = "request-timeout", 408, "The request did not arrive in time"


class Conflict(Problem):
    status = 409


class StateConflict(Conflict):
    type, title = "state-conflict", "The task's state does not allow this"


class UniqueConflict(Conflict):
    type, title = "unique-conflict", "Another task has this unique key"


class IdempotencyInFlight(Conflict):
    type, title = "idempotency-in-flight", "A submission with this idempotency key is under way"


class AlreadyExists(Conflict):
    type, title = "already-exists", "There is one of this name"


class TooManyBackfills(Conflict):
    type, title = "too-many-backfills", "Too many backfills are under way"


class TooManyBulks(Conflict):
    type, title = "too-many-bulks", "Too much work on many tasks is under way"


class TooManyKeys(Conflict):
    type, title = "too-many-keys", "There are too many API keys"


class WorkerStopping(Conflict):
    type, title = "worker-stopping", "The worker is stopping"


class LeaseLost(Conflict):
    type, title = "lease-lost", "This attempt is over"


class QueueNotEmpty(Conflict):
    type, title = "queue-not-empty", "There are tasks in the queue"


class QueueDraining(Conflict):
    type, title = "queue-draining", "The queue takes no tasks"


class NotFinished(Conflict):
    type, title = "not-finished", "The task has not finished"


class TaskFailed(Conflict):
    type, title = "task-failed", "The task ended without a result"


class ResultGone(Problem):
    type, status, title = "result-gone", 410, "The result was not kept"


class PreconditionFailed(Problem):
    type, status, title = "precondition-failed", 412, "It is of another version"


class TooLarge(Problem):
    type, status, title = "too-large", 413, "The body is too large"


class TargetTooLong(Problem):
    type, status, title = "target-too-long", 414, "The path and query of the request are too long"


class UnsupportedMediaType(Problem):
    type, status, title = "unsupported-media-type", 415, "This media type is not understood here"


class Invalid(Problem):
    status = 422


class InvalidSubmission(Invalid):
    type, title = "invalid-submission", "The submission has faults"


class UnknownHandler(Invalid):
    type, title = "unknown-handler", "No worker has a handler of this name"


class UnknownQueue(Invalid):
    type, title = "unknown-queue", "No queue of this name is declared"


class InvalidTaskArguments(Invalid):
    type, title = "invalid-arguments", "The arguments do not fit the handler"


class InvalidQuery(Invalid):
    type, title = "invalid-query", "The query has faults"


class IdempotencyMismatch(Invalid):
    type, title = "idempotency-mismatch", "This idempotency key was used with another submission"


class QueueFull(Problem):
    type, status, title = "queue-full", 429, "The queue is full"


class TooManyRequests(Problem):
    type, status, title = "too-many-requests", 429, "The key has used up its rate"


class HeadersTooLarge(Problem):
    type, status, title = "headers-too-large", 431, "The request's headers are too large"


class InternalError(Problem):
    type, status, title = "internal-error", 500, "Something went wrong on our side"


class DurabilityMissing(Problem):
    type, status, title = "durability-missing", 501, "Redis cannot wait for that"


class Unavailable(Problem):
    status = 503


class StoreUnavailable(Unavailable):
    type, title = "store-unavailable", "The store does not answer"


class StoreFull(Unavailable):
    type, title = "store-full", "The store is full"


class NotDurable(Unavailable):
    type, title = "not-durable", "It is not known to be kept for good"


class Overloaded(Unavailable):
    type, title = "overloaded", "There is too much at once"


class PayloadUnreadable(Unavailable):
    """
    What is sealed does not open: *is_missing* when this process lacks the key, which another may have; otherwise
    somebody changed or moved it.
    """

    type, title = "payload-unreadable", "What is stored cannot be decrypted here"

    def __init__(self, detail: str, *, is_missing: bool) -> None:
        super().__init__(detail, headers={"Retry-After": "30"})
        self.is_missing = is_missing
