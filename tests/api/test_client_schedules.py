"""What programs meet in the Python client's schedules: its requests, and the same against a live API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

from service.client import AsyncTaskpost, NoAnswer, NotFound, Refused, StateConflict, Taskpost, VersionConflict
from tests.api.test_client import Api, problem, said
from tests.running import taskpost

SHOWN = {
    "name": "nightly", "task": {"name": "demo.add"}, "state": "active", "explanation": "At 03:00 every day, UTC",
    "timezone": "UTC", "next_run_at": "2026-11-23T03:00:00.000Z", "version": 3, "runs": 1, "owner": None,
    "last_run": {"fire_time": "2026-11-22T03:00:00.000Z", "task_id": "01M819EKHX02FJFH0TDFHXG001"},
}  # fmt: skip
ADD: Any = {"name": "demo.add", "args": {"a": 2, "b": 3}}


def test_a_definition_is_sent_in_the_contracts_words() -> None:
    """Durations, times and lists as Python has them; a local time stays one."""
    api = Api(said(SHOWN, 201))
    berlin = timezone(timedelta(hours=1))
    with api.client() as client:
        schedule = client.create_schedule(
            "nightly",
            cron=["0 3 * * *", "@hourly"],
            every_seconds=timedelta(minutes=5),
            at=[
                datetime.fromisoformat("2026-12-24T18:00"),
                datetime(2026, 12, 24, 18, tzinfo=berlin),
                "2026-12-25T00:00:00",
            ],
            calendar={"months": 1, "anchor": datetime.fromisoformat("2026-01-31T09:00")},
            start_at=datetime(2026, 12, 1, tzinfo=berlin),
            timezone=None,
            task={**ADD, "timeout_seconds": timedelta(minutes=1), "backoff": [1, 5], "queue": None},
        )
    assert {
        "name": "nightly",
        "cron": "0 3 * * *\n@hourly",
        "every_seconds": 300,
        "at": ["2026-12-24T18:00:00", "2026-12-24T17:00:00Z", "2026-12-25T00:00:00"],
        "calendar": {"months": 1, "anchor": "2026-01-31T09:00:00"},
        "start_at": "2026-11-30T23:00:00Z",
        "task": {**ADD, "timeout_seconds": 60, "backoff": {"delays_seconds": [1, 5]}},
    } == api.body
    assert "<Schedule nightly active: At 03:00 every day, UTC>" == repr(schedule)
    assert schedule.last_run is not None
    assert (None, datetime(2026, 11, 22, 3, tzinfo=UTC)) == (schedule.last_run.state, schedule.last_run.fire_time)
    with pytest.raises(ValueError, match="end_at=2026-12-01T00:00:00: needs a zone"):
        client.create_schedule(cron="@daily", end_at=datetime.fromisoformat("2026-12-01"), task=ADD)


def test_none_removes_a_field_from_a_schedule() -> None:
    """In a change it means null; nowhere else."""
    api = Api(said(SHOWN))
    with api.client() as client:
        client.update_schedule("nightly", timezone=None, jitter_seconds=timedelta(seconds=20))
    assert ("PATCH", "/v1/schedules/nightly") == (api.requests[0].method, api.requests[0].url.path)
    assert {"timezone": None, "jitter_seconds": 20} == api.body


def test_an_edit_is_guarded_by_the_version_it_was_made_from() -> None:
    """The one who comes late is told, and nothing is overwritten."""
    api = Api(problem("precondition-failed", 412, version=4))
    with api.client() as client, pytest.raises(VersionConflict) as caught:
        client.put_schedule("nightly", if_version=3, cron="@daily", task=ADD)
    assert ('"3"', 4) == (api.requests[0].headers["if-match"], caught.value.problem["version"])


def test_only_what_may_be_repeated_is_repeated(pauses: list[float]) -> None:
    """A lost answer must not become a second task, a conflict with oneself, or an overwritten change."""

    def sent(act: Any) -> int:
        api = Api(httpx.ReadError("reset"))
        with api.client(retries=2) as client, pytest.raises(NoAnswer):
            act(client)
        return len(api.requests)

    assert 1 == sent(lambda client: client.create_schedule("a", cron="@daily", task=ADD))
    assert 1 == sent(lambda client: client.run_schedule("a"))
    assert 1 == sent(lambda client: client.backfill_schedule("a", "2026-11-01T00:00:00Z"))
    assert 1 == sent(lambda client: client.update_schedule("a", if_version=1, cron="@daily"))
    assert 3 == sent(lambda client: client.put_schedule("a", cron="@daily", task=ADD))
    assert 3 == sent(lambda client: client.pause_schedule("a"))


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    made: list[float] = []
    monkeypatch.setattr("service.client.blocking.time.sleep", made.append)
    return made


# ---------------------------------------------------------------- a live API


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost("web", "worker", "scheduler", api_key="s3cret") as url:
        yield url


@pytest.fixture
def api(url: str) -> Iterator[Taskpost]:
    with Taskpost(url, "s3cret") as client:
        yield client


def test_a_schedule_from_creation_to_deletion(api: Taskpost) -> None:
    """Created, fired by the scheduler, changed, paused, run by hand, deleted."""
    made = api.create_schedule("often", every_seconds=1, task={**ADD, "tags": ["{{ schedule }}"]}, description="d")
    assert ("active", "Every second", 1) == (made.state, made.explanation, made.version)
    deadline = time.monotonic() + 30
    while not (fired := [run for run in api.schedule_runs("often") if run.outcome == "fired"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    task = api.wait(fired[0].task_id or "", 30)
    assert task.schedule is not None
    assert (5, ["often"], "often", fired[0].fire_time) == (
        task.result, task.tags, task.schedule.name, task.schedule.fire_time,
    )  # fmt: skip
    with pytest.raises(StateConflict, match="there is a schedule often"):
        api.create_schedule("often", cron="@daily", task=ADD)
    paused = api.pause_schedule("often")
    assert ("paused", None) == (paused.state, paused.next_run_at)
    by_hand = api.run_schedule("often")
    assert "often" == (by_hand.schedule.name if by_hand.schedule else None)
    assert by_hand.id in [run.task_id for run in api.schedule_runs("often") if run.outcome == "run_by_hand"]
    changed = api.update_schedule("often", if_version=paused.version, cron="0 3 * * *", every_seconds=None)
    assert ("At 03:00 every day, UTC", "demo.add") == (changed.explanation, changed.what)
    with pytest.raises(VersionConflict):
        api.put_schedule("often", if_version=paused.version, cron="@daily", task=ADD)
    assert "active" == api.resume_schedule("often").state
    assert [3, 3] == [one.fire_time.hour for one in api.preview_schedule("often", count=2).items]
    with pytest.raises(VersionConflict):
        api.delete_schedule("often", if_version=1)
    api.delete_schedule("often")
    with pytest.raises(NotFound):
        api.schedule("often")


def test_a_past_range_is_counted_made_up_for_and_aborted(api: Taskpost) -> None:
    """Under way it says how far it is; one that has ended stays as it is."""
    hour_ago, now = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC)
    api.create_schedule("past", every_seconds=60, anchor_at=hour_ago, task=ADD, paused=True)
    count = api.count_backfill("past", hour_ago, hour_ago + timedelta(minutes=2))
    assert (3, True, count.first_fire_time) == (count.total, count.is_exact, count.first_fire_time)
    begun = api.backfill_schedule("past", hour_ago, hour_ago + timedelta(minutes=2), rate_per_second=100)
    deadline = time.monotonic() + 30
    while (found := api.backfill("past", begun.id)).state != "done":
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert (3, 3, "backfilled") == (found.done, found.total, api.schedule_runs("past")[0].outcome)
    slow = api.backfill_schedule("past", hour_ago, now, rate_per_second=0.01, overlap="one_by_one")
    assert ("aborted", "one_by_one") == ((ended := api.abort_backfill("past", slow.id)).state, ended.overlap)
    assert [slow.id, begun.id] == [one.id for one in api.backfills("past")]
    with pytest.raises(Refused, match="lies in the future"):
        api.backfill_schedule("past", hour_ago, now + timedelta(days=1))
    with pytest.raises(NotFound, match="no backfill"):
        api.abort_backfill("past", "0000")


def test_faults_of_a_schedule_are_all_named(api: Taskpost) -> None:
    """Those of its times and those of its task."""
    with pytest.raises(Refused, match="hour: '25' cannot be read"):
        api.create_schedule(cron="0 25 * * *", task=ADD)
    with pytest.raises(Refused, match='/task/args: "b"'):
        api.create_schedule(cron="@daily", task={"name": "demo.add", "args": {"a": 1}})


def test_schedules_are_listed_page_by_page(api: Taskpost) -> None:
    """As far as they are read, and no further."""
    for number in range(103):
        api.put_schedule(f"page-{number:03}", cron="@yearly", task=ADD)
    named = [one.name for one in api.schedules() if one.name.startswith("page-")]
    assert [f"page-{number:03}" for number in range(103)] == named
    assert 2 == len(list(api.schedules(limit=2)))


def test_times_are_looked_at_before_they_are_saved(api: Taskpost) -> None:
    """With the zone they are meant in."""
    preview = api.preview_times(cron="0 9 * * MON-FRI", timezone="Asia/Shanghai", count=3)
    assert "At 09:00 on Monday through Friday, Asia/Shanghai" == preview.explanation
    assert ["T09:00:00+08:00"] * 3 == [one.local_time[10:] for one in preview.items]
    assert all(one.fire_time == one.run_at and one.fire_time.hour == 1 for one in preview.items)


async def test_asyncio_programs_do_the_same_with_schedules(url: str) -> None:
    """The asynchronous client, once through."""
    async with AsyncTaskpost(url, "s3cret") as api:
        made = await api.create_schedule(cron="@daily", task=ADD)
        assert made.name == (await api.schedule(made.name)).name
        assert made.name in [one.name async for one in api.schedules()]
        assert "paused" == (await api.pause_schedule(made.name)).state
        assert "active" == (await api.resume_schedule(made.name)).state
        assert 2 == len((await api.preview_schedule(made.name, count=2)).items)
        assert 1 == len((await api.preview_times("x", count=1, every_seconds=60)).items)
        task = await api.run_schedule(made.name)
        assert [task.id] == [run.task_id for run in await api.schedule_runs(made.name)]
        since = datetime.now(UTC) - timedelta(days=3)
        assert (await api.count_backfill(made.name, since)).total in (3, 4)
        begun = await api.backfill_schedule(made.name, since, overlap="one_by_one")
        assert begun.id == (await api.backfill(made.name, begun.id)).id
        assert (await api.abort_backfill(made.name, begun.id)).state in ("aborted", "done")
        assert [begun.id] == [one.id for one in await api.backfills(made.name)]
        assert "@hourly" == (await api.update_schedule(made.name, cron="@hourly")).cron
        assert "skip" == (await api.put_schedule(made.name, cron="@daily", overlap="skip", task=ADD)).overlap
        await api.delete_schedule(made.name)
