"""
`/v1/routes`: to which queues tasks go that name none.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.api.answers import listed
from service.api.given import body_of
from service.api.queues import version_of
from service.api.runtime import Asked
from service.api.versions import check_version
from service.store.queue_settings import ROUTES

WHAT = "the list of routes"


async def list_routes(asked: Asked) -> Response:
    """`GET /v1/routes`"""
    runtime = asked.runtime
    return answer(await runtime.within(runtime.require_store().queue_settings.read(runtime.namespace, ROUTES)))


async def put_routes(asked: Asked) -> Response:
    """`PUT /v1/routes`"""
    runtime = asked.runtime
    given = await body_of(asked, "RouteTable", WHAT)
    wanted = {"items": [whole(route) for route in given["items"]]} if given["items"] else {}

    def change(before: dict[str, Any]) -> dict[str, Any]:
        check_version(asked, version_of(before), WHAT)
        return wanted

    store = runtime.require_store()
    routes = await runtime.within(store.queue_settings.change(runtime.namespace, ROUTES, change))
    await runtime.within(store.queue_book.renew())
    return answer(routes)


def whole(route: dict[str, Any]) -> dict[str, Any]:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return {**route, "priority": int(route["priority"])} if "priority" in route else route


def answer(routes: dict[str, Any]) -> Response:
    """The contract's `RouteList`, with its version as its ETag."""
    response = listed(routes.get("items", []))
    response.headers["ETag"] = f'"{version_of(routes)}"'
    return response
