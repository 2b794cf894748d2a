"""
What endpoints say later of a task that they answered 202 for: everything under /v1/completions.

The token in the path is the authority, so no key is asked for. Whatever is said counts as a heartbeat too, and is
answered with whether the task is to be cancelled.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from service.api import bodies
from service.api.answers import json_answer
from service.api.given import body_of
from service.api.runtime import Asked
from service.attempts import NEXT, pack_line
from service.completion import read_token
from service.errors import LeaseLost, NotFound
from service.ids import shard_of
from service.outcome import Deferred, Failed, Outcome, Succeeded
from service.received import MAX_MESSAGE_CHARS, clip, is_json, result_of, told_error
from service.store.attempts import LogNote
from service.store.completions import ANSWERED, Completions
from service.store.records import PROGRESS
from service.task import rfc3339

CANCELLING, LOST = b"2", b"0"
FAILED = {"type": "Failed", "message": "the endpoint said that it failed", "traceback": None}


async def complete_attempt(asked: Asked) -> Response:
    """`POST /v1/completions/{token}/complete`"""
    id_, token = await attempt_of(asked)
    runtime = asked.runtime
    body = await bodies.read_body(asked.receive, asked.headers, runtime.settings.max_result_bytes, "result")
    content_type = asked.headers.get(b"content-type", b"").decode("latin-1")
    if body and is_json(content_type):
        result = orjson.dumps(told_result(bodies.parse(body, runtime.settings.max_depth)))
    else:
        result = result_of(body, content_type)
    if len(result) > runtime.settings.max_result_bytes:
        raise bodies.too_large(runtime.settings.max_result_bytes, "result")
    return await ended(asked, id_, token, "complete", Succeeded(result, ANSWERED))


def told_result(document: Any) -> Any:
    """The result that JSON tells: under `result` where that is all there is, else it is the result itself."""
    return document["result"] if isinstance(document, dict) and document.keys() == {"result"} else document


async def fail_attempt(asked: Asked) -> Response:
    """`POST /v1/completions/{token}/fail`"""
    id_, token = await attempt_of(asked)
    told = await body_of(asked, "CompletionFailure", "the failure", is_optional=True)
    outcome = Failed(FAILED | told_error(told), told.get("retry", True), told.get("after_seconds"), ANSWERED)
    return await ended(asked, id_, token, "fail", outcome)


async def defer_attempt(asked: Asked) -> Response:
    """`POST /v1/completions/{token}/defer`"""
    id_, token = await attempt_of(asked)
    told = await body_of(asked, "CompletionDeferral", "the deferral")
    reason = clip(told.get("reason") or "the endpoint asked for it", MAX_MESSAGE_CHARS)
    return await ended(asked, id_, token, "defer", Deferred(told["after_seconds"], reason, ANSWERED))


async def beat_attempt(asked: Asked) -> Response:
    """`POST /v1/completions/{token}/heartbeat`"""
    id_, token = await attempt_of(asked)
    return await heard(asked, id_, token)


async def note_progress(asked: Asked) -> Response:
    """`POST /v1/completions/{token}/progress`"""
    id_, token = await attempt_of(asked)
    told = await body_of(asked, "CompletionProgress", "the progress")
    tasks = asked.runtime.require_store().tasks
    progress = {"current": told["current"], "total": told.get("total"), "message": told.get("message")}
    noted = orjson.dumps({**progress, "at": rfc3339(tasks.clock.now_ms())})
    namespace = await asked.runtime.within(tasks.namespace(id_))
    noted = tasks.keyring.closed(noted, namespace, id_, PROGRESS)
    await asked.runtime.within(tasks.note_progress(shard_of(id_), [(id_, token, noted)]))
    return await heard(asked, id_, token)


async def log_lines(asked: Asked) -> Response:
    """`POST /v1/completions/{token}/log`"""
    id_, token = await attempt_of(asked)
    told = await body_of(asked, "CompletionLog", "the log")
    store = asked.runtime.require_store()
    now_ms = store.tasks.clock.now_ms()
    lines = [pack_line(now_ms, line.get("level", "info"), line["message"]) for line in told["lines"]]
    note = LogNote(id_, token, told.get("first", NEXT), lines, await asked.runtime.within(store.tasks.namespace(id_)))
    await asked.runtime.within(store.attempts.note_log(shard_of(id_), [note]))
    return await heard(asked, id_, token)


# ---------------------------------------------------------------- what they share


async def attempt_of(asked: Asked) -> tuple[bytes, bytes]:
    """
    (task, lease token) that the token in the path stands for.

    Raises:
        NotFound: we never made such a token.
        StoreUnavailable: nobody knows.
    """
    completions, token = completions_of(asked), asked.path["token"]
    found = read_token(await asked.runtime.within(completions.secret.get()), token)
    if found is None:
        found = read_token(await asked.runtime.within(completions.secret.look_again()), token)
    if found is None:
        raise NotFound("there is no attempt of this token; use the Taskpost-Completion-Url of the call as it is")
    return found


async def ended(asked: Asked, id_: bytes, token: bytes, purpose: str, outcome: Outcome) -> Response:
    """The answer to what ends the attempt. Raises LeaseLost when it was over before, in another way."""
    if not await asked.runtime.within(completions_of(asked).end(id_, token, purpose, outcome)):
        raise lost()
    return json_answer({"cancel": False})


async def heard(asked: Asked, id_: bytes, token: bytes) -> Response:
    """The answer to what does not end it. Raises LeaseLost."""
    status = await asked.runtime.within(completions_of(asked).beat(id_, token))
    if status == LOST:
        raise lost()
    return json_answer({"cancel": status == CANCELLING})


def completions_of(asked: Asked) -> Completions:
    return asked.runtime.require_store().completions


def lost() -> LeaseLost:
    return LeaseLost(
        "this attempt is over: it was ended before, was cancelled, or was not heard from in time; stop working on it"
    )
