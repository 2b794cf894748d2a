"""
`POST /v1/tasks` and `POST /v1/tasks/batch`, as raw ASGI: the two paths on which speed counts.

Owns the order of checks over HTTP: key, size of the headers, media type, size of the body, JSON. What is in the
JSON is the intake's business.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from service.api import bodies
from service.api.auth import Gate, scope_of
from service.api.callers import Caller
from service.api.intakes import Intakes
from service.api.problems import RawHeaders, send_body, send_problem, unexpected
from service.api.protocol import ANSWER
from service.api.queries import check_query
from service.api.receipts import Receipt
from service.api.runtime import Runtime
from service.api.waits import preferred_wait, until_ended
from service.contract import validator_of
from service.errors import InvalidRequest, InvalidSubmission, Problem

JSON = (b"content-type", b"application/json")
CREATED = b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\nlocation: /v1/tasks/%b\r\ncontent-length: %d\r\n"
NONE: dict[str, Any] = {}


class Submit:
    """The two endpoints."""

    def __init__(self, intakes: Intakes, gate: Gate) -> None:
        self.intakes, self.gate = intakes, gate
        self.settings = intakes.runtime.settings
        self.scope = scope_of("/v1/tasks", "POST")

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/tasks`"""
        try:
            headers = dict(scope["headers"])
            caller = await self.gate.admit(scope["headers"], headers, self.scope)
            send = self.gate.rates.announced(caller, scope, send)
            bodies.check_media_type(headers)
            body = await bodies.read_body(receive, headers, self.settings.max_body_bytes, "body")
            if scope["query_string"]:
                check_query(scope, "/v1/tasks", "POST")
            submission = bodies.parse(body, self.settings.max_depth)
            await self.take(caller, scope, receive, send, headers, submission)
        except Problem as problem:
            await send_problem(send, problem, scope)
        except ClientDisconnect:
            pass
        except Exception as exc:
            await send_problem(send, unexpected(exc, scope), scope)

    async def take(
        self, caller: Caller, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes], submission: Any
    ) -> None:
        """Submit *submission* of *caller* with what the request's *headers* add to it, and answer."""
        intake = self.intakes[caller.namespace]
        if b"idempotency-key" in headers:
            merge_key(submission, scope["headers"])
        if b"traceparent" in headers:
            merge_trace(submission, headers[b"traceparent"])
        intake.runtime.require_store()
        receipt = await intake.submit_one(await intake.prepare_one(submission))
        if b"prefer" in headers and (seconds := preferred_wait(all_of(scope["headers"], b"prefer"))):
            await self.answer_later(intake.runtime, send, receive, receipt, seconds)
        else:
            await self.answer(scope, send, receipt, orjson.dumps(receipt.task))

    async def answer(self, scope: Scope, send: Send, receipt: Receipt, body: bytes) -> None:
        """Answer at once; in one write where the server can."""
        answer = scope.get("extensions", NONE).get(ANSWER) if receipt.status == 201 else None
        if answer is not None and answer(CREATED % (receipt.task["id"].encode(), len(body)), body):
            return
        await send_body(send, receipt.status, answer_headers(receipt), body)

    async def answer_later(
        self, runtime: Runtime, send: Send, receive: Receive, receipt: Receipt, seconds: int
    ) -> None:
        """Answer when the task has ended, or has not within *seconds*."""
        headers = answer_headers(receipt)
        headers.append((b"preference-applied", b"wait=%d" % seconds))
        ended = receipt.has_ended
        if not ended:
            try:
                snapshot = await until_ended(runtime, receipt.id, seconds, receive)
            except Problem:
                snapshot = None  # it is stored, and that is what the user must know
            if snapshot is not None:
                receipt.task, ended = runtime.show(snapshot), snapshot.record.has_ended
        await send_body(send, 200 if ended else 202, headers, orjson.dumps(receipt.task))

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/tasks/batch`"""
        try:
            headers = dict(scope["headers"])
            caller = await self.gate.admit(scope["headers"], headers, self.scope)
            send = self.gate.rates.announced(caller, scope, send)
            bodies.check_media_type(headers)
            body = await bodies.read_body(receive, headers, self.settings.max_batch_bytes, "batch")
            if scope["query_string"]:
                check_query(scope, "/v1/tasks/batch", "POST")
            submissions = self.parse_batch(body)
            self.gate.rates.count(caller, len(submissions) - 1)
            intake = self.intakes[caller.namespace]
            intake.runtime.require_store()
            receipts = await intake.submit_all(await intake.prepare_all(submissions))
            shown = [shown_receipt(index, one) for index, one in enumerate(receipts)]
            await send_body(send, 200, [JSON], orjson.dumps(shown))
        except Problem as problem:
            await send_problem(send, problem, scope)
        except ClientDisconnect:
            pass
        except Exception as exc:
            await send_problem(send, unexpected(exc, scope), scope)

    def parse_batch(self, body: bytes) -> list[Any]:
        """
        The submissions of a batch, a Problem in the place of one that cannot be kept as it was given.

        Raises:
            MalformedJson, InvalidRequest: nothing in it can be read.
            InvalidSubmission: no array, or of too many.
        """
        levels = self.settings.max_depth
        is_deep = body.count(b"[") + body.count(b"{") > levels and bodies.depth(body, levels + 1) > levels + 1
        if is_deep and bodies.depth(body, 1000) > 1000:
            raise bodies.too_deep(levels)
        submissions = bodies.decode(body)
        if not isinstance(submissions, list):
            raise InvalidSubmission("a batch needs to be an array of submissions; one task goes to /v1/tasks")
        if len(submissions) > self.settings.max_batch_tasks:
            raise InvalidSubmission(
                f"the batch has {len(submissions)} submissions; at most {self.settings.max_batch_tasks} are taken: "
                "send several batches, or a stream"
            )
        if is_deep:
            submissions = [bodies.too_deep(levels) if bodies.levels_of(one) > levels else one for one in submissions]
        elif bodies.NINETEEN_DIGITS in body.translate(bodies.DIGITS_TO_ZERO):
            for pointer in bodies.oversized(body):
                _, index, *rest = pointer.split("/")
                submissions[int(index)] = bodies.oversized_at("".join(f"/{step}" for step in rest))
        return submissions


def answer_headers(receipt: Receipt) -> RawHeaders:
    headers = [JSON, (b"location", b"/v1/tasks/" + receipt.task["id"].encode())]
    if receipt.is_duplicate:
        headers.append((b"taskpost-deduplicated", b"true"))
    elif receipt.status == 200:
        headers.append((b"idempotent-replayed", b"true"))
    return headers


def shown_receipt(index: int, receipt: Receipt | Problem) -> dict[str, Any]:
    """The contract's `Receipt`."""
    if isinstance(receipt, Problem):
        return {"index": index, "status": receipt.status, "problem": receipt.document()}
    return {"index": index, "status": receipt.status, "task": receipt.task}


def all_of(raw: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    """All values of a header that may come several times."""
    return b",".join(value for one, value in raw if one == name)


def merge_key(submission: Any, raw: list[tuple[bytes, bytes]]) -> None:
    """
    Put the Idempotency-Key header, bare or quoted, into *submission*.

    Raises:
        InvalidRequest: not a key, or another than in the body.
    """
    given = {value.decode("latin-1").strip() for name, value in raw if name == b"idempotency-key"}
    keys = {key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key for key in given}
    key = keys.pop()
    if keys or not is_key(key):
        detail = "needs 1 to 255 ASCII characters without spaces, quotes and backslashes, once"
        raise InvalidRequest(
            f"the Idempotency-Key header {detail}", errors=[{"header": "Idempotency-Key", "detail": detail}]
        )
    if isinstance(submission, dict) and submission.setdefault("idempotency_key", key) != key:
        raise InvalidRequest(
            "the Idempotency-Key header and idempotency_key in the body differ; send one of them",
            errors=[{"header": "Idempotency-Key", "detail": "differs from idempotency_key in the body"}],
        )


def merge_trace(submission: Any, given: bytes) -> None:
    """Put the traceparent header into *submission*, unless it says its own; one that is malformed is ignored (W3C)."""
    trace = {"traceparent": given.decode("latin-1")}
    if isinstance(submission, dict) and "traceparent" not in submission and validator_of("Submission").is_valid(trace):
        submission |= trace


def is_key(key: str) -> bool:
    """Whether the contract's schema of `idempotency_key` takes *key*."""
    return validator_of("Submission").is_valid({"idempotency_key": key})
