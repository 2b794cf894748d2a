"""`/v1/flows` and the groups of queues: limits over the API, and what tasks say of their keys."""

from __future__ import annotations

from typing import Any

import pytest

from service.ids import decode_id
from service.store import Store
from tests.api.serving import ADD, Serving, handler, publish, serving
from tests.servers import Server
from tests.store.acting import Worker

KEY = "api.example.com"


async def flow(api: Serving, key: str = KEY) -> dict[str, Any]:
    answer = await api.http.get(f"/v1/flows/{key}")
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def patched(api: Serving, change: dict[str, Any], key: str = KEY) -> dict[str, Any]:
    answer = await api.http.patch(f"/v1/flows/{key}", json=change)
    assert 200 == answer.status_code, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def explained(api: Serving, id_: str) -> dict[str, str]:
    told = (await api.http.get(f"/v1/tasks/{id_}/explain")).json()
    return {reason["kind"]: reason["detail"] for reason in told["reasons"]}


async def test_a_submission_sets_the_limits_of_its_key(api: Serving) -> None:
    """The task shows what it was submitted with, the key what is in force."""
    limits = {"key": KEY, "concurrency": 5, "rate": 100, "period_seconds": 60}
    task = await api.submitted({**ADD, "flow": limits, "group": "tenant-1"})
    assert (limits, "tenant-1") == (task["flow"], task["group"])
    assert task == await api.read(task["id"])
    expected = {
        "key": KEY, "concurrency": 5, "rate": 100, "period_seconds": 60.0, "burst": 1, "paused": False, "pinned": False,
        "running": 0, "waiting": 1, "next_at": None,
    }  # fmt: skip
    assert expected == await flow(api)


async def test_whole_numbers_may_be_written_with_a_point(api: Serving) -> None:
    """JSON has one kind of number."""
    task = await api.submitted({**ADD, "flow": {"key": KEY, "concurrency": 2.0}})
    assert "2" == str(task["flow"]["concurrency"])


@pytest.mark.parametrize(
    ("flow_of_task", "pointer"),
    [
        ({}, "/flow"),
        ({"key": "a b"}, "/flow/key"),
        ({"key": "k", "concurrency": 0}, "/flow/concurrency"),
        ({"key": "k", "burst": 2}, "/flow/burst"),
        ({"key": "k", "period_seconds": 2}, "/flow/period_seconds"),
        ({"key": "k", "concurency": 2}, "/flow/concurency"),
    ],
)
async def test_limits_that_make_no_sense_are_refused(api: Serving, flow_of_task: Any, pointer: str) -> None:
    """Each fault where it stands; for handlers and URLs."""
    for target in (ADD, {"url": "https://example.com/x"}):
        answer = await api.post({**target, "flow": flow_of_task})
        assert 422 == answer.status_code
        assert [pointer] == [fault["pointer"] for fault in answer.json()["errors"]]


async def test_a_key_is_changed_paused_and_pinned(api: Serving) -> None:
    """Before its first task, too; null takes a limit away, and with the rate what belongs to it."""
    assert 404 == (await api.http.get(f"/v1/flows/{KEY}")).status_code
    shown = await patched(api, {"concurrency": 3, "pinned": True})
    assert (3, True) == (shown["concurrency"], shown["pinned"])
    await api.submitted({**ADD, "flow": {"key": KEY, "concurrency": 9}})
    assert 3 == (await flow(api))["concurrency"]
    shown = await patched(api, {"rate": 5, "burst": 2, "concurrency": None, "paused": True})
    assert (5, 2, 1.0, None, True) == tuple(
        shown[name] for name in ("rate", "burst", "period_seconds", "concurrency", "paused")
    )
    shown = await patched(api, {"rate": None})
    assert (None, None, None) == tuple(shown[name] for name in ("rate", "burst", "period_seconds"))
    assert 1 == (await patched(api, {"rate": 5}))["burst"]


async def test_a_change_that_cannot_be_is_refused(api: Serving) -> None:
    """What belongs to a rate needs one; unknown fields and bad values are named; no key has such a name."""
    for change in ({"burst": 2}, {"concurrency": 0}, {"limit": 1}, {"paused": None}):
        answer = await api.http.patch(f"/v1/flows/{KEY}", json=change)
        assert 422 == answer.status_code, change
        assert [f"/{next(iter(change))}"] == [fault["pointer"] for fault in answer.json()["errors"]]
    assert 404 == (await api.http.patch("/v1/flows/a b", json={"paused": True})).status_code
    assert 404 == (await api.http.post("/v1/flows/nobody/reset")).status_code
    assert 400 == (await api.http.patch(f"/v1/flows/{KEY}", content=b"{")).status_code
    plain = {"content-type": "text/plain"}
    assert 415 == (await api.http.patch(f"/v1/flows/{KEY}", content=b"{}", headers=plain)).status_code
    assert 413 == (await api.http.patch(f"/v1/flows/{KEY}", content=b" " * 2_000_000)).status_code


async def test_keys_are_listed_in_pages(api: Serving) -> None:
    """By name; a cursor of another list is refused."""
    for n in range(5):
        await api.submitted({**ADD, "flow": {"key": f"k{n}"}})
    seen, cursor = [], ""
    while cursor is not None:
        page = (await api.http.get("/v1/flows", params={"limit": 2, **({"cursor": cursor} if cursor else {})})).json()
        seen += [one["key"] for one in page["items"]]
        cursor = page["next_cursor"]
    assert [f"k{n}" for n in range(5)] == seen
    assert 422 == (await api.http.get("/v1/flows", params={"cursor": "name:x"})).status_code


async def test_explain_tells_what_a_key_holds_back(api: Serving, store: Store) -> None:
    """Full, with who holds it; paused; ahead of its rate: each goes with its cause."""
    worker = Worker(store)
    first, second = [await api.submitted({**ADD, "flow": {"key": KEY, "concurrency": 1}}) for _ in range(2)]
    [held] = await worker.lease()
    assert decode_id(first["id"]) == held.id
    told = (await explained(api, second["id"]))["flow-full"]
    assert f"1 of 1, {first['id']}." in told
    await patched(api, {"paused": True})
    assert {"flow-full", "flow-paused"} <= set(await explained(api, second["id"]))
    await patched(api, {"paused": False, "concurrency": None})
    assert not {"flow-full", "flow-paused"} & set(await explained(api, second["id"]))
    await patched(api, {"rate": 1, "period_seconds": 3600})
    [_] = await worker.lease()
    third = await api.submitted({**ADD, "flow": {"key": KEY}})
    assert "in 59 min" in (await explained(api, third["id"]))["flow-rate"]
    assert (await flow(api))["next_at"] is not None
    assert 200 == (await api.http.post(f"/v1/flows/{KEY}/reset")).status_code
    assert "flow-rate" not in await explained(api, third["id"])


async def test_groups_are_listed_and_weighed(api: Serving, store: Store) -> None:
    """And a task says with how many others its group takes turns."""
    ids = [(await api.submitted({**ADD, "group": group}))["id"] for group in ("a", "a", "b")]
    shown = (await api.http.patch("/v1/queues/default/groups/a", json={"weight": 3})).json()
    assert {"name": "a", "weight": 3, "tasks": 2} == shown
    listed = (await api.http.get("/v1/queues/default/groups")).json()["items"]
    assert [shown, {"name": "b", "weight": 1, "tasks": 1}] == listed
    assert "takes turns with another" in (await explained(api, ids[1]))["group-turn"]
    assert 1 == (await api.http.patch("/v1/queues/default/groups/a", json={"weight": None})).json()["weight"]
    await Worker(store).lease()
    assert "group-turn" not in await explained(api, ids[1])


async def test_weights_that_cannot_be_are_refused(api: Serving) -> None:
    """And names that no group or queue can have."""
    path = "/v1/queues/default/groups/a"
    assert 422 == (await api.http.patch(path, json={"weight": 0})).status_code
    assert 404 == (await api.http.patch("/v1/queues/default/groups/a b", json={"weight": 2})).status_code
    assert 404 == (await api.http.patch("/v1/queues/a b/groups/a", json={"weight": 2})).status_code
    assert 400 == (await api.http.patch(path, content=b"{")).status_code
    assert 415 == (await api.http.patch(path, content=b"{}", headers={"content-type": "text/plain"})).status_code
    assert 413 == (await api.http.patch(path, content=b" " * 2_000_000)).status_code


async def test_tasks_are_found_by_group_and_key(api: Serving) -> None:
    """Also among queued ones, where they wait in lines of their own, page by page."""
    ids = []
    for n in range(6):
        tied: dict[str, Any] = {"group": "g"} if n % 2 else {"flow": {"key": KEY}}
        ids.append((await api.submitted({**ADD, **tied}))["id"])
    plain = (await api.submitted(ADD))["id"]

    async def found(**query: Any) -> set[str]:
        seen: list[str] = []
        cursor = None
        while True:
            asked = {**query, "limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await api.http.get("/v1/tasks", params=asked)).json()
            seen += [one["id"] for one in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                assert len(seen) == len(set(seen))
                return set(seen)

    assert {*ids, plain} == await found(state="queued")
    assert set(ids[1::2]) == await found(group="g") == await found(group="g", state="queued")
    assert set(ids[::2]) == await found(flow=KEY) == await found(flow=KEY, state="queued")


async def test_a_replay_keeps_its_key_and_group(api: Serving, store: Store) -> None:
    """It is held to the same limits as the first time."""
    task = await api.submitted({**ADD, "flow": {"key": KEY, "concurrency": 1}, "group": "g"})
    worker = Worker(store)
    await worker.succeed(*await worker.lease())
    again = (await api.http.post(f"/v1/tasks/{task['id']}/replay")).json()
    assert (task["flow"], "g") == (again["flow"], again["group"])
    assert 1 == (await flow(api))["waiting"]


async def test_a_replay_leaves_the_limits_of_its_key(api: Serving, store: Store) -> None:
    """What was named long ago counts only where nothing is known of the key."""
    task = await api.submitted({**ADD, "flow": {"key": KEY, "concurrency": 1}})
    worker = Worker(store)
    await worker.succeed(*await worker.lease())
    await patched(api, {"concurrency": 7})
    assert 201 == (await api.http.post(f"/v1/tasks/{task['id']}/replay")).status_code
    assert 7 == (await flow(api))["concurrency"]


async def test_tasks_of_a_schedule_have_its_key(api: Serving, store: Store) -> None:
    """They are held to the limits that the schedule names."""
    task = {**ADD, "flow": {"key": KEY, "concurrency": 1}, "group": "g"}
    schedule = {"name": "s", "cron": "@yearly", "task": task}
    assert 201 == (await api.http.post("/v1/schedules", json=schedule)).status_code
    for _ in range(2):
        assert "g" == (await api.http.post("/v1/schedules/s/run")).json()["group"]
    assert 1 == len(await Worker(store).lease())
    shown = await flow(api)
    assert (1, 1, 1) == (shown["concurrency"], shown["running"], shown["waiting"])


async def test_a_schedule_has_no_key_where_its_limits_would_not_hold(redis_server: Server) -> None:
    """With several shards the key and the schedule may live in different ones; that is said, and why."""
    async with serving(redis_server.url, shards=2, accept_unknown_handlers=True) as api:
        schedule = {"name": "s", "cron": "@yearly", "task": {**ADD, "flow": {"key": KEY}}}
        answer = await api.http.post("/v1/schedules", json=schedule)
        assert (422, "/task/flow") == (answer.status_code, answer.json()["errors"][0]["pointer"])


# ---------------------------------------------------------------- what handlers say

SHARING = {
    **handler("crm.sync", customer="integer"),
    "flow": {"key": "crm:{customer}", "concurrency": 2}, "group": "c-{customer}", "unique": {"by": ["customer"]},
}  # fmt: skip


async def test_a_handler_says_what_its_tasks_share(api: Serving, store: Store) -> None:
    """The task shows it, and limits and turns are kept."""
    await publish(store, [SHARING])
    task = await api.submitted({"name": "crm.sync", "args": {"customer": 7}})
    shown = ({"key": "crm:7", "concurrency": 2}, "c-7", {"by": ["customer"]})
    assert shown == (task["flow"], task["group"], task["unique"])
    assert task == await api.read(task["id"])
    assert (2, 1) == ((await flow(api, "crm:7"))["concurrency"], (await flow(api, "crm:7"))["waiting"])
    again = await api.post({"name": "crm.sync", "args": {"customer": 7}})
    assert (200, task["id"]) == (again.status_code, again.json()["id"])
    other = await api.submitted({"name": "crm.sync", "args": {"customer": 7}, "flow": {"key": KEY}, "unique": {}})
    assert (KEY, "c-7") == (other["flow"]["key"], other["group"])


async def test_a_batch_takes_what_its_handlers_say(api: Serving, store: Store) -> None:
    """Each task its own; and an idempotency key is of what was sent."""
    await publish(store, [SHARING])
    tasks = [{"name": "crm.sync", "args": {"customer": n}, "idempotency_key": f"k{n}"} for n in range(2)]
    for status in (201, 200):
        rows = (await api.http.post("/v1/tasks/batch", json=tasks)).json()
        assert [(status, "crm:0"), (status, "crm:1")] == [(row["status"], row["task"]["flow"]["key"]) for row in rows]


async def test_arguments_that_make_no_key_are_refused(api: Serving, store: Store) -> None:
    """422, with the argument; where arguments alone are sent, at its place there."""
    await publish(store, [{**handler("crm.sync"), "args_schema": {"type": "object"}, "flow": {"key": "{customer}"}}])
    answer = await api.post({"name": "crm.sync", "args": {"customer": "a b"}})
    assert (422, ["/args/customer"]) == (answer.status_code, [one["pointer"] for one in answer.json()["errors"]])
    answer = await api.http.post("/v1/handlers/crm.sync/tasks", json={})
    assert (422, ["/customer"]) == (answer.status_code, [one["pointer"] for one in answer.json()["errors"]])


async def test_what_a_handler_shares_is_listed(api: Serving, store: Store) -> None:
    """As it declares it."""
    await publish(store, [SHARING])
    listed = (await api.http.get("/v1/handlers")).json()["items"]
    assert SHARING["flow"] == next(one["flow"] for one in listed if one["name"] == "crm.sync")


async def test_tasks_of_a_schedule_have_the_key_of_their_handler(api: Serving, store: Store) -> None:
    """With one shard; `overlap` is their unique key. With more they live elsewhere, and the schedule is refused."""
    await publish(store, [SHARING])
    definition = {"every_seconds": 3600, "task": {"name": "crm.sync", "args": {"customer": 7}}}
    answer = await api.http.put("/v1/schedules/hourly", json=definition)
    if store.shards > 1:
        assert (422, "/task/name") == (answer.status_code, answer.json()["errors"][0]["pointer"])
        return
    assert 201 == answer.status_code, answer.text
    run = (await api.http.post("/v1/schedules/hourly/run")).json()
    task = await api.read(run["task_id"] if "task_id" in run else run["id"])
    assert ("crm:7", "c-7", None) == (task["flow"]["key"], task["group"], task.get("unique"))
    assert 2 == (await flow(api, "crm:7"))["concurrency"]
