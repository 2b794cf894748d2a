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


def response_of(problem: Problem, scope: Scope) -> Response:
    """*problem* as a Starlette response."""
    body = orjson.dumps(problem.document())
    headers = {**problem.headers, "Connection": "close"} if expects(scope) else dict(problem.headers)
    return Response(body, problem.status, headers=headers, media_type=MEDIA_TYPE)


def expects(scope: Scope) -> bool:
    """Whether the client may still be asking if it should send its body; nobody knows then what would come next."""
    return any(name == b"expect" for name, _ in scope["headers"])


async def send_problem(send: Send, problem: Problem, scope: Scope) -> None:
    """*problem* as a raw answer."""
    headers = [(b"connection", b"close")] if expects(scope) else []
    headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in problem.headers.items()]
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
