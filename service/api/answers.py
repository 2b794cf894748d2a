"""
How JSON answers look: bodies by orjson, lists as `{items, next_cursor}`, times as RFC 3339.
"""

from __future__ import annotations

from typing import Any

import orjson
from starlette.responses import Response

from service.task import rfc3339


def json_answer(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def listed(items: list[Any], next_cursor: str | None = None) -> Response:
    """A list, or one page of it."""
    return json_answer({"items": items, "next_cursor": next_cursor})


def with_times(stored: dict[str, Any]) -> dict[str, Any]:
    """*stored* with each `*_ms` as the `*_at` that users read."""
    return {
        f"{name[:-3]}_at" if name.endswith("_ms") else name: rfc3339(value)
        if name.endswith("_ms") and value is not None
        else value
        for name, value in stored.items()
    }
