"""What is counted of tasks, where the scripts accept it: each transition once, in bounded memory, for a week."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.figures import Figures
from service.ids import shard_of
from service.outcome import Succeeded, failed
from service.settings import Settings
from service.store import Store, keys
from service.store.decisions import decide, report_of
from service.store.endings import Ending
from service.store.outside import reap
from service.store.statistics import History, Scope
from service.store.tallies import OTHER, read_tally, tally_of
from service.store.tasks import New
from service.task import Leased, options_of
from tests.store.acting import Worker, ask_cancel, new, submit, submit_everywhere
from tests.store.deployments import Deployment

EMAIL = {"name": "email:send", "args": {}}


async def read(store: Store, *, minutes: int = 60, step: int = 1, **scope: Any) -> History:
    """What was counted in the last *minutes*."""
    now = store.statistics.now_minute()
    begin = (now - minutes) // step * step
    return await store.statistics.read(Scope(scope.pop("namespace", "default"), **scope), begin, now + 1, step)


async def totals(store: Store, **scope: Any) -> dict[str, int]:
    """Letters and how many, of all that was counted."""
    return dict(+(await read(store, **scope)).totals.counts)


def outcome_report(store: Store, worker: Worker, task: Leased, outcome: Any) -> list[bytes]:
    """As a worker reports *outcome*."""
    now_ms, options = store.tasks.clock.now_ms(), options_of(task.submission, None, Settings())
    decision = decide(task, outcome, options, now_ms, worker.name, lambda: 0.0)
    return report_of(task, decision, options, store.settings, worker.name, now_ms)


async def test_a_task_is_counted_from_its_submission_to_its_end(store: Store, worker: Worker) -> None:
    """In all, by queue and by name; and how long it waited and ran."""
    await submit(store, *[new(EMAIL, queue="mail") for _ in range(7)])
    await worker.succeed(*await worker.lease_all(queue="mail"))
    history = await read(store)
    assert {"N": 7, "W": 7, "S": 7} == dict(history.totals.counts)
    assert ["mail"] == list(history.queues)
    assert {"W": 7, "S": 7} == dict(history.names["email:send"].counts)
    assert (7, 7) == (history.totals.wait.total(), history.totals.run.total())
    assert history.steps[-1].figures.counts.total() + history.steps[-2].figures.counts.total() == 21


async def test_every_way_to_end_and_to_run_again_is_counted(store: Store, worker: Worker) -> None:
    """With the errors of those that failed, by name."""
    await submit(store, *[new(EMAIL) for _ in range(6)])
    tasks = await worker.lease_all()
    await worker.report(tasks[:1], [outcome_report(store, worker, tasks[0], failed("SMTPError", "no", retry=True))])
    await worker.report(tasks[1:2], [outcome_report(store, worker, tasks[1], failed("KeyError", "no", retry=False))])
    await worker.again(b"D", tasks[2], delay_ms=60_000)  # a report of an older worker, which carries no field
    await worker.end_cancelled(tasks[3])
    await worker.report(tasks[4:5], [outcome_report(store, worker, tasks[4], Succeeded(b"1"))])
    await ask_cancel(store, tasks[0].id)
    found = await read(store)
    assert {"N": 6, "W": 6, "R": 1, "F": 1, "C": 2, "S": 1} == dict(found.totals.counts)
    assert {"SMTPError": 1, "KeyError": 1} == dict(found.names["email:send"].errors)
    assert 4 == found.totals.run.total()  # retried, failed, cancelled while it ran, succeeded


async def test_a_call_that_is_sent_again_counts_once(store: Store, worker: Worker) -> None:
    """Submissions, leases and reports whose answers were lost."""
    [one] = await submit(store, new(EMAIL, key="k"))
    await submit(store, new(EMAIL, key="k"))
    token, shard = worker.token(), shard_of(one)
    for _ in range(2):
        stepped = await worker.step(shard, wants=[("default", "async", 5)], token=token)
    report, token = worker.ending(stepped.leased[0], Ending("succeeded", b"1")), worker.token()
    for _ in range(2):
        await worker.step(shard, [report], token=token)
    assert {"N": 1, "W": 1, "S": 1} == await totals(store)


async def test_a_report_that_comes_too_late_counts_nothing(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Its task is another's by then; the attempt that was lost is a crash, by its name."""
    [one] = await submit(store, new(EMAIL, queue="mail"))
    [task] = await worker.lease(queue="mail")
    await store.tasks.reap(shard_of(one), [(task.id, task.token)], 1, "killed")
    assert b"0" == await worker.succeed(task)
    found = await read(store)
    assert {"N": 1, "W": 1, "K": 1} == dict(found.totals.counts)
    assert {"worker_lost": 1} == dict(found.names["email:send"].errors)


async def test_a_task_that_may_not_crash_again_has_failed(store: Store, worker: Worker) -> None:
    """As worker_lost, which is a crash as well."""
    [one] = await submit(store, new(EMAIL, max_crashes=0))
    [task] = await worker.lease()
    await reap(store.tasks, store.handlers, store.settings, shard_of(one), [(task.id, task.token)], 1, "killed")
    figures = (await read(store)).totals
    assert (1, 1, 0) == (figures.counts["F"], figures.counts["K"], figures.run.total())


async def test_how_long_tasks_waited_is_measured_from_when_they_were_due(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Not from their submission, when they were delayed; a retry waits anew."""
    now_ms = store.tasks.clock.now_ms()
    await submit(store, new(due_ms=now_ms - 3_600_000), new(due_ms=now_ms - 1))
    await worker.lease_all()
    wait = (await read(store)).totals.wait
    assert 2 == wait.total()
    assert max(wait) < 60  # under half a minute: created just now


async def test_namespaces_see_only_their_own(store: Store, worker: Worker) -> None:
    """Queues and names of the same kind are others."""
    await submit(store, new(EMAIL), new(EMAIL, namespace="acme"), new(EMAIL, namespace="acme", queue="mail"))
    assert {"N": 1} == await totals(store)
    assert {"N": 2} == await totals(store, namespace="acme")
    assert {"N": 1} == await totals(store, namespace="acme", queue="mail")


async def test_one_queue_and_one_name_can_be_asked_for(store: Store, worker: Worker) -> None:
    """What comes in is counted by queue alone."""
    await submit(store, new(EMAIL, queue="mail"), new({"name": "other", "args": {}}, queue="mail"), new(EMAIL))
    for queue in ("mail", "default"):
        await worker.succeed(*await worker.lease_all(queue=queue))
    assert {"N": 2, "W": 2, "S": 2} == await totals(store, queue="mail")
    assert {"W": 2, "S": 2} == await totals(store, name="email:send")
    assert {"W": 1, "S": 1} == await totals(store, name="email:send", queue="mail")


async def test_url_tasks_are_counted_by_their_endpoint(store: Store, worker: Worker) -> None:
    """However many paths are called."""
    urls = [f"https://api.example.com/orders/{n}?x=1" for n in range(4)]
    await submit(store, *[new({"url": url}, lane="url") for url in urls])
    await worker.succeed(*await worker.lease_all(lane="url"))
    history = await read(store)
    assert {"https:api.example.com": {"W": 4, "S": 4}} == {name: dict(of.counts) for name, of in history.names.items()}


async def test_a_start_is_counted_without_a_name_where_the_submission_begins_with_something_else(
    store: Store, worker: Worker
) -> None:
    """However the URL is written, it is one endpoint; no script reads on in a body for its name."""
    hook = {"url": "HTTPS://API.example.com:443?b=https://c.example", "body": "d"}
    await submit(store, new(hook, lane="url"), new({"timeout_seconds": 5, **hook}, lane="url"))
    await worker.succeed(*await worker.lease_all(lane="url"))
    history = await read(store)
    assert {"https:api.example.com": {"W": 1, "S": 2}} == {name: dict(of.counts) for name, of in history.names.items()}
    assert {"N": 2, "W": 2, "S": 2} == dict(history.totals.counts)


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_a_minute_holds_a_bounded_number_of_names(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """The rest is counted together, none is lost, and a namespace keeps its own."""
    for start in range(0, 3000, 100):
        await submit(store, *[new({"name": f"n{n}", "args": {}}, namespace="acme") for n in range(start, start + 100)])
        await worker.succeed(*await worker.lease_all(queue="acme/default"))
    found = await read(store, namespace="acme")
    assert 3000 == found.totals.counts["S"]
    node = deployment.node(0)
    buckets = list(node.scan_iter("tp:{0}:stat:*"))
    assert all(2300 > node.hlen(key) and node.pttl(key) > 0 for key in buckets)
    if len(buckets) == 1:  # a minute may have ended meanwhile
        assert 900 < found.names[OTHER].counts["S"] < 2900


async def test_depths_are_the_most_that_there_was(store: Store, worker: Worker) -> None:
    """Over all shards; nobody looked is not nothing there."""
    assert [None, None] == [step.depths for step in (await read(store)).steps[-2:]]
    ids = await submit_everywhere(store, 4)
    await submit_everywhere(store, 2, delay_ms=60_000, queue="mail")
    await look(store)
    await worker.succeed(*await worker.lease_all())
    await look(store)
    latest = await deepest(store)
    assert (len(ids), 2 * store.shards) == (latest["q"], latest["s"])
    assert 0 == (await deepest(store, queue="mail"))["q"]


async def look(store: Store) -> None:
    await asyncio.gather(*map(store.statistics.gauge, range(store.shards)))


async def deepest(store: Store, **scope: Any) -> Any:
    """The depths of the last two minutes, which may have turned meanwhile."""
    last = [step.depths for step in (await read(store, **scope)).steps[-2:] if step.depths is not None]
    return last[0] if len(last) == 1 else last[0] | last[1]


def age(deployment: Deployment, store: Store, minutes: int, size: int = 1) -> None:
    """Make all buckets of *size* minutes so many minutes older, as if nobody had put them together since."""
    for shard in range(store.shards):
        node, start = deployment.node(shard), f"tp:{{{shard}}}:stat:{size}:"
        for key in list(node.scan_iter(start + "*")):
            first = int(key.rpartition(b":")[2]) - minutes
            node.rename(key, f"{start}{first - first % size}")
        node.hdel(keys.conf(shard), f"condensed:{size}")


async def test_old_minutes_are_put_together_and_nothing_is_lost(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """First by ten minutes, then by the hour, also when it is done twice at once; depths stay what they were."""
    ids = await submit_everywhere(store, 3)
    await look(store)
    await worker.succeed(*await worker.lease_all())
    before = (await read(store)).totals
    for minutes, small, large in ((140, 1, 10), (1450, 10, 60)):
        age(deployment, store, minutes, small)
        await asyncio.gather(*(store.statistics.condense(shard) for shard in [*range(store.shards)] * 2))
        sizes = {int(key.split(b":")[-2]) for key in deployment.all_keys() if b":stat:" in key}
        assert {large} == sizes
        found = await read(store, minutes=3000, step=60)
        assert before == found.totals
        assert [len(ids)] == [step.depths["q"] for step in found.steps if step.depths]


async def test_what_a_scheduler_came_late_for_is_read_all_the_same(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Minutes of this morning that nobody has put together yet."""
    await submit_everywhere(store, 3)
    before: Figures = (await read(store)).totals
    age(deployment, store, 700)
    assert before == (await read(store, minutes=1440, step=10)).totals


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_a_long_time_is_read_in_several_calls(store: Store, worker: Worker, deployment: Deployment) -> None:
    """No call answers with more than a server can say at once."""
    node, now = deployment.node(0), store.statistics.now_minute()
    for minute in range(now - 9, now + 1):
        key = f"tp:{{0}}:stat:1:{minute}"
        node.hset(key, mapping={b"S!\x01n%d" % n: 1 for n in range(1500)})
        node.expire(key, 1000)
    assert {"S": 15_000} == await totals(store)


@pytest.mark.parametrize("submission", [EMAIL, {"args": {}, "name": "x"}, {"url": "http://a.b/c?d"}, {"url": "?"}])
async def test_a_field_reads_as_what_it_was_made_of(submission: dict[str, Any]) -> None:
    """Whatever a submission begins with."""
    task: New = new(submission, queue="mail", namespace="acme")
    tally = read_tally(tally_of(b"F", task.record, submission, 2000, "Error"))
    name = {"/c": "http:a.b"}.get(submission.get("url", "")[10:12], submission.get("name", ""))
    assert ("F", "acme", "mail", name, "Error") == (tally.letter, tally.namespace, tally.queue, tally.name, tally.error)
    assert 44 == tally.step  # 2 s: 2048 ms or less
