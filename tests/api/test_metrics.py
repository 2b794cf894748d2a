"""`GET /metrics`: all of a deployment, whichever process is asked."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from service.api.metrics import MOST_NAMES
from service.store import Store, keys
from service.store.tallies import step_byte
from tests.api.serving import ADD, Serving, serving
from tests.api.test_keys import holder
from tests.api.test_workers import announced
from tests.servers import Server
from tests.store.acting import Worker, new

Samples = dict[str, dict[str, float]]
LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


async def metrics(api: Serving) -> Samples:
    """Name -> labels as they are written -> value."""
    answer = await api.http.get("/metrics")
    assert 200 == answer.status_code, answer.text
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    return samples_of(answer)


def samples_of(answer: httpx.Response) -> Samples:
    found: Samples = {}
    for line in answer.text.splitlines():
        if not line.startswith("#"):
            name, labels, value = LINE.fullmatch(line).groups()  # type: ignore[union-attr]
            assert (labels or "") not in found.setdefault(name, {}), line
            found[name][labels or ""] = float(value)
    return found


def total(samples: dict[str, float], **labels: str) -> float:
    """The sum over all series that have *labels*."""
    wanted = [f'{name}="{value}"' for name, value in labels.items()]
    return sum(value for text, value in samples.items() if all(one in text.split(",") for one in wanted))


async def until(claim: Callable[[], Any]) -> Any:
    """What *claim* answers, once that is true."""
    async with asyncio.timeout(60):
        while not (found := await claim()):
            await asyncio.sleep(0.05)
    return found


async def worked(api: Serving, worker: Worker) -> None:
    """Four tasks of `mail`: three succeeded, one failed; and one of `default` waits."""
    for _ in range(4):
        await api.submitted({**ADD, "queue": "mail"})
    await api.submitted(ADD)
    one, *others = await worker.lease(queue="mail")
    await worker.fail(one)
    await worker.succeed(*others)


async def test_tasks_and_queues_are_told(api: Serving, store: Store, worker: Worker) -> None:
    """Depth and age of queues, what came and ended, how long it waited and ran, and what of it was slow."""
    await worked(api, worker)
    await store.slow.tell("s", 1, [], {b"L\x1fmail\x01demo.add": 2})
    found = await metrics(api)
    assert 1 == total(found["taskpost_queue_tasks"], queue="default", state="queued")
    assert 0 == total(found["taskpost_queue_tasks"], queue="mail")
    assert 0 <= total(found["taskpost_queue_oldest_seconds"], queue="default") < 60
    assert 5 == total(found["taskpost_tasks_submitted_total"])
    assert 4 == total(found["taskpost_attempts_started_total"], queue="mail")
    ended = found["taskpost_tasks_ended_total"]
    assert (3, 1) == (total(ended, state="succeeded", name="demo.add"), total(ended, state="failed", queue="mail"))
    assert 2 == total(found["taskpost_attempts_slow_total"], queue="mail", name="demo.add")
    for name in ("schedule_to_start", "run"):
        buckets = found[f"taskpost_{name}_seconds_bucket"]
        assert 4 == total(buckets, le="+Inf") == total(found[f"taskpost_{name}_seconds_count"])
        assert 4 == total(buckets, le="2097.152", queue="mail")
    assert 1 == total(found["taskpost_dead_letters"]) == total(found["taskpost_redis_up"])
    assert 0 == total(found["taskpost_circuits_open"])


async def test_means_can_be_had_of_times(api: Serving, redis_server: Server, store: Store) -> None:
    """Sums are exact to a tenth, before and after their minute is added up; by queue and name."""
    minute, named = store.statistics.now_minute(), b"mail\x01slow"
    key = f"tp:{{0}}:stat:1:{minute}"
    counted = {(b"W", 700, b""): 3, (b"S", 90_000, b""): 2, (b"F", 1, b"\x01E"): 1}
    redis_server.admin.hset(key, mapping={
        letter + step_byte(ms) + named + error: many for (letter, ms, error), many in counted.items()
    })  # fmt: skip
    for _ in range(2):
        found = await metrics(api)
        [(labels, waited)] = found["taskpost_schedule_to_start_seconds_sum"].items()
        assert 'namespace="default",queue="mail",name="slow"' == labels
        assert pytest.approx(2.1, rel=0.1) == waited
        assert pytest.approx(180, rel=0.1) == total(found["taskpost_run_seconds_sum"])
        assert 3 == total(found["taskpost_run_seconds_count"])
        if redis_server.admin.exists(key):
            redis_server.admin.delete("tp:{0}:stat:all:0")
            redis_server.admin.hset(keys.conf(0), "totalled", minute - 5)
            redis_server.admin.rename(key, f"tp:{{0}}:stat:1:{minute - 3}")


async def test_counters_never_go_back(api: Serving, store: Store, worker: Worker, redis_server: Server) -> None:
    """Not when a minute is over, and added up by several at once, nor when it is put into a larger bucket."""
    await worked(api, worker)
    before = total((await metrics(api))["taskpost_tasks_submitted_total"])
    [key] = list(redis_server.admin.scan_iter("tp:{0}:stat:1:*"))[-1:]
    minute = int(key.rpartition(":")[2])
    redis_server.admin.delete("tp:{0}:stat:all:0")
    redis_server.admin.hset(keys.conf(0), "totalled", minute - 5)
    redis_server.admin.rename(key, f"tp:{{0}}:stat:1:{minute - 3}")
    await asyncio.gather(*(metrics(api) for _ in range(5)), *(store.statistics.total(0) for _ in range(5)))
    await worked(api, worker)
    assert before + 5 == total((await metrics(api))["taskpost_tasks_submitted_total"])
    redis_server.admin.rename(f"tp:{{0}}:stat:1:{minute - 3}", f"tp:{{0}}:stat:1:{minute - 200}")
    await store.statistics.condense(0)
    assert before + 5 == total((await metrics(api))["taskpost_tasks_submitted_total"])


async def test_a_second_process_doubles_nothing(api: Serving, store: Store, worker: Worker, redis_url: str) -> None:
    """Both tell the same of queues and tasks, and each tells of both what they counted of themselves."""
    await worked(api, worker)
    async with serving(redis_url) as other:
        await other.until_ready()
        other.api.runtime.store.meters.process = "web:other:1"
        for one in (api, other):
            await one.api.runtime.store.meters.tell()
        found, same = await metrics(api), await metrics(other)
        for name in ("taskpost_queue_tasks", "taskpost_tasks_submitted_total", "taskpost_tasks_ended_total"):
            assert found[name] == same[name]
        assert 2 == len(found["taskpost_version"]) == len(same["taskpost_version"])
        assert 5 == total(found["taskpost_request_seconds_count"], route="/v1/tasks", method="POST", status="2xx")
        assert 5 == total(same["taskpost_request_seconds_count"], route="/v1/tasks", method="POST", status="2xx")
    assert 1 == len((await metrics(api))["taskpost_version"])  # it has ended in order


async def test_a_process_that_falls_silent_is_forgotten(api: Serving, store: Store, redis_server: Server) -> None:
    """Its counters end; what is nonsense there breaks nothing."""
    old = store.tasks.clock.now_ms() - 60_000
    silent = b'{"told_ms":%d,"version":"0","started":1,"cpu_seconds":1,"resident_bytes":1,"counted":{}}' % old
    newer = silent.replace(b"%d" % old, b"%d" % (old + 60_000)).replace(
        b'"counted":{}', b'"counted":{"taskpost_new":[[[],1]],"taskpost_commit_tasks":[[["submit"],[1,2]]]}'
    )
    redis_server.admin.hset(keys.METERS, mapping={"worker:gone:1": silent, "web:newer:1": newer})
    found = await metrics(api)
    assert ["web:newer:1"] == [name for name in ("worker:gone:1", "web:newer:1")
                               if total(found["taskpost_version"], process=name)]  # fmt: skip
    assert not redis_server.admin.hexists(keys.METERS, "worker:gone:1")


async def test_workers_are_told(api: Serving, store: Store) -> None:
    """How many by state, their slots, what they run."""
    await announced(store)
    await announced(store, "web-2-7-000000", "quiet")
    found = await metrics(api)
    assert (1, 1) == tuple(total(found["taskpost_workers"], state=state) for state in ("running", "quiet"))
    assert 100 == total(found["taskpost_worker_slots"], worker="web-2-7-000000", lane="async")
    assert 2 == total(found["taskpost_worker_running"])


async def test_names_beyond_a_bound_are_told_together(api: Serving, store: Store, worker: Worker) -> None:
    """A thousand names make no thousand series; nothing is lost."""
    many = MOST_NAMES + 50
    for start in range(0, many, 50):
        named = [new({"name": f"n{n}", "args": {}}, queue=f"q{n}") for n in range(start, start + 50)]
        await store.tasks.submit(named)
    for n in range(many):
        await worker.succeed(*await worker.lease(queue=f"q{n}"))
    found = await metrics(api)
    ended = found["taskpost_tasks_ended_total"]
    assert many == total(ended)
    assert 50 == total(ended, name="(other)") == total(ended, queue="(other)")
    assert MOST_NAMES + 1 == len({re.search('name="(.*?)"', labels)[1] for labels in ended})  # type: ignore[index]


async def test_while_redis_is_away_a_process_tells_of_itself(
    start_server: Callable[..., Server], api: Serving
) -> None:
    """So that an alert can tell which of the two is down; to the operator, whose key needs no Redis to be known."""
    server = start_server("valkey")
    async with serving(server.url, api_key="s3cret") as alone:
        alone.http.headers["authorization"] = "Bearer s3cret"
        await alone.until_ready()
        server.stop()
        found = await metrics(alone)
        assert 0 == total(found["taskpost_redis_up"])
        assert 1 == len(found["taskpost_version"])
        assert "taskpost_queue_tasks" not in found


async def test_before_redis_was_ever_reached_there_is_nothing_to_tell() -> None:
    """503, as for everything else."""
    async with serving("redis://127.0.0.1:1/0", is_ready=False) as alone:
        assert 503 == (await alone.http.get("/metrics")).status_code


async def test_metrics_ask_for_the_key(redis_url: str) -> None:
    """They tell names of handlers and queues."""
    async with serving(redis_url, api_key="s3cret") as guarded:
        assert 401 == (await guarded.http.get("/metrics")).status_code
        answer = await guarded.http.get("/metrics", headers={"authorization": "Bearer s3cret"})
        assert 200 == answer.status_code


async def test_a_key_sees_the_tasks_of_its_namespace_alone(store: Store, worker: Worker, redis_url: str) -> None:
    """What tells nothing of tasks, such as Redis' memory, it sees as well."""
    async with serving(redis_url, api_key="s3cret") as api:
        api.http.headers["authorization"] = "Bearer s3cret"
        await worked(api, worker)
        await store.tasks.submit([new(namespace="acme", queue="secret")])
        assert 6 == total((await metrics(api))["taskpost_tasks_submitted_total"])
        async with holder(api, "workers:read", namespace="acme") as client:
            found = samples_of(await client.get("/metrics"))
        assert 1 == total(found["taskpost_tasks_submitted_total"]) == total(found["taskpost_queue_tasks"])
        assert "taskpost_tasks_ended_total" not in found
        assert found["taskpost_redis_used_bytes"]
        async with holder(api, "tasks:read") as client:
            assert 403 == (await client.get("/metrics")).status_code
