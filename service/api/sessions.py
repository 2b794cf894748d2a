"""
`/v1/session`: signing in with a key, who asks, signing out.

The fact to know: a session may do what its key may, and ends with it; nothing but the cookie leaves this module.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from starlette.responses import Response

from service.api import audit
from service.api.answers import json_answer
from service.api.callers import ANYBODY, Caller
from service.api.cookies import check_page, session_in, set_cookie
from service.api.given import body_of
from service.api.runtime import Asked
from service.apikeys import at, digest_of, role_of
from service.errors import Unauthorized
from service.store.sessions import Session, new_session, proof_of

log = logging.getLogger("taskpost.api")

MOST_MS = 12 * 3_600_000


async def create_session(asked: Asked) -> Response:
    """`POST /v1/session`"""
    check_page(asked.headers, changes=False)
    given = await body_of(asked, "SessionRequest", "the request", secrets=("key",))
    gate, token = asked.gate, given["key"].encode()
    if not gate.must_ask and not await gate.has_keys():
        return json_answer(shown(ANYBODY), 201)
    caller = await signing_in(asked, token)
    runtime, store = asked.runtime, asked.runtime.require_store()
    now_ms = store.tasks.clock.now_ms()
    expires_ms = now_ms + MOST_MS
    if caller.key is not None and caller.key.expires_ms is not None:
        expires_ms = min(expires_ms, caller.key.expires_ms)
    session = new_session()
    kept = Session(caller.id, proof_of(session, digest_of(token)), expires_ms)
    await runtime.within(store.sessions.create(session, kept))
    answer = json_answer(shown(caller.signed_in(expires_ms)), 201)
    answer.headers["Set-Cookie"] = set_cookie(session, (expires_ms - now_ms) // 1000, asked.headers)
    answer.headers["Cache-Control"] = "no-store"
    await note(asked, caller, 201)
    return answer


async def signing_in(asked: Asked, token: bytes) -> Caller:
    """Whose key *token* is. Raises Unauthorized, which is noted too, though not without end."""
    gate = asked.gate
    try:
        return await gate.holder(token)
    except Unauthorized:
        if gate.refusals.may_note(monotonic()):
            await note(asked, await gate.named_by(token), Unauthorized.status)
        elif gate.refusals.is_first_unnoted:
            log.warning("more sign-ins are refused in this minute than the audit log notes")
        raise


async def note(asked: Asked, caller: Caller, status: int) -> None:
    """Note a sign-in in the audit log of the key's namespace."""
    await audit.note(asked.runtime, asked.scope, "/v1/session", "POST", caller, status)


async def get_session(asked: Asked) -> Response:
    """`GET /v1/session`"""
    answer = json_answer(shown(asked.caller))
    answer.headers["Cache-Control"] = "no-store"
    return answer


async def delete_session(asked: Asked) -> Response:
    """`DELETE /v1/session`"""
    if session := session_in(asked.headers):
        check_page(asked.headers, changes=True)
        runtime = asked.runtime
        await runtime.within(runtime.require_store().sessions.end(session))
        asked.gate.forget(session)
    return Response(status_code=204, headers={"Set-Cookie": set_cookie(b"", 0, asked.headers)})


def shown(caller: Caller) -> dict[str, Any]:
    """The contract's `Session`."""
    return {
        "key_id": caller.id,
        "key_name": caller.name,
        "namespace": caller.namespace,
        "role": role_of(caller.scopes),
        "scopes": sorted(caller.scopes),
        "is_signed_in": caller.is_session,
        "expires_at": at(caller.expires_ms),
    }
