"""`GET /v1/stats` and `GET /v1/overview`: what tasks did, and how everything is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.contract import validator_of
from service.ids import new_ids
from service.slow import SlowAttempt
from service.store import Store
from service.task import rfc3339
from tests.api.serving import ADD, Serving
from tests.api.test_workers import announced
from tests.servers import Server
from tests.store.acting import Worker

MINUTE_MS = 60_000


async def stats(api: Serving, **query: Any) -> dict[str, Any]:
    """The statistics, which are as the contract says."""
    answer = await api.http.get("/v1/stats", params=query)
    assert 200 == answer.status_code, answer.text
    shown: dict[str, Any] = answer.json()
    assert [] == [str(fault) for fault in validator_of("Stats").iter_errors(shown)]
    return shown


async def worked(api: Serving, worker: Worker) -> None:
    """Three tasks of the queue `mail` succeeded, one failed, and one of `default` waits."""
    for _ in range(4):
        await api.submitted({**ADD, "queue": "mail"})
    await api.submitted(ADD)
    one, *others = await worker.lease(queue="mail")
    await worker.fail(one)
    await worker.succeed(*others)


async def test_the_last_hour_is_told_by_the_minute(api: Serving, worker: Worker) -> None:
    """In all, step by step, by queue and by name; a queue that holds something is there, whatever came of it."""
    await worked(api, worker)
    shown = await stats(api)
    assert 60.0 == shown["step_seconds"]
    assert 61 >= len(shown["series"]) >= 60
    told = shown["totals"]
    assert (5, 4, 3, 1, 0.25) == tuple(told[n] for n in ("submitted", "started", "succeeded", "failed", "error_rate"))
    assert (4, 4) == (told["wait"]["count"], told["run"]["count"])
    assert [("mail", 0), ("default", 1)] == [(queue["name"], queue["queued"]) for queue in shown["queues"]]
    assert [("demo.add", 3)] == [(one["name"], one["figures"]["succeeded"]) for one in shown["names"]]
    assert [{"type": "ValueError", "count": 1}] == shown["errors"] == shown["failing"][0]["errors"]
    assert 5 == sum(point["figures"]["submitted"] for point in shown["series"])


async def test_one_queue_or_name_is_told_alone(api: Serving, worker: Worker) -> None:
    """What is not counted by name reads as unknown, not as nothing."""
    await worked(api, worker)
    of_queue = await stats(api, queue="mail", top=1)
    assert ([4], 4) == ([one["figures"]["submitted"] for one in of_queue["queues"]], of_queue["totals"]["submitted"])
    of_name = await stats(api, name="demo.add")
    told = of_name["totals"]
    assert (None, 4, 3, 4) == (told["submitted"], told["started"], told["succeeded"], told["wait"]["count"])
    assert {None} == {point["queued"] for point in of_name["series"]}
    assert 0 == (await stats(api, name="nobody"))["totals"]["succeeded"]


async def test_the_depth_of_queues_is_told_over_time(api: Serving, store: Store, worker: Worker) -> None:
    """As the scheduler saw it; before somebody looked it is unknown."""
    await worked(api, worker)
    await asyncio.gather(*map(store.statistics.gauge, range(store.shards)))
    seen = [point["queued"] for point in (await stats(api))["series"]]
    assert None is seen[0]
    assert 1 in seen[-2:]


@pytest.mark.parametrize(
    ("query", "steps", "seconds"),
    [
        ({"last_seconds": 3600, "step_seconds": 600}, (6, 7), 600),
        ({"last_seconds": 6 * 3600}, (36, 37), 600),
        ({"last_seconds": 6 * 3600, "step_seconds": 60}, (36, 37), 600),
        ({"last_seconds": 86400}, (24, 145), None),
        ({"last_seconds": 604800}, (168, 169), 3600),
        ({"last_seconds": 604800, "step_seconds": 86400}, (7, 8), 86400),
    ],
)
async def test_steps_are_as_long_as_what_is_kept(
    api: Serving, query: dict[str, int], steps: tuple[int, int], seconds: int | None
) -> None:
    """A finer one than that is rounded up; few enough to be drawn."""
    shown = await stats(api, **query)
    assert steps[0] <= len(shown["series"]) <= steps[1]
    assert seconds in (None, shown["step_seconds"])
    assert shown["begins_at"] == shown["series"][0]["begins_at"]


async def test_a_time_may_be_named(api: Serving, store: Store, worker: Worker) -> None:
    """By both ends, with any offset; the future and what is over for a week are left out."""
    await worked(api, worker)
    now_ms = store.tasks.clock.now_ms()
    begin = rfc3339(now_ms - 5 * MINUTE_MS)
    shown = await stats(api, **{"from": begin.replace("Z", "+00:00"), "to": rfc3339(now_ms + 3_600_000)})
    assert 5 == shown["totals"]["submitted"]
    assert 6 >= len(shown["series"]) >= 5
    before = await stats(api, **{"from": rfc3339(now_ms - 20 * MINUTE_MS), "to": rfc3339(now_ms - 10 * MINUTE_MS)})
    assert 0 == before["totals"]["submitted"]
    assert 168 <= len((await stats(api, **{"from": "2001-01-01T00:00:00Z"}))["series"]) <= 169


async def test_every_fault_of_the_query_is_named(api: Serving, store: Store) -> None:
    """Those that a schema sees, and those that it does not."""
    answer = await api.http.get("/v1/stats", params={"from": "yesterday", "top": 0, "stepp": 1})
    assert ["from", "top", "stepp"] == [fault["parameter"] for fault in answer.json()["errors"]]
    now = rfc3339(store.tasks.clock.now_ms())
    several = {"from": now, "last_seconds": 60, "step_seconds": 90}
    answer = await api.http.get("/v1/stats", params=several)
    assert 422 == answer.status_code
    assert ["last_seconds", "step_seconds"] == [fault["parameter"] for fault in answer.json()["errors"]]
    for wrong in ({"from": "9999-01-01T00:00:00Z"}, {"to": "2001-01-01T00:00:00Z"}, {"from": now, "to": now}):
        answer = await api.http.get("/v1/stats", params=wrong)
        assert (422, "from") == (answer.status_code, answer.json()["errors"][0]["parameter"])


async def overview(api: Serving) -> dict[str, Any]:
    answer = await api.http.get("/v1/overview")
    assert 200 == answer.status_code, answer.text
    shown: dict[str, Any] = answer.json()
    assert [] == [str(fault) for fault in validator_of("Overview").iter_errors(shown)]
    return shown


async def test_an_overview_tells_how_everything_is(
    api: Serving, store: Store, worker: Worker, redis_server: Server
) -> None:
    """Tasks, queues with the oldest first, Redis; and that nobody works."""
    await worked(api, worker)
    await api.submitted({**ADD, "queue": "mail", "delay_seconds": 60})
    shown = await overview(api)
    assert (1, 1, 0) == tuple(shown["tasks"][word] for word in ("queued", "scheduled", "running"))
    assert 0 <= shown["tasks"]["oldest_seconds"] == shown["queues"][0]["oldest_seconds"]
    assert ["default", "mail"] == [queue["name"] for queue in shown["queues"]]
    assert (1, False, False) == (shown["redis"]["servers"], shown["redis"]["is_append_only"], shown["redis"]["evicts"])
    assert shown["redis"]["used_bytes"] > 0
    assert ["appendonly yes", "taskpost worker"] == [text.rpartition(": ")[2] for text in shown["warnings"]]


async def test_an_overview_sums_up_the_workers(api: Serving, store: Store) -> None:
    """And says whose queue none of them serves."""
    await announced(store)
    await announced(store, "web-2-7-000000", "quiet")
    await api.submitted({**ADD, "queue": "mail"})
    shown = await overview(api)
    assert {"live": 2, "quiet": 1, "running": 2} == {n: shown["workers"][n] for n in ("live", "quiet", "running")}
    assert 200 == shown["workers"]["slots"]["async"]
    assert 1 == len(shown["warnings"])


async def test_settings_of_redis_that_lose_tasks_are_named(api: Serving, redis_server: Server) -> None:
    """With the setting that mends it."""
    redis_server.admin.config_set("maxmemory-policy", "allkeys-lru")
    redis_server.admin.config_set("maxmemory", "64mb")
    try:
        shown = await overview(api)
        assert shown["redis"]["evicts"]
        assert 64 << 20 == shown["redis"]["most_bytes"]
        assert [text for text in shown["warnings"] if "noeviction" in text]
    finally:
        redis_server.admin.config_set("maxmemory-policy", "noeviction")
        redis_server.admin.config_set("maxmemory", "0")


def slow_attempt(store: Store, run_ms: float, **given: Any) -> SlowAttempt:
    now_ms = store.tasks.clock.now_ms()
    known: dict[str, Any] = {"name": "demo.add", "queue": "mail", "outcome": "succeeded", "ended_ms": now_ms}
    return SlowAttempt(
        id=new_ids(0, 1, now_ms)[0], attempt=1, worker="w", threshold_ms=500.0, run_ms=run_ms, **(known | given)
    )


async def test_the_slowest_attempts_are_told_with_where_their_time_went(api: Serving, store: Store) -> None:
    """The slowest first, by queue, name and time, of the caller's namespace alone; and how many there were."""
    endpoint = "https:api.example.com"
    old_ms = store.tasks.clock.now_ms() - 3 * 3_600_000
    calls = [0.1, 2.0, None, 700.0, 1.0, 703.1]
    rows = [
        ("default", slow_attempt(store, 900.0, wait_ms=12, hold_ms=0.5, busy_ms=41.25, report_ms=1)),
        ("default", slow_attempt(store, 703.1, name=endpoint, queue="default", call=calls)),
        ("default", slow_attempt(store, 5000.0, ended_ms=old_ms)),
        ("globex", slow_attempt(store, 9000.0, name="theirs")),
    ]
    await store.slow.tell("s", 1, rows, {b"L\x1fmail\x01demo.add": 4, b"L\x1fglobex/mail\x01theirs": 1})

    async def told(**query: Any) -> list[tuple[str, float]]:
        answer = await api.http.get("/v1/stats/slow", params=query)
        assert 200 == answer.status_code, answer.text
        assert [] == [str(fault) for fault in validator_of("SlowAttemptList").iter_errors(answer.json())]
        return [(one["name"], one["run_seconds"]) for one in answer.json()["items"]]

    assert [("demo.add", 0.9), (endpoint, 0.7031)] == await told()
    assert [("demo.add", 5.0), ("demo.add", 0.9)] == await told(last_seconds=86_400, name="demo.add")
    assert [("demo.add", 5.0)] == await told(last_seconds=604_800, top=1)
    assert [(endpoint, 0.7031)] == await told(queue="default")
    assert [("demo.add", 5.0)] == await told(to=rfc3339(old_ms + MINUTE_MS), **{"from": rfc3339(old_ms - MINUTE_MS)})
    first, second = (await api.http.get("/v1/stats/slow")).json()["items"]
    assert (0.012, 0.0005, 0.04125, 0.001) == tuple(first[f"{n}_seconds"] for n in ("wait", "hold", "busy", "report"))
    assert ("times" in first, 700.0) == (False, second["times"]["first_byte_ms"])
    shown = await stats(api)
    assert (4, 4) == (shown["totals"]["slow"], shown["names"][0]["figures"]["slow"])
    answer = await api.http.get("/v1/stats/slow", params={"from": "yesterday", "step_seconds": 60, "top": 0})
    assert (422, 3) == (answer.status_code, len(answer.json()["errors"]))
