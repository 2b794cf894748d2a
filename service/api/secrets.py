"""
`GET /v1/secrets` and `POST /v1/secrets/rotate`.

The fact to know: a private key leaves this process in no answer; a secret only when it is new, or asked for.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.api.answers import listed
from service.api.given import body_of
from service.api.runtime import Asked
from service.signing import SECRET
from service.store.secrets import Generation
from service.task import rfc3339

OVERLAP_SECONDS = 86_400
SHOWN_CHARS = 4


async def list_secrets(asked: Asked) -> Response:
    """`GET /v1/secrets`"""
    runtime = asked.runtime
    found = await runtime.within(runtime.require_store().secrets.generations(runtime.namespace))
    return private(listed([shown(one, asked.query["reveal"]) for one in found]))


async def rotate_secrets(asked: Asked) -> Response:
    """`POST /v1/secrets/rotate`"""
    runtime = asked.runtime
    given = await body_of(asked, "Rotation", "the rotation", is_optional=True)
    overlap_seconds = given.get("overlap_seconds", OVERLAP_SECONDS)
    found = await runtime.within(runtime.require_store().secrets.rotate(runtime.namespace, overlap_seconds))
    return private(listed([shown(one, one is found[0]) for one in found]))


def shown(generation: Generation, is_whole: bool) -> dict[str, Any]:
    """The contract's `Secret`."""
    secret, ends = generation.secret, generation.expires_ms
    return {
        "secret": secret if is_whole else f"{SECRET}…{secret[-SHOWN_CHARS:]}",
        "public_key": generation.public_key,
        "created_at": rfc3339(generation.created_ms),
        "expires_at": None if ends is None else rfc3339(ends),
    }


def private(response: Response) -> Response:
    """*response*, which no cache may keep."""
    response.headers["cache-control"] = "no-store"
    return response
