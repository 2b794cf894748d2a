"""
`/v1/keys`: API keys, made, listed and revoked.

The fact to know: nobody grants what they do not have themselves, and only who runs the service works on the keys of
other namespaces.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.callers import Caller
from service.api.given import body_of
from service.api.runtime import Asked
from service.apikeys import ApiKey, granted, included, made
from service.due import due_of
from service.errors import Forbidden, InvalidSubmission, KeyNotFound
from service.store.api_keys import Found
from service.submission import Fault, counted


async def create_key(asked: Asked) -> Response:
    """`POST /v1/keys`"""
    given = await body_of(asked, "ApiKeyRequest", "the key")
    if not granted(given):
        faults = [{"pointer": "/scopes", "detail": "is needed, or a role: reader, operator, admin"}]
        raise InvalidSubmission(counted(faults, "the key"), errors=faults)
    store, now_ms = asked.runtime.require_store(), asked.runtime.require_store().tasks.clock.now_ms()
    check_grant(asked.caller, given)
    namespace = given.get("namespace", asked.caller.namespace)
    token, key = made(given, namespace, asked.caller.name, expires_of(given, now_ms), now_ms)
    await asked.runtime.within(store.api_keys.create(key))
    response = json_answer({**key.shown(now_ms, None), "key": token}, 201)
    response.headers["Location"] = f"/v1/keys/{key.id}"
    response.headers["Cache-Control"] = "no-store"
    return response


def check_grant(caller: Caller, given: dict[str, Any]) -> None:
    """Raises Forbidden for more than *caller* may grant."""
    if given.get("namespace", caller.namespace) != caller.namespace and not caller.is_operator:
        raise Forbidden(f"this key makes keys of the namespace {caller.namespace} only", scope="admin")
    if beyond := sorted(included(granted(given)) - caller.scopes):
        raise Forbidden(f"nobody grants what they may not do themselves: {', '.join(beyond)}", scope=beyond[0])


def expires_of(given: dict[str, Any], now_ms: int) -> int | None:
    """When the key ends, ms since the epoch. Raises InvalidSubmission."""
    faults: list[Fault] = []
    if "expires_at" in given and "expires_in_seconds" in given:
        faults.append({"pointer": "/expires_at", "detail": "not together with expires_in_seconds"})
    expires_ms = None
    if "expires_at" in given:
        expires_ms = due_of(given["expires_at"])[0]
        if expires_ms <= now_ms:
            faults.append({"pointer": "/expires_at", "detail": "lies in the past"})
    elif "expires_in_seconds" in given:
        expires_ms = now_ms + int(given["expires_in_seconds"] * 1000)
    if faults:
        raise InvalidSubmission(counted(faults, "the key"), errors=faults)
    return expires_ms


async def list_keys(asked: Asked) -> Response:
    """`GET /v1/keys`"""
    store = asked.runtime.require_store()
    found = await asked.runtime.within(store.api_keys.list())
    now_ms = store.tasks.clock.now_ms()
    return listed([one.key.shown(now_ms, one.used_ms) for one in found if may_see(asked.caller, one.key)])


def may_see(caller: Caller, key: ApiKey) -> bool:
    return caller.is_operator or key.namespace == caller.namespace


async def get_key(asked: Asked) -> Response:
    """`GET /v1/keys/{id}`"""
    found = await known(asked)
    return json_answer(found.key.shown(asked.runtime.store.tasks.clock.now_ms(), found.used_ms))


async def known(asked: Asked) -> Found:
    """The key that the path names. Raises KeyNotFound."""
    id_ = asked.path["id"]
    found = await asked.runtime.within(asked.runtime.require_store().api_keys.found(id_))
    if found is None or not may_see(asked.caller, found.key):
        raise KeyNotFound(f'there is no API key "{id_[:40]}"; GET /v1/keys lists those that there are')
    return found


async def revoke_key(asked: Asked) -> Response:
    """`DELETE /v1/keys/{id}`"""
    found = await known(asked)
    if beyond := sorted(included(found.key.scopes) - asked.caller.scopes):
        raise Forbidden(f"this key may do more than yours, which revokes it not: {', '.join(beyond)}", scope=beyond[0])
    store = asked.runtime.require_store()
    key = await asked.runtime.within(store.api_keys.revoke(found.key.id)) or found.key
    return json_answer(key.shown(store.tasks.clock.now_ms(), found.used_ms))
