"""Signing in: the cookie that stands for a key, what it opens, for whom, and until when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from service.contract import operations
from service.store import Store
from tests.api.live import following
from tests.api.serving import ADD, Serving, serving, until_async
from tests.api.test_keys import ROOT_KEY, api, made, place, scope_of  # noqa: F401
from tests.api.test_sockets import closed, heard, opened, refused
from tests.api.test_streams import LINE

HERE = {"Sec-Fetch-Site": "same-origin"}


def browser(api: Serving) -> httpx.AsyncClient:  # noqa: F811
    """Keeps cookies, and sends what the browser of a page of ours does."""
    return httpx.AsyncClient(base_url=api.http.base_url, headers=HERE, timeout=60, trust_env=False)


@asynccontextmanager
async def signed_in(api: Serving, key: str) -> AsyncIterator[httpx.AsyncClient]:  # noqa: F811
    """A browser with the cookie of *key*."""
    async with browser(api) as client:
        answer = await client.post("/v1/session", json={"key": key})
        assert 201 == answer.status_code, answer.text
        yield client


def cookie_of(client: httpx.AsyncClient) -> dict[str, str]:
    name = name_of(client)
    return {"Cookie": f"{name}={client.cookies[name]}"}


def name_of(client: httpx.AsyncClient) -> str:
    """Of its cookie, which others at the same host are not to take for theirs."""
    return f"taskpost_session_{client.base_url.port}"


async def test_a_browser_signs_in_acts_and_signs_out(api: Serving) -> None:  # noqa: F811
    """A cookie stands for the key wherever that is taken; after signing out it opens nothing, not even as a copy."""
    key = await made(api, role="operator", name="ada", namespace="acme")
    async with signed_in(api, key["key"]) as client:
        who = (await client.get("/v1/session")).json()
        assert (key["id"], "ada", "acme", "operator", True) == (
            who["key_id"], who["key_name"], who["namespace"], who["role"], who["is_signed_in"],
        )  # fmt: skip
        task = (await client.post("/v1/tasks", json={"url": f"{client.base_url}/echo/x", "delay_seconds": 1000})).json()
        assert 200 == (await client.post(f"/v1/tasks/{task['id']}/cancel")).status_code
        lines = await client.post("/v1/tasks/stream", content=LINE, headers={"Content-Type": "application/x-ndjson"})
        assert 200 == lines.status_code
        assert "ada" == (await client.get("/v1/audit")).json()["items"][0]["key_name"]
        copied = cookie_of(client)
        assert 204 == (await client.delete("/v1/session")).status_code
        assert name_of(client) not in client.cookies
        assert 401 == (await client.get("/v1/tasks", headers=copied)).status_code
        assert 204 == (await client.delete("/v1/session")).status_code


async def test_scripts_and_other_sites_cannot_use_the_cookie(api: Serving) -> None:  # noqa: F811
    """It is HttpOnly and SameSite=Strict, for all paths, and Secure where the page came by https."""
    async with browser(api) as client:
        plain = await client.post("/v1/session", json={"key": ROOT_KEY})
        secure = await client.post("/v1/session", json={"key": ROOT_KEY}, headers={"Origin": "https://tasks.example"})
    for answer, is_secure in ((plain, False), (secure, True)):
        name, *flags = answer.headers["Set-Cookie"].split("; ")
        assert name.startswith(f"{name_of(client)}=tps_")
        always = {"Path=/", "HttpOnly", "SameSite=Strict", "Max-Age=43200"}
        assert always | ({"Secure"} if is_secure else set()) == {*flags}
        assert "no-store" == answer.headers["Cache-Control"]


async def test_redis_does_not_tell_how_to_be_somebody(api: Serving, store: Store) -> None:  # noqa: F811
    """Neither the cookie nor the key can be read there."""
    async with signed_in(api, ROOT_KEY) as client:
        token = client.cookies[name_of(client)]
    found = [name async for name in store.client.scan_iter("*session:*")]
    assert 1 == len(found)
    kept = found[0] + await store.client.get(found[0])
    assert token.encode() not in kept
    assert ROOT_KEY.encode() not in kept
    assert 0 < await store.client.pttl(found[0]) <= 12 * 3_600_000


async def test_what_opens_nothing_signs_nobody_in(api: Serving) -> None:  # noqa: F811
    """What is wrong is said, and no cookie is set."""
    key = await made(api, "tasks:read")
    await api.http.delete(f"/v1/keys/{key['id']}")
    wrong = ((key["key"], "was revoked"), ("wrong", "this is no API key"), (key["key"][:-1], "not the whole"))
    async with browser(api) as client:
        for given, detail in wrong:
            answer = await client.post("/v1/session", json={"key": given})
            assert (401, True) == (answer.status_code, detail in answer.json()["detail"])
            assert "Set-Cookie" not in answer.headers
        slip = await client.post("/v1/session", json={"key": ""})
        assert (422, "/key") == (slip.status_code, slip.json()["errors"][0]["pointer"])
        assert 401 == (await client.get("/v1/session")).status_code


async def test_where_nobody_is_asked_everybody_is_signed_in(redis_url: str, store: Store) -> None:
    """Before the first key a page need not ask for one."""
    async with serving(redis_url) as open_to_all, browser(open_to_all) as client:
        assert ("anybody", "admin", False) == shown(await client.get("/v1/session"))
        answer = await client.post("/v1/session", json={"key": "any"})
        assert ("anybody", "admin", False) == shown(answer)
        assert "Set-Cookie" not in answer.headers


def shown(answer: httpx.Response) -> tuple[str, str, bool]:
    who: dict[str, Any] = answer.json()
    return who["key_id"], who["role"], who["is_signed_in"]


# ---------------------------------------------------------------- other pages


OTHER_PAGES = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Referer": "https://evil.example/page"},
    {},
]


@pytest.mark.parametrize("headers", OTHER_PAGES, ids=str)
async def test_another_page_changes_nothing(api: Serving, headers: dict[str, str]) -> None:  # noqa: F811
    """Though the browser adds the cookie: every operation that changes something refuses, and signing out does."""
    async with signed_in(api, ROOT_KEY) as client:
        cookie = cookie_of(client)
    async with httpx.AsyncClient(base_url=api.http.base_url, headers={**cookie, **headers}, trust_env=False) as page:
        for path, method, operation in operations():
            if operation["security"] and scope_of(method, path).endswith(":write"):
                answer = await page.request(method, place(path))
                assert (403, "/problems/forbidden") == (answer.status_code, answer.json()["type"]), (method, path)
        assert 403 == (await page.delete("/v1/session")).status_code


@pytest.mark.parametrize("name", ["Origin", "Referer"])
async def test_browsers_without_fetch_metadata_act_too(api: Serving, name: str) -> None:  # noqa: F811
    """By plain http beyond this machine, where they say no more than where the page came from."""
    async with signed_in(api, ROOT_KEY) as client:
        del client.headers["Sec-Fetch-Site"]
        mine = {name: f"http://127.0.0.1:{api.port}" + ("/ui/" if name == "Referer" else "")}
        assert 201 == (await client.post("/v1/tasks", json=ADD, headers=mine)).status_code
        assert 200 == (await client.get("/v1/tasks")).status_code


async def test_another_page_neither_reads_nor_signs_anybody_in(api: Serving) -> None:  # noqa: F811
    """Nobody works under a key that a foreign page chose, and none reads by the cookie."""
    async with signed_in(api, ROOT_KEY) as client:
        for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
            assert 403 == (await client.get("/v1/tasks", headers=foreign)).status_code
            assert 403 == (await client.get("/v1/session", headers=foreign)).status_code
            assert 403 == (await client.post("/v1/session", json={"key": ROOT_KEY}, headers=foreign)).status_code


async def test_the_cookie_is_no_key(api: Serving) -> None:  # noqa: F811
    """What was read out of a browser cannot be brought where keys are, past the look at who asks."""
    async with signed_in(api, ROOT_KEY) as client:
        await client.get("/v1/tasks")
        bearing = {"Authorization": f"Bearer {client.cookies[name_of(client)]}"}
        assert 401 == (await client.get("/v1/tasks", headers=bearing)).status_code


# ---------------------------------------------------------------- its end


async def test_it_ends_with_its_key(api: Serving, redis_url: str) -> None:  # noqa: F811
    """A key that is revoked ends its sessions within seconds, on all processes and on streams under way."""
    key = await made(api, role="reader")
    async with serving(redis_url, api_key="another") as other, signed_in(api, key["key"]) as client:
        elsewhere = {"Cookie": f"taskpost_session_{other.port}={client.cookies[name_of(client)]}"}
        there = httpx.AsyncClient(base_url=other.http.base_url, headers=elsewhere, trust_env=False)
        assert 200 == (await there.get("/v1/tasks")).status_code
        async with following(client) as events:
            assert 200 == (await api.http.delete(f"/v1/keys/{key['id']}")).status_code
            assert ["expired"] == [event.data["reason"] for event in await events.rest() if event.kind == "closing"]
        for one in (client, there):

            async def is_out(one: httpx.AsyncClient = one) -> bool:
                return (await one.get("/v1/tasks")).status_code == 401

            await until_async(is_out, "it is signed out")
        await there.aclose()


async def test_it_ends_in_time(api: Serving, store: Store) -> None:  # noqa: F811
    """With the key, if that ends earlier than twelve hours from now; then Redis forgets it."""
    key = await made(api, role="reader", expires_in_seconds=100)
    async with signed_in(api, key["key"]) as client:
        assert key["expires_at"] == (await client.get("/v1/session")).json()["expires_at"]
        [name] = [name async for name in store.client.scan_iter("*session:*")]
        await store.client.pexpire(name, 1)

        async def is_out() -> bool:
            return (await client.get("/v1/tasks")).status_code == 401

        await until_async(is_out, "it has ended")


async def test_the_operators_ends_when_their_key_changes(api: Serving, redis_url: str) -> None:  # noqa: F811
    """A process with another TASKPOST_API_KEY, or with none, does not take it."""
    async with signed_in(api, ROOT_KEY) as client:
        cookie = cookie_of(client)
    for settings in ({"api_key": "another"}, {"require_keys": True}):
        async with serving(redis_url, **settings) as other, browser(other) as client:
            assert 401 == (await client.get("/v1/tasks", headers=cookie)).status_code
            assert 401 == (await client.get("/v1/session", headers=cookie)).status_code


async def test_a_rate_holds_for_it_too(api: Serving) -> None:  # noqa: F811
    """It is the same key."""
    key = await made(api, role="reader", rate_limit={"requests": 2, "window_seconds": 3600})
    async with signed_in(api, key["key"]) as client:
        assert [200, 200, 429] == [(await client.get("/v1/tasks")).status_code for _ in range(3)]


# ---------------------------------------------------------------- streams, roles


async def test_events_are_followed_by_cookie(api: Serving) -> None:  # noqa: F811
    """By EventSource and by WebSocket, which cannot send a key; a WebSocket of another page is refused."""
    async with signed_in(api, (await made(api, role="reader"))["key"]) as client:
        async with following(client) as events:
            task = await api.submitted(ADD)
            assert task["id"] == (await events.next()).data["id"]
        cookie = cookie_of(client)
        async with opened(api, additional_headers=cookie, origin=f"http://127.0.0.1:{api.port}") as ws:
            task = await api.submitted(ADD)
            assert task["id"] == (await heard(ws)).data["id"]
            await client.delete("/v1/session")
            assert (1008, "expired") == await closed(ws)
    assert (403, "/problems/forbidden") == await refused(api, additional_headers=cookie, origin="https://evil.example")
    assert (401, "/problems/unauthorized") == await refused(api, additional_headers=cookie)


async def test_a_reader_sees_and_an_operator_acts(api: Serving) -> None:  # noqa: F811
    """What a role does not allow is refused with the scope that it needs."""
    reader, operator = await made(api, role="reader"), await made(api, "secrets:read", role="operator")
    assert ("reader", ["reader"]) == (reader["role"], reader["scopes"])
    assert (None, ["operator", "secrets:read"]) == (operator["role"], operator["scopes"])
    async with signed_in(api, reader["key"]) as sees, signed_in(api, operator["key"]) as acts:
        assert 200 == (await sees.get("/v1/queues")).status_code
        assert "tasks:write" == (await sees.post("/v1/tasks", json=ADD)).json()["scope"]
        assert 201 == (await acts.post("/v1/tasks", json=ADD)).status_code
        assert 200 == (await acts.get("/v1/secrets")).status_code
        assert "keys:read" == (await acts.get("/v1/keys")).json()["scope"]


async def test_a_key_needs_a_role_or_scopes(api: Serving) -> None:  # noqa: F811
    """And a role that there is."""
    for given, pointer in (({}, "/scopes"), ({"role": "owner"}, "/role")):
        answer = await api.http.post("/v1/keys", json={"name": "n", **given})
        assert (422, pointer) == (answer.status_code, answer.json()["errors"][0]["pointer"])


