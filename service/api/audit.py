"""
The audit log: `GET /v1/audit`, and what is noted of each call that changes something.

Submitting is not noted, nor what endpoints say of their attempts: tasks themselves tell of that.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from service.api.answers import listed
from service.api.callers import Caller
from service.api.runtime import Asked, Runtime
from service.contract import contract
from service.errors import InvalidQuery, StoreFull, StoreUnavailable
from service.task import rfc3339

log = logging.getLogger("taskpost.api")

PLACE = re.compile(r"\d{1,16}-\d{1,16}")
MOST_FORWARDED_CHARS = 200


@cache
def is_noted(path: str, method: str) -> bool:
    """Whether calls of an operation are: those that ask for a scope that changes something."""
    security = contract()["paths"][path][method.lower()].get("security") or [{}]
    return "".join(security[-1].get("bearer", ())).endswith(":write")


async def note(runtime: Runtime, scope: Scope, path: str, method: str, caller: Caller, status: int) -> None:
    """Note a call that was answered with *status*. While Redis is away it stands in the log of the process alone."""
    entry = {
        "at_ms": runtime.store.tasks.clock.now_ms(),
        "operation": contract()["paths"][path][method.lower()]["operationId"],
        "method": method,
        "path": scope["path"][:500],
        "status": status,
        "key_id": caller.id,
        "key_name": caller.name,
        **addresses_of(scope),
    }
    try:
        await runtime.within(runtime.require_store().audit.note(caller.namespace, entry))
    except (StoreUnavailable, StoreFull):
        log.error("not kept in the audit log: %s", entry)


def addresses_of(scope: Scope) -> dict[str, str | None]:
    """Who is at the other end of the connection, and for whom they say that they ask."""
    forwarded = dict(scope["headers"]).get(b"x-forwarded-for", b"").decode("latin-1")[:MOST_FORWARDED_CHARS]
    return {"address": (scope.get("client") or ("",))[0], "forwarded_for": forwarded or None}


async def list_audit(asked: Asked) -> Response:
    """`GET /v1/audit`"""
    cursor, limit = asked.query.get("cursor"), int(asked.query["limit"])
    if cursor is not None and not PLACE.fullmatch(cursor):
        detail = "is no cursor of this list; pass next_cursor of the page before"
        raise InvalidQuery(f"cursor {detail}", errors=[{"parameter": "cursor", "detail": detail}])
    rows = await asked.runtime.within(asked.runtime.require_store().audit.page(asked.runtime.namespace, limit, cursor))
    return listed([shown(entry) for _, entry in rows], rows[-1][0] if len(rows) == limit else None)


def shown(entry: dict[str, Any]) -> dict[str, Any]:
    """The contract's `AuditEntry`."""
    at_ms = entry.pop("at_ms")
    return {"at": rfc3339(at_ms), **entry}
