"""
Every status that an operation documents, produced for each that documents it: no promise of the contract is only paper.

Each test is of one status and of all its operations, in a world of its own, so that what it says holds for it alone.
What an API answers that the contract does *not* tell of fails the test that met it (tests/recording.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from service.contract import operations
from service.ids import encode_id
from service.store import api_keys
from tests.api.serving import ADD, serving
from tests.api.test_workers import announced
from tests.contract.furnished import (
    BY_HEADER,
    FAR,
    JSON,
    KEY,
    NOBODYS,
    Operation,
    World,
    bodies_of,
    furnished,
    parameters,
    those_with,
)
from tests.servers import free_port

pytestmark = pytest.mark.parametrize("shared_server", ["valkey"], indirect=True, scope="session")
Ask = Callable[[Operation], Awaitable[httpx.Response]]
LIVE: dict[str, Any] = {"params": {"handlers": "live"}}  # what makes of the contract something to protect
WEEK = {"start_at": "2026-11-01T00:00:00Z", "end_at": "2026-11-08T00:00:00Z"}
SMALL = dict.fromkeys(("max_body_bytes", "max_batch_bytes", "max_result_bytes"), 4096)


@pytest.fixture
async def world(redis_url: str) -> AsyncIterator[World]:
    async with furnished(redis_url, **SMALL) as made:
        yield made


async def produced(status: int, ask: Ask) -> None:
    """*ask* is answered with *status* by all that document it."""
    answers = [(one, await ask(one)) for one in those_with(status)]
    wrong = [
        f"{method} {path} answered {answer.status_code}: {answer.text[:300]}"
        for (path, method, _), answer in answers
        if answer.status_code != status
    ]
    assert not wrong, "\n".join(wrong)


def given_of(one: Operation) -> dict[str, Any]:
    """A request that would be answered: the example of the contract."""
    return {**bodies_of(one[2])[0], **(LIVE if one[0] == "/openapi.json" else {})}


def with_headers(given: dict[str, Any], **headers: str) -> dict[str, Any]:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return {**given, "headers": {**given.get("headers", {}), **fields}}


# ---------------------------------------------------------------- what succeeds


async def test_200_what_is_answered(world: World) -> None:
    """Read, changed, counted, done, or done before."""

    async def ask(one: Operation) -> httpx.Response:
        path, method, _ = one
        given, named = given_of(one), {}
        if method == "POST" and path.startswith("/v1/tasks/{id}"):
            named["id"] = await (world.ended() if path.endswith("/replay") else world.task(**FAR))
        elif path == "/v1/tasks/{id}/result":
            named["id"] = await world.ended()
        elif path.startswith("/v1/completions"):
            named["token"] = await world.completion()
        elif path == "/v1/schedules/{name}/backfill":
            given = {"json": {**WEEK, "dry_run": True}}
        elif path.startswith("/v1/bulk/") and method == "POST":
            given = {"json": {"filter": {"tag": "none"}, "dry_run": True, **EDITS.get(path, {})}}
        place = world.place(path, **named)
        if path.endswith("/events"):
            return await world.begun(place)
        if method != "GET" and path.startswith(("/v1/tasks", *BY_HEADER)):  # the second time it was done before
            given = with_headers(given, idempotency_key=f"{method}-{path[-6:].strip('{}/')}")
            if path not in ("/v1/tasks/batch", "/v1/tasks/stream"):
                await world.ask(method, place, **given)
        return await world.ask(method, place, **given)

    await produced(200, ask)


async def test_201_what_is_made(world: World) -> None:
    """By the examples of the contract, which say what is needed."""

    async def ask(one: Operation) -> httpx.Response:
        path, method, _ = one
        given, named = given_of(one), {}
        if path.endswith("/replay"):
            named["id"] = await world.ended("failed", name="email:send", args={"to": "nobody"})
        elif method == "PUT" and path == "/v1/schedules/{name}":
            given, named["name"] = {"json": {"cron": "0 3 * * *", "task": ADD}}, "new"
        elif path == "/v1/session":
            given = {"json": {"key": KEY}}
        elif path == "/v1/schedules":
            await world.made("DELETE", "/v1/schedules/nightly-report")  # of which the example speaks
        return await world.ask(method, world.place(path, **named), **given)

    await produced(201, ask)


async def test_202_what_is_begun(world: World) -> None:
    """Work on many tasks, words to workers; and tasks that have not ended when those who wait for them must go."""

    async def ask(one: Operation) -> httpx.Response:
        path, method, _ = one
        given, named = given_of(one), {}
        if path.endswith("/cancel") and "{id}" in path:
            named["id"] = encode_id((await world.leased()).id)
        elif path == "/v1/schedules/{name}/backfill" or path.endswith("/purge"):
            given = {"json": WEEK if path.endswith("/backfill") else {}}
        elif path.startswith("/v1/bulk/"):
            given = {"json": {"filter": {"tag": "none"}, **EDITS.get(path, {})}}
        elif path.startswith(("/v1/tasks", *BY_HEADER)):
            given = with_headers(given, prefer="wait=1")
        return await world.ask(method, world.place(path, **named), **given)

    answers = dict(zip(map(first_two, those_with(202)), await asyncio.gather(*map(ask, those_with(202))), strict=True))
    await produced(202, lambda one: given_at_once(answers[one[:2]]))


async def test_204_what_is_gone(world: World) -> None:
    """And the events of a task of which the client has heard the last."""

    async def ask(one: Operation) -> httpx.Response:
        path, method, _ = one
        named = {"queue": "empty"}
        given: dict[str, Any] = {}
        if path.startswith("/v1/tasks/"):
            named["id"] = await world.ended()
            if path.endswith("/events"):
                told = (await world.ask(method, world.place(path, **named))).text
                given = {"headers": {"last-event-id": told.rpartition("id: ")[2].split()[0]}}
        return await world.ask(method, world.place(path, **named), **given)

    await produced(204, ask)


def first_two(one: Operation) -> tuple[str, str]:
    return one[:2]


async def given_at_once(answer: httpx.Response) -> httpx.Response:
    return answer


# ---------------------------------------------------------------- what is refused


async def test_400_what_cannot_be_read(world: World) -> None:
    """A body that is not JSON; a key of the wrong form where any body will do."""
    headers = {**JSON, "idempotency-key": "a b"}
    await produced(400, lambda one: world.ask(one[1], world.place(one[0]), content=b"{", headers=headers))


async def test_401_who_brings_no_key(world: World) -> None:
    """Also one that is none, where it is the key that is asked for."""
    world.headers = {}

    async def ask(one: Operation) -> httpx.Response:
        return await world.ask(one[1], world.place(one[0]), **given_of(one))

    await produced(401, ask)


async def test_403_who_may_not(world: World) -> None:
    """A key without the scope; and the page of another site with the cookie of ours."""
    _, narrow = await world.key("schedules:read")
    _, other = await world.key("workers:read")
    cookie = await world.session()

    async def ask(one: Operation) -> httpx.Response:
        needs = one[2].get("security", [{}])
        is_narrow = needs and needs[-1].get("bearer") == ["schedules:read"]
        world.headers = other if is_narrow else narrow
        given = given_of(one)
        if one[0] == "/v1/session":
            world.headers = {}
            given = with_headers(given, cookie=cookie, sec_fetch_site="cross-site", origin="https://evil.example")
        return await world.ask(one[1], world.place(one[0]), **given)

    await produced(403, ask)


async def test_404_what_is_not_there(world: World) -> None:
    """Names and ids of which there is nothing, or never can be."""
    await produced(404, lambda one: world.ask(one[1], world.place(one[0], **NOBODYS), **given_of(one)))


async def test_409_what_does_not_go_now(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks in another state, queues that drain or are full of tasks, workers that stop, and too much at once."""
    ended, waiting = await world.ended(), world.ids["/v1/tasks/"]
    running = await world.task(queue="running")
    await world.worker.lease(queue="running")
    await world.made("POST", "/v1/queues/draining/drain")
    await announced(world.store, "stopping-1", state="stopping")
    alone = {"cron": "0 3 * * *", "task": {**ADD, "unique": {"key": "k"}}}
    await world.made("PUT", "/v1/schedules/nightly", json=alone)
    await world.made("POST", "/v1/schedules/nightly/run")
    for _ in range(9):
        await world.made("POST", "/v1/schedules/nightly-report/backfill", json=WEEK)
        await world.made("POST", "/v1/bulk/cancel", json={"filter": {"tag": "none"}})
    monkeypatch.setattr(api_keys, "MOST_KEYS", 1)
    over = await world.completion()
    await world.made("POST", f"/v1/completions/{over}/complete")
    failed = await world.completion()
    await world.made("POST", f"/v1/completions/{failed}/fail", json={})
    names = {
        "/v1/tasks/{id}": running, "/v1/tasks/{id}/result": waiting, "/v1/tasks/{id}/replay": waiting,
        "/v1/tasks/{id}/cancel": ended, "/v1/tasks/{id}/run": ended, "/v1/tasks/{id}/reschedule": ended,
    }  # fmt: skip

    async def ask(one: Operation) -> httpx.Response:
        path, method, _ = one
        given = given_of(one)
        named = {"name": "nightly"} if path.endswith("/run") else {}
        if path in names:
            named["id"] = names[path]
        elif path.startswith("/v1/workers/"):
            named["id"] = "stopping-1"
        elif path.startswith("/v1/completions/"):
            named["token"] = failed if path.endswith("/complete") else over
        elif path == "/v1/tasks":
            given = {"json": {**ADD, "queue": "draining"}}
        elif path.startswith(BY_HEADER):
            given = with_headers(given, taskpost_queue="draining")
        elif path == "/v1/schedules":
            given = {"json": {"name": "nightly", "cron": "0 3 * * *", "task": ADD}}
        elif path.startswith("/v1/bulk/"):
            given["json"] = {"filter": {"tag": "none"}, **EDITS.get(path, {})}
            given.pop("content", None)
        elif path.endswith("/purge"):
            given = {"json": {}}
        elif path.endswith("/backfill"):
            given = {"json": WEEK}
        return await world.ask(method, world.place(path, **named), **given)

    await produced(409, ask)


EDITS: dict[str, dict[str, Any]] = {"/v1/bulk/reschedule": FAR, "/v1/bulk/priority": {"priority": 9}}


async def test_410_what_was_not_kept(world: World) -> None:
    """The result of a task that keeps none."""
    ended = await world.ended(result_ttl_seconds=0)
    await produced(410, lambda one: world.ask(one[1], world.place(one[0], id=ended)))


async def test_412_what_is_of_another_version(world: World) -> None:
    """Whatever takes an If-Match holds to it."""

    async def ask(one: Operation) -> httpx.Response:
        place = world.place(one[0], queue="empty" if one[1] == "DELETE" else "mail")
        return await world.ask(one[1], place, **with_headers(given_of(one), if_match='"nonsense"'))

    await produced(412, ask)


async def test_413_what_is_too_large(world: World) -> None:
    """By its Content-Length."""
    await produced(413, lambda one: world.ask(one[1], world.place(one[0]), content=b" " * 5000, headers=JSON))


async def test_415_what_is_not_json(world: World) -> None:
    """Forms and the like."""
    form = {"content": b"a=1", "headers": {"content-type": "application/x-www-form-urlencoded"}}
    await produced(415, lambda one: world.ask(one[1], world.place(one[0]), **form))


async def test_422_what_nobody_knows(world: World) -> None:
    """An unknown field, parameter or option is a slip, and told."""

    async def ask(one: Operation) -> httpx.Response:
        given: dict[str, Any] = {"json": {"nonsense": 1, "retry": "no"}}
        if one[1] == "GET":
            given = {"params": {"nonsense": "1"}}
        if one[0].startswith(BY_HEADER):
            given = {"headers": {"taskpost-nonsense": "1"}}
        return await world.ask(one[1], world.place(one[0]), **given)

    await produced(422, ask)


async def test_429_who_asks_too_often(world: World) -> None:
    """A key that has used up its rate, wherever it asks; Retry-After says when it may again."""
    _, world.headers = await world.key("admin", rate_limit={"requests": 1, "window_seconds": 3600})
    assert 200 == (await world.ask("GET", "/v1/session")).status_code

    async def ask(one: Operation) -> httpx.Response:
        answer = await world.ask(one[1], world.place(one[0]), **given_of(one))
        assert answer.status_code != 429 or int(answer.headers["retry-after"]) > 0
        return answer

    await produced(429, ask)


async def test_431_whose_headers_are_too_long(world: World) -> None:
    """Also of those who need no key."""

    async def ask(one: Operation) -> httpx.Response:
        return await world.ask(one[1], world.place(one[0]), **with_headers(given_of(one), x_long="x" * 17_000))

    await produced(431, ask)


async def test_501_a_redis_that_cannot_wait_for_its_disk(world: World) -> None:
    """This one keeps no append-only file, so nothing can be safe on its disk."""

    async def ask(one: Operation) -> httpx.Response:
        given = given_of(one)
        if one[0].startswith(BY_HEADER):
            given = with_headers(given, taskpost_durability="fsync")
        else:
            given = {"json": {**ADD, "durability": "fsync"}}
        return await world.ask(one[1], world.place(one[0]), **given)

    await produced(501, ask)


async def test_503_redis_that_is_away(world: World) -> None:
    """With Retry-After; never a fault of ours, never a wait without end."""
    async with serving(f"redis://127.0.0.1:{free_port()}/0", is_ready=False) as away:
        world.api = away

        async def ask(one: Operation) -> httpx.Response:
            given = given_of(one)
            if one[0] == "/v1/session":
                world.headers = {}
                cookie = f"taskpost_session_{away.port}=tps_none"
                given = with_headers(given, cookie=cookie, sec_fetch_site="same-origin")
            else:
                world.headers = {"authorization": f"Bearer {KEY}"}
            answer = await world.ask(one[1], world.place(one[0]), **given)
            assert answer.status_code != 503 or answer.headers["retry-after"]
            return answer

        await produced(503, ask)


# ---------------------------------------------------------------- what the contract shows


PASSING = ("token", "from", "to")  # a token that nobody was given, and a week that is over


async def test_every_example_of_a_body_is_taken(redis_url: str) -> None:
    """Whoever copies an example from the contract gets what it promises, whichever of an operation's they take."""
    refused = []
    async with furnished(redis_url) as world:
        for path, method, operation in operations():
            for given in bodies_of(operation):
                named = {}
                if path.startswith("/v1/completions"):
                    named["token"] = await world.completion()
                elif path == "/v1/tasks/{id}/replay":
                    named["id"] = await world.ended("failed", name="email:send", args={"to": "nobody"})
                elif path == "/v1/schedules":
                    await world.ask("DELETE", "/v1/schedules/nightly-report")
                if path == "/v1/session" or not given:
                    continue  # its key is nobody's; the others have nothing to show
                answer = await world.ask(method, world.place(path, **named), **given)
                if answer.status_code >= 300:
                    refused.append(f"{method} {path} {given['content'][:80]!r}: {answer.text[:300]}")
    assert not refused, "\n".join(refused)


async def test_every_example_of_a_parameter_is_taken(world: World) -> None:
    """Each by itself: a filter, a bound, a time; answered as if it were not there, or with less."""
    refused = []
    for path, method, _ in operations():
        for parameter in parameters(path, "query", method):
            if "example" not in parameter or parameter["name"] in PASSING or path.endswith("/events"):
                continue
            value = parameter["example"]
            given = {parameter["name"]: str(value).lower() if isinstance(value, bool) else value}
            named = {"id": await world.ended()} if path == "/v1/tasks/{id}/result" else {}
            answer = await world.ask(method, world.place(path, **named), params=given)
            if answer.status_code >= 300:
                refused.append(f"{method} {path} {given}: {answer.text[:300]}")
    assert not refused, "\n".join(refused)
