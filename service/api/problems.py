"""
Problems as answers (RFC 9457), for raw ASGI endpoints and for Starlette's.

Owns what an unexpected exception tells: a number to find it in the log, nothing else.
"""

from __future__ import annotations

import logging
import secrets

import orjson
from starlette.responses import Response
from starlette.types import Scope, Send

from service.errors import InternalError, Problem

log = logging.getLogger("taskpost.api")

MEDIA_TYPE = "application/problem+json"
RawHeaders = list[tuple[bytes, bytes]]


def response_of(problem: Problem) -> Response:
    """*problem* as a Starlette response."""
    body = orjson.dumps(problem.document())
    return Response(body, problem.status, headers=dict(problem.headers), media_type=MEDIA_TYPE)


async def send_problem(send: Send, problem: Problem) -> None:
    """*problem* as a raw answer."""
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers.items()]
    headers.append((b"content-type", MEDIA_TYPE.encode()))
    await send_body(send, problem.status, headers, orjson.dumps(problem.document()))


async def send_body(send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
    """A whole answer."""
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def unexpected(exc: Exception, scope: Scope) -> InternalError:
    """What the user is told of *exc*; the log has the rest under the same number."""
    number = secrets.token_hex(6)
    log.error("%s %s failed, number %s", scope["method"], scope["path"], number, exc_info=exc)
    return InternalError(f"This is a fault of the service; its log tells more under the number {number}.")
