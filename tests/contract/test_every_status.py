"""
The statuses that any operation may answer, produced for each that documents them, by what the contract itself gives as
examples: no key, too large, not JSON, unknown fields, nothing there, Redis away.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from service.contract import operations, resolve
from tests.api.serving import Serving, serving
from tests.servers import free_port

Operation = tuple[str, str, dict[str, Any]]
JSON = {"content-type": "application/json"}
MADE_UP = {
    "id": "01M819EKHX02FJFH0TDFHXG001", "token": "none", "type": "none", "file": "none", "name": "nightly-report",
    "queue": "none", "url": "https://nobody.example/", "endpoint": "https:api.example.com",
}  # fmt: skip
BY_HEADER = ("/v1/send/", "/v1/handlers/")  # whose body is somebody else's, and whose options are header fields


def those_with(status: int) -> list[Any]:
    """The operations that document *status*."""
    return [
        pytest.param((path, method, operation), id=f"{method} {path}")
        for path, method, operation in operations()
        if str(status) in operation["responses"]
    ]


def place_of(path: str) -> str:
    """*path* with a value for each parameter; nothing is there by any of these names."""
    return re.sub(r"{(\w+)}", lambda name: MADE_UP.get(name[1], "none"), path)


def body_of(operation: dict[str, Any]) -> dict[str, Any]:
    """What is sent to *operation*: the first example of its JSON, with any file of it."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return {"content": b"{}\n", "headers": {"content-type": next(iter(content))}} if content else {}
    examples = content["application/json"].get("examples", {})
    return {"json": resolve(next(iter(examples.values())))["value"]} if examples else {"json": {}}


async def ask(api: Serving, one: Operation, **given: Any) -> httpx.Response:
    path, method, _ = one
    return await api.http.request(method, place_of(path), **given)


@pytest.fixture
async def locked(redis_url: str) -> AsyncIterator[Serving]:
    async with serving(redis_url, api_key="secret") as running:
        yield running


@pytest.fixture
async def away() -> AsyncIterator[Serving]:
    """An API whose Redis is not there."""
    async with serving(f"redis://127.0.0.1:{free_port()}/0", is_ready=False) as running:
        yield running


@pytest.fixture
async def small(redis_url: str) -> AsyncIterator[Serving]:
    """An API that takes short bodies only."""
    async with serving(redis_url, max_body_bytes=1024, max_batch_bytes=1024, accept_unknown_handlers=True) as running:
        yield running


async def test_without_a_key_nothing_is_answered(locked: Serving) -> None:
    """401, wherever the contract says so."""
    for one in values(those_with(401)):
        given: dict[str, Any] = {"params": {"handlers": "live"}} if one[0] == "/openapi.json" else {}
        if one[:2] == ("/v1/session", "POST"):
            given = body_of(one[2])
        assert 401 == (await ask(locked, one, **given)).status_code, one[:2]


async def test_headers_have_a_bound_everywhere(small: Serving) -> None:
    """431, also from those who need no key."""
    for one in values(those_with(431)):
        given = {"params": {"handlers": "live"}} if one[0] == "/openapi.json" else {}
        answer = await ask(small, one, headers={"x-long": "x" * 17_000}, **given)
        assert 431 == answer.status_code, (one[:2], answer.text)


async def test_bodies_have_a_bound_everywhere(small: Serving) -> None:
    """413, wherever the contract says so."""
    for one in values(those_with(413)):
        answer = await ask(small, one, content=b" " * 2000, headers=JSON)
        assert answer.status_code in (413, 404), (one[:2], answer.text)


async def test_what_is_not_json_is_refused_everywhere(small: Serving) -> None:
    """415 for another type, 400 for text that is none, wherever the contract says so; 404 where that comes first."""
    for one in values(those_with(415)):
        answer = await ask(small, one, content=b"a=1", headers={"content-type": "application/x-www-form-urlencoded"})
        assert answer.status_code in (415, 404), (one[:2], answer.text)
    for one in values(those_with(400)):
        answer = await ask(small, one, content=b"{", headers={**JSON, "idempotency-key": "a b"})
        assert answer.status_code in (400, 404), (one[:2], answer.text)


async def test_slips_are_told_everywhere(small: Serving) -> None:
    """422 for a field or a parameter that nobody knows, wherever the contract says so; 404 where that comes first."""
    for one in values(those_with(422)):
        path, method, _ = one
        given: dict[str, Any] = {"params": {"nonsense": "1"}} if method == "GET" else {"json": {"nonsense": 1}}
        if path.startswith(BY_HEADER):
            given = {"headers": {"taskpost-nonsense": "1"}}
        answer = await ask(small, one, **given)
        assert answer.status_code in (422, 404), (one[:2], answer.text)


async def test_nothing_is_told_to_be_nothing_everywhere(small: Serving) -> None:
    """404 for names and ids of which there is nothing, unless it is for the request to bring it about."""
    for one in values(those_with(404)):
        answer = await ask(small, one, **body_of(one[2]))
        assert answer.status_code == 404 or (answer.status_code < 300 and "{id}" not in one[0]), (one[:2], answer.text)


async def test_redis_that_is_away_is_told_everywhere(away: Serving) -> None:
    """503 with Retry-After, wherever the contract says so; never a fault of ours, never a wait without end."""
    for one in values(those_with(503)):
        given = body_of(one[2])
        if one[0] == "/openapi.json":
            given = {"params": {"handlers": "live"}}
        if one[0] == "/v1/session":
            given["headers"] = {"cookie": "taskpost_session=tps_none", "sec-fetch-site": "same-origin"}
        answer = await ask(away, one, **given)
        assert answer.status_code in (503, 404), (one[:2], answer.text)
        if answer.status_code == 503:
            assert answer.headers["retry-after"], one[:2]


def values(those: list[Any]) -> Iterator[Operation]:
    for one in those:
        yield one.values[0]


def examples() -> Iterator[Any]:
    """Each body that the contract shows for an operation without parameters in its path."""
    for path, method, operation in operations():
        content = operation.get("requestBody", {}).get("content", {})
        for media_type, described in content.items():
            for name, example in described.get("examples", {}).items():
                if "{" not in path:
                    value = resolve(example)["value"]
                    yield pytest.param(path, method, media_type, value, id=f"{method} {path} {name}")


@pytest.mark.parametrize(("path", "method", "media_type", "value"), list(examples()))
async def test_examples_of_the_contract_are_taken(
    redis_url: str, path: str, method: str, media_type: str, value: Any
) -> None:
    """Whoever copies an example from the contract gets what it promises."""
    async with serving(redis_url, accept_unknown_handlers=True) as api:
        sent = {"json": value} if media_type == "application/json" else {"content": value.encode()}
        answer = await api.http.request(method, path, headers={"content-type": media_type}, **sent)
        assert answer.status_code in (200, 201, 202), answer.text
