"""The log that attempts keep: whose it is, how much of it, and where it goes when the attempt ends."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from service.attempts import MOST_BYTES, MOST_LINES, NEXT, pack_line, pack_lines
from service.ids import shard_of
from service.store import Store
from service.store.attempts import History, LogNote
from service.store.endings import Ending, again
from service.store.outside import reap
from service.task import Leased
from tests.store.acting import Worker, ask_cancel, new, submit
from tests.store.deployments import Deployment

AT_MS = 1_795_305_600_000


def lines(*texts: str) -> list[bytes]:
    return [pack_line(AT_MS, "info", text) for text in texts]


async def say(store: Store, task: Leased, *texts: str, first: int = NEXT) -> bytes:
    """Note lines of *task*; by default those that come next."""
    note = LogNote(task.id, task.token, first, lines(*texts), task.namespace)
    return await store.attempts.note_log(shard_of(task.id), [note])


async def history(store: Store, id_: bytes) -> History:
    found = await store.attempts.history(id_)
    assert found is not None
    return found


def texts(kept: list[list[Any]]) -> list[str]:
    return [line[2] for line in kept]


async def logged(store: Store, worker: Worker, *said: str) -> Leased:
    """A task that runs, and has logged."""
    await submit(store, new())
    [task] = await worker.lease()
    assert b"1" == await say(store, task, *said)
    return task


async def test_lines_are_read_while_the_attempt_runs(store: Store, worker: Worker) -> None:
    """In their order, with time and level, whatever they hold."""
    task = await logged(store, worker, "one", 'two\n"lines" \u0000 ü')
    await say(store, task, "three")
    found = await history(store, task.id)
    assert [[AT_MS, "info", text] for text in ("one", 'two\n"lines" \u0000 ü', "three")] == found.lines
    assert (3, []) == (found.said, found.rows)


async def test_a_first_success_keeps_its_log_with_the_attempt(store: Store, worker: Worker) -> None:
    """Such an attempt is noted nowhere else; with a log it is, as it was."""
    task = await logged(store, worker, "one")
    await worker.succeed(task)
    found = await history(store, task.id)
    [row] = found.rows
    assert (1, "w1", "succeeded", [[AT_MS, "info", "one"]]) == (
        row["attempt"], row["worker"], row["outcome"], row["log"],
    )  # fmt: skip
    assert task.leased_ms == row["started_ms"] <= row["finished_ms"]
    assert [] == found.lines


async def test_lines_come_with_the_report_too(store: Store, worker: Worker) -> None:
    """What was said last needs no call of its own, and comes after what was noted before."""
    task = await logged(store, worker, "one")
    ending = Ending("succeeded", b"5", log=pack_lines(1, lines("two")))
    assert b"1" == await worker.report([task], [worker.ending(task, ending)])
    [row] = (await history(store, task.id)).rows
    assert (["one", "two"], 2) == (texts(row["log"]), row["log_said"])


async def test_a_report_alone_may_bring_the_whole_log(store: Store, worker: Worker, deployment: Deployment) -> None:
    """The log of a short attempt never has a key of its own."""
    [id_] = await submit(store, new())
    [task] = await worker.lease()
    row = b'{"attempt":1,"outcome":"retried"}'
    assert b"1" == await worker.report([task], [again(task, b"R", 0, row, pack_lines(0, lines("one")))])
    [kept] = (await history(store, id_)).rows
    assert ("retried", ["one"]) == (kept["outcome"], texts(kept["log"]))
    assert not [key for key in deployment.all_keys() if b"l:" + id_ in key]


@pytest.mark.parametrize(
    ("kind", "row", "outcome"),
    [
        (b"R", b'{"outcome":"retried"}', "retried"),
        (b"D", b'{"outcome":"deferred"}', "deferred"),
        (b"K", b'{"outcome":"crashed"}', "crashed"),
        (b"B", None, "released"),
    ],
)
async def test_each_attempt_keeps_its_own_log(
    store: Store, worker: Worker, kind: bytes, row: bytes | None, outcome: str
) -> None:
    """Also one that was handed back by a worker that stopped; the next attempt begins with none."""
    task = await logged(store, worker, "first")
    await worker.again(kind, task, row=row)
    [next_] = await worker.lease()
    assert [] == (await history(store, task.id)).lines
    await say(store, next_, "second")
    await worker.fail(next_)
    one, two = (await history(store, task.id)).rows
    assert (outcome, ["first"], ["second"]) == (one["outcome"], texts(one["log"]), texts(two["log"]))


async def test_a_hand_back_that_logged_nothing_is_no_attempt(store: Store, worker: Worker) -> None:
    """As before."""
    [id_] = await submit(store, new())
    await worker.again(b"B", *await worker.lease())
    assert [] == (await history(store, id_)).rows


async def test_a_late_worker_cannot_write_into_the_log(store: Store, worker: Worker) -> None:
    """Not into a newer attempt's, and not into that of a task that waits or has ended."""
    task = await logged(store, worker, "mine")
    await store.tasks.reap(shard_of(task.id), [(task.id, task.token)], 1)
    assert b"0" == await say(store, task, "late")
    [next_] = await Worker(store, "w2").lease_any()
    assert b"0" == await say(store, task, "late")
    assert [] == (await history(store, task.id)).lines
    await worker.succeed(next_)
    assert b"0" == await say(store, next_, "too late")
    [row] = (await history(store, task.id)).rows[:1]
    assert ["mine"] == texts(row["log"])


async def test_the_log_of_a_lost_worker_stays(store: Store, worker: Worker) -> None:
    """What was sent is in the row of the crash, whether the task runs again or ends by it."""
    task = await logged(store, worker, "before the crash")
    await reap(store.tasks, store.handlers, store.settings, shard_of(task.id), [(task.id, task.token)], 1)
    [row] = (await history(store, task.id)).rows
    assert ("crashed", ["before the crash"]) == (row["outcome"], texts(row["log"]))
    await submit(store, new(max_crashes=0))
    leased = await worker.lease_any()
    [once] = [one for one in leased if one.max_crashes == 0]
    await say(store, once, "the only time")
    await reap(store.tasks, store.handlers, store.settings, shard_of(once.id), [(once.id, once.token)], 1)
    [row] = (await history(store, once.id)).rows
    assert ("crashed", ["the only time"]) == (row["outcome"], texts(row["log"]))


async def test_lines_that_are_sent_again_are_not_kept_twice(store: Store, worker: Worker) -> None:
    """A reply that was lost; a report that overtakes the call before it, or comes behind it."""
    task = await logged(store, worker)
    await say(store, task, "a", "b", first=0)
    await say(store, task, "a", "b", first=0)
    await say(store, task, "b", "c", first=1)
    found = await history(store, task.id)
    assert (["a", "b", "c"], 3) == (texts(found.lines), found.said)


async def test_lines_that_the_worker_left_out_are_counted(store: Store, worker: Worker) -> None:
    """A gap in the numbers is what was said and never sent."""
    task = await logged(store, worker)
    await say(store, task, "a", first=0)
    await say(store, task, "z", first=1000)
    found = await history(store, task.id)
    assert (["a", "z"], 1001) == (texts(found.lines), found.said)


async def test_the_last_200_lines_are_kept(store: Store, worker: Worker) -> None:
    """Whatever batches they come in."""
    task = await logged(store, worker)
    said = [f"line {n}" for n in range(450)]
    for start in range(0, 450, 150):
        await say(store, task, *said[start : start + 150], first=start)
    found = await history(store, task.id)
    assert (said[-MOST_LINES:], 450) == (texts(found.lines), found.said)
    await say(store, task, *[f"more {n}" for n in range(300)])
    found = await history(store, task.id)
    assert ([f"more {n}" for n in range(100, 300)], 750) == (texts(found.lines), found.said)


async def test_no_more_than_32_kib_are_kept(store: Store, worker: Worker) -> None:
    """Of long lines the last ones that fit; one alone always stays."""
    task = await logged(store, worker)
    said = [f"{n} " + "x" * 5000 for n in range(12)]
    for one in said:
        await say(store, task, one)
    found = await history(store, task.id)
    kept = texts(found.lines)
    assert (said[-len(kept) :], 12) == (kept, found.said)
    size = len(pack_line(AT_MS, "info", said[-1]))
    assert MOST_BYTES // size == len(kept)


async def test_a_log_goes_with_its_task(store: Store, worker: Worker, deployment: Deployment) -> None:
    """Deleted with it, and until then kept as long as it."""
    task = await logged(store, worker, "one")
    await ask_cancel(store, task.id)
    ending = Ending("cancelled", row=b'{"attempt":1,"outcome":"cancelled"}', log=pack_lines(1, lines("two")))
    await worker.report([task], [worker.ending(task, ending)])
    found = await history(store, task.id)
    assert [["one", "two"]] == [texts(row["log"]) for row in found.rows]
    assert 1 == await store.tasks.forget(task.id, found.snapshot.record)
    assert await store.attempts.history(task.id) is None
    assert not [key for key in deployment.all_keys() if task.id in key]


async def test_a_report_that_is_refused_leaves_the_log_as_it_is(store: Store, worker: Worker) -> None:
    """A retry of a task that was cancelled meanwhile is not recorded; the report that is brings the lines again."""
    task = await logged(store, worker, "one")
    await ask_cancel(store, task.id)
    batch = pack_lines(1, lines("two"))
    assert b"2" == await worker.report([task], [again(task, b"R", 0, b'{"attempt":1}', batch)])
    assert ["one"] == texts((await history(store, task.id)).lines)
    ending = Ending("cancelled", row=b'{"attempt":1}', log=batch)
    assert b"1" == await worker.report([task], [worker.ending(task, ending)])
    [row] = (await history(store, task.id)).rows
    assert ["one", "two"] == texts(row["log"])


@pytest.mark.deployments("valkey-1", "redis-1")
async def test_a_task_that_logs_nothing_costs_nothing(store: Store, worker: Worker, deployment: Deployment) -> None:
    """No command, no key and no byte more than for a task before there were logs."""
    await submit(store, new())
    [task] = await worker.lease()
    node = deployment.node(0)
    with node.monitor() as seen:
        await worker.succeed(task)
        node.echo("over")
        said: list[str] = []
        for one in seen.listen():
            if "over" in one["command"]:
                break
            said.append(one["command"])
    assert [] == [one for one in said if "tp:{0}:l:" in one or "tp:{0}:a:" in one]


async def test_rows_stay_json_that_anybody_reads(store: Store, worker: Worker) -> None:
    """The log is put into the row by the script, which decodes nothing."""
    task = await logged(store, worker, "quote \" backslash \\ brace } %d %s")
    await worker.fail(task)
    [raw] = await store.tasks.scripts.command("LRANGE", b"tp:{%d}:a:%b" % (shard_of(task.id), task.id), 0, -1)
    assert "quote \" backslash \\ brace } %d %s" == orjson.loads(raw)["log"][0][2]
