"""
Read tokens over HTTP: making one, and letting in who brings one.

The fact to know: a token opens the operations of `READABLE` for its task, which then ask for no key, and nothing else.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.responses import Response

from service.api.answers import json_answer
from service.api.callers import CHALLENGE, Caller
from service.api.given import body_of
from service.api.runtime import Asked, Runtime, task_id
from service.errors import Unauthorized
from service.ids import encode_id
from service.reading import TTL_SECONDS, Reading, read_token, token_of
from service.task import rfc3339

EVENTS = "/v1/tasks/{id}/events"
READABLE = frozenset(("/v1/tasks/{id}", EVENTS))


async def create_read_token(asked: Asked) -> Response:
    """`POST /v1/tasks/{id}/read-token`"""
    task = await asked.runtime.task(asked.path["id"])
    given = await body_of(asked, "ReadTokenRequest", "the request", is_optional=True)
    store = asked.runtime.require_store()
    secret = await asked.runtime.within(store.completions.secret.get())
    expires_ms = store.tasks.clock.now_ms() + int(given.get("ttl_seconds", TTL_SECONDS) * 1000)
    token = token_of(secret, Reading(task.id, expires_ms, asked.runtime.namespace))
    path = EVENTS.replace("{id}", encode_id(task.id))
    answer = json_answer(
        {"token": token, "expires_at": rfc3339(expires_ms), "events_url": f"{path}?token={token}"}, 201
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer


def token_in(query: bytes, path: str) -> str | None:
    """The token in the *query* of a request to read *path*; None where it brings none, or none would open anything."""
    if path not in READABLE or b"token=" not in query:
        return None
    return next((value for name, value in parse_qsl(query.decode("latin-1")) if name == "token"), None)


async def reader(runtime: Runtime, token: str, text: str) -> Caller:
    """
    Who brings *token* to read the task of the id *text*.

    Raises:
        Unauthorized: it does not open that task, or does not any more.
        TaskNotFound: there can be no such task.
        StoreUnavailable: nobody knows.
    """
    id_, store = task_id(text), runtime.require_store()
    secret = store.completions.secret
    found = read_token(await runtime.within(secret.get()), token)
    if found is None:
        found = read_token(await runtime.within(secret.look_again()), token)
    if found is None or found.id != id_:
        detail = "this read token is not one of this task; ask for one: POST /v1/tasks/{id}/read-token"
        raise Unauthorized(detail, headers=CHALLENGE)
    if found.expires_ms <= store.tasks.clock.now_ms():
        detail = "this read token has expired; ask for another one: POST /v1/tasks/{id}/read-token"
        raise Unauthorized(detail, headers=CHALLENGE)
    return Caller(found.namespace, "read token", frozenset(("tasks:read",)), expires_ms=found.expires_ms)
