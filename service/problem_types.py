"""
What there is to say about each type of problem, read from the contract: its meaning, who answers it, an example.

Owns what to do about each status. The fact to know: the table of types in the contract is the only list of meanings,
and a test holds it to the error tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from service.contract import contract, operations, resolve
from service.errors import Problem

ROW = re.compile(r"^\| `/problems/([a-z-]+)` \| (\d+) \| (.+) \|$", re.MULTILINE)
MEDIA_TYPE = "application/problem+json"
REMEDIES: dict[int | str, str] = {  # by status, or by type where that has one of its own
    400: "Mend the request: `detail` says what could not be read, and where. Sent again as it is, it is refused again.",
    401: "Send the key as `Authorization: Bearer <key>`.",
    403: "Ask with a key that may do it.",
    404: "Look at the path and at the id or name in it. What has ended is kept for a time, and then gone.",
    405: "Use one of the methods that the answer's `Allow` names.",
    408: "Send it again, all at once. How long it may take is a setting of the service.",
    409: "Look at how things stand now, then decide: as long as that does not change, the request is refused again.",
    410: "It cannot be had any more. Keep results longer with `result_ttl_seconds`.",
    412: "Read it again, apply the change to what it is now, and send that with its new `ETag`.",
    413: "Send less at once, in several requests for example. The bound is a setting of the service.",
    414: "Say less in the path and the query; bodies have more room. The bound is a setting of the service.",
    415: "Say in `Content-Type` what the body is, and send one of the types that the operation takes.",
    422: "Mend what `errors` lists, every fault at once: `pointer`, `parameter` or `header` says where, `detail` what.",
    428: "Say which version the change is of: send `If-Match` with the `ETag` that was read.",
    429: "Slow down, and send it again after `Retry-After` seconds.",
    431: "Send fewer or shorter header fields. The bound is a setting of the service.",
    500: "The request may be right. Tell whoever runs the service the number in `detail`; its log says more under it.",
    502: "What was called on your behalf did not answer as it should: `detail` says how. Try again when it does.",
    501: "Do without it, or ask whoever runs the service for a server that can do it.",
    "state-conflict": "Read the task: `state` says where it stands. `replay` does one that has ended once more.",
    "worker-stopping": "Tell another worker, or wait: this one ends by itself.",
    "lease-lost": "Stop working on it: the task has ended, or another attempt has it. What was reported last stands.",
    "too-many-backfills": "Wait until one of them has ended, or abort one.",
    "too-many-bulks": "Wait until one of them has ended, or cancel one.",
    "too-many-keys": "Revoke keys that nobody uses: `taskpost keys`.",
    "queue-draining": "Send it to another queue, or resume this one: `taskpost queues resume QUEUE`.",
    "not-finished": "Ask again after `Retry-After` seconds, or with `wait`.",
    "task-failed": "Read the task: `error` says why, its attempts how each went. `replay` does it once more.",
    "unknown-handler": "Start a worker that has the handler, or mend the name: `/v1/handlers` lists them. "
    "`TASKPOST_ACCEPT_UNKNOWN_HANDLERS=1` takes tasks in before there is one.",
    "unknown-queue": "Declare it by `PATCH /v1/queues/{queue}`, or name one that is.",
    "queue-full": "Send it again after `Retry-After` seconds. If it stays full: more workers, or more `max_length`.",
    "store-full": "Send it again after `Retry-After` seconds. If it stays full: `taskpost doctor` says what to raise.",
    "not-durable": "The task is there. Send the submission again with the same `Idempotency-Key` to wait for it once "
    "more. If it stays so, look at the disk or the replicas of Redis: `taskpost doctor`.",
    "payload-unreadable": "Give every process the keys in `TASKPOST_ENCRYPTION_KEYS` by which it was written.",
    "idempotency-mismatch": "Give each submission a key of its own, or send the very same submission again.",
    503: "Send it again after `Retry-After` seconds; with the same `Idempotency-Key` it takes effect once.",
}


@dataclass(frozen=True)
class ProblemType:
    """One type of problem. *operations* are `(method, path, tag)` of what the contract says may answer it."""

    slug: str
    title: str
    status: int
    meaning: str
    operations: tuple[tuple[str, str, str], ...]
    example: dict[str, Any] | None

    @property
    def remedy(self) -> str:
        return REMEDIES.get(self.slug) or REMEDIES.get(self.status, "`detail` says what is needed.")

    def document(self) -> dict[str, Any]:
        """The contract's `ProblemType`."""
        return {
            "type": f"/problems/{self.slug}",
            "title": self.title,
            "status": self.status,
            "meaning": self.meaning,
            "remedy": self.remedy,
            "operations": [f"{method} {path}" for method, path, _ in self.operations],
        }


@cache
def problem_types() -> dict[str, ProblemType]:
    """Every type by the last part of its URI, in the order of the contract."""
    titles, examples = titles_of(Problem), shown_examples()
    rows = ROW.findall(contract()["components"]["schemas"]["Problem"]["description"])
    return {
        slug: ProblemType(slug, titles[slug], int(status), meaning, answered_by(slug), examples.get(slug))
        for slug, status, meaning in rows
    }


def titles_of(kind: type[Problem]) -> dict[str, str]:
    """Titles of *kind* and all kinds below it, by type."""
    found = {kind.type: kind.title} if "type" in vars(kind) else {}
    for child in kind.__subclasses__():
        found |= titles_of(child)
    return found


def problems_in(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The problems that the contract shows for *answer*."""
    examples = resolve(answer).get("content", {}).get(MEDIA_TYPE, {}).get("examples", {})
    return [resolve(example)["value"] for example in examples.values()]


def slug_of(problem: dict[str, Any]) -> str:
    return str(problem["type"]).removeprefix("/problems/")


@cache
def shown_examples() -> dict[str, dict[str, Any]]:
    """The first problem of each type that the contract shows."""
    found: dict[str, dict[str, Any]] = {}
    for answer in contract()["components"]["responses"].values():
        for problem in problems_in(answer):
            found.setdefault(slug_of(problem), problem)
    return found


def answered_by(slug: str) -> tuple[tuple[str, str, str], ...]:
    """`(method, path, tag)` of the operations whose answers show a problem of that type."""
    return tuple(
        (method, path, operation["tags"][0])
        for path, method, operation in operations()
        if any(slug == slug_of(one) for answer in operation["responses"].values() for one in problems_in(answer))
    )
