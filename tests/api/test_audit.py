"""`GET /v1/audit`: who changed what, and what is never kept of it."""

from __future__ import annotations

import pytest

from service.api import sessions
from service.api.refusals import MOST_A_MINUTE
from service.store import Store, keys
from tests.api.serving import ADD, Serving
from tests.api.test_keys import api, holder, made  # noqa: F401
from tests.api.test_sessions import browser


async def test_changes_are_noted_with_who_made_them(api: Serving) -> None:  # noqa: F811
    """Also those that were refused; reading and submitting are not."""
    async with holder(api, "operator", name="ada") as client:
        task = (await client.post("/v1/tasks", json={**ADD, "delay_seconds": 1000})).json()
        await client.get(f"/v1/tasks/{task['id']}")
        await client.post(f"/v1/tasks/{task['id']}/cancel", headers={"X-Forwarded-For": "198.51.100.7"})
        await client.post(f"/v1/tasks/{task['id']}/run")
        items = (await client.get("/v1/audit")).json()["items"]
    assert [("runTask", 409, "ada"), ("cancelTask", 200, "ada"), ("createKey", 201, "operator")] == [
        (one["operation"], one["status"], one["key_name"]) for one in items
    ]
    cancelled = items[1]
    assert ("POST", f"/v1/tasks/{task['id']}/cancel") == (cancelled["method"], cancelled["path"])
    assert ("127.0.0.1", "198.51.100.7") == (cancelled["address"], cancelled["forwarded_for"])


async def test_it_is_read_page_by_page(api: Serving) -> None:  # noqa: F811
    """The newest first, each once; what is no cursor is refused."""
    for number in range(5):
        await made(api, "reader", name=f"key {number}")
    seen, cursor = [], None
    while True:
        page = (await api.http.get("/v1/audit", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))).json()
        seen += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert 5 == len(seen)
    assert sorted(seen, key=lambda one: str(one["at"]), reverse=True) == seen
    assert 422 == (await api.http.get("/v1/audit", params={"cursor": "elsewhere"})).status_code


async def test_who_signed_in_is_noted(
    api: Serving, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    """And who tried to, by the name of the key where there is one; so often that guessing drowns nothing else."""
    async with browser(api) as client:
        key, old = [await made(api, "reader", name=name, namespace="acme") for name in ("ada", "eve")]
        assert 201 == (await client.post("/v1/session", json={"key": key["key"]})).status_code
        assert 204 == (await client.delete("/v1/session")).status_code
        assert 200 == (await api.http.delete(f"/v1/keys/{old['id']}")).status_code
        monkeypatch.setattr(sessions, "monotonic", lambda: 0.0)
        for _ in range(MOST_A_MINUTE + 2):
            assert 401 == (await client.post("/v1/session", json={"key": old["key"]})).status_code
        monkeypatch.setattr(sessions, "monotonic", lambda: 60.0)
        assert 401 == (await client.post("/v1/session", json={"key": "no key"})).status_code
    async with holder(api, "admin", namespace="acme") as other:
        items = (await other.get("/v1/audit", params={"limit": 100})).json()["items"]
    assert [*[(401, "eve", old["id"])] * MOST_A_MINUTE, (201, "ada", key["id"])] == [
        (one["status"], one["key_name"], one["key_id"]) for one in items if one["operation"] == "createSession"
    ]
    items = (await api.http.get("/v1/audit")).json()["items"]
    assert [(401, "unknown", "127.0.0.1")] == [
        (one["status"], one["key_name"], one["address"]) for one in items if one["operation"] == "createSession"
    ]
    assert 1 == sum("more sign-ins are refused" in one.getMessage() for one in caplog.records)


async def test_a_namespace_has_its_own(api: Serving) -> None:  # noqa: F811
    """What others change is not told."""
    async with holder(api, "admin", namespace="acme") as client:
        assert [] == (await client.get("/v1/audit")).json()["items"]
        await client.patch("/v1/queues/mail", json={"max_length": 5})
        assert ["updateQueue"] == [one["operation"] for one in (await client.get("/v1/audit")).json()["items"]]
    assert "updateQueue" not in (await api.http.get("/v1/audit")).text


async def test_no_secret_is_kept(api: Serving, store: Store) -> None:  # noqa: F811
    """Neither a key nor what a body or a query says."""
    key = (await made(api, "secrets:*"))["key"]
    path = "/v1/endpoints/https:api.example.com/auth?note=hushhush"
    await api.http.put(path, json={"kind": "bearer", "token": "hushhush"})
    kept = repr(await store.client.xrange(keys.audit("default")))
    assert "hushhush" not in kept
    assert key[13:] not in kept
