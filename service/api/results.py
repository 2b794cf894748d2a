"""
`GET /v1/tasks/{id}/result`: what a task returned, in its own media type.

The fact to know: results come from outside, so that browsers are told neither to guess at nor to run them.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import orjson
from starlette.responses import Response

from service.api.runtime import Asked
from service.api.tasks import waited
from service.errors import NotFinished, ResultGone, TaskFailed
from service.task import Snapshot

GUARDED = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
MEDIA_TYPE = re.compile(
    r"[\w!#$&^.+-]{1,80}/[\w!#$&^.+-]{1,80}( ?; ?[\w-]+=[\w.+-]+| ?; ?[\w-]+=\"[ !#-~]*\")*", re.ASCII
)


async def get_result(asked: Asked) -> Response:
    """The result and nothing else. Raises PayloadUnreadable, ResultGone, NotFinished, TaskFailed."""
    snapshot = await waited(asked)
    outcome = snapshot.record.outcome or {}
    if snapshot.record.unreadable is not None:
        raise snapshot.record.unreadable
    if snapshot.state != "succeeded":
        raise no_result(snapshot, outcome)
    if asked.runtime.options(snapshot)["result_ttl_seconds"] <= 0:
        raise ResultGone("the task was submitted with result_ttl_seconds 0, which keeps no result")
    if many := outcome.get("dropped_bytes"):
        told = f"Redis was nearly full when the task ended, so that its result of {many:,} bytes was not kept"
        raise ResultGone(told)
    body, media_type = encoded(outcome.get("result"))
    return Response(body, headers={**GUARDED, "Content-Type": media_type})


def no_result(snapshot: Snapshot, outcome: dict[str, Any]) -> NotFinished | TaskFailed:
    """Why a task that has not succeeded has no result."""
    state = snapshot.state
    if not snapshot.record.has_ended:
        return NotFinished(
            f"the task is {state}; ask again, or with ?wait=25",
            headers={"Retry-After": "1"},
            state=state,
        )
    error = outcome.get("error")
    if error is None:
        return TaskFailed(f"the task ended as {state}, without a result", state=state)
    told = f"the task {state} in attempt {outcome['attempt']}: {error['type']}: {error['message'][:200]}"
    return TaskFailed(told, state=state, error=error)


def encoded(result: Any) -> tuple[bytes, str]:
    """Body and media type of a result: text as text, bytes as bytes, all else as JSON."""
    if isinstance(result, str):
        return result.encode(), "text/plain; charset=utf-8"
    if isinstance(result, dict) and result.keys() == {"base64", "content_type"}:
        try:
            body, media_type = base64.b64decode(result["base64"], validate=True), str(result["content_type"])
        except (binascii.Error, ValueError, TypeError):
            return orjson.dumps(result), "application/json"
        return body, media_type if MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream"
    return orjson.dumps(result), "application/json"
