"""What programs and the command line say of many tasks at once; and the same against a live Taskpost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from service import cli
from service.client import AsyncTaskpost, Bulk, NoAnswer, NotFound, Refused, Taskpost
from tests.api.test_client import Api, said
from tests.running import taskpost

Run = Callable[..., tuple[int, str, str]]
SHOWN = {
    "id": "01M82K0XNB013Z4E8GETM14000", "action": "replay", "state": "running", "filter": {"state": "failed"},
    "options": {}, "examined": 10, "to_examine": 40, "done": 8, "skipped": 2, "reason": None,
    "created_at": "2026-11-22T03:00:00.000Z", "ended_at": None,
}  # fmt: skip


def test_filters_and_options_are_said_in_the_contracts_words() -> None:
    """Several states, times with a zone, edits, canaries; what is None is left out."""
    api = Api(said(SHOWN, 202))
    since = datetime(2026, 11, 22, 4, tzinfo=timezone(timedelta(hours=1)))
    with api.client() as client:
        work = client.replay_many(
            {"state": ["failed", "expired"], "http_status": 503, "finished_after": since, "tag": None},
            edits={"args": {"b": 40}, "queue": None},
            canary=5,
            rate_per_second=50,
        )
    assert {
        "filter": {"state": "failed,expired", "http_status": "503", "finished_after": "2026-11-22T03:00:00Z"},
        "edits": {"args": {"b": 40}},
        "canary": {"tasks": 5, "max_failures": 0},
        "rate_per_second": 50,
    } == api.body
    assert "<Bulk 01M82K0XNB013Z4E8GETM14000 replay running: 8 done>" == repr(work)
    assert (False, datetime(2026, 11, 22, 3, tzinfo=UTC)) == (work.is_over, work.created_at)
    with pytest.raises(ValueError, match="created_after=2026-11-22T00:00:00: needs a zone"):
        client.cancel_many({"created_after": datetime.fromisoformat("2026-11-22")})


def test_work_is_begun_once() -> None:
    """A repetition would begin it twice: whoever got no answer looks whether it is there."""
    api = Api(*[said({}, 503)] * 2)
    with api.client() as client, pytest.raises((NoAnswer, Exception)):
        client.cancel_many({"queue": "mail"})
    assert 1 == len(api.requests)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost("web", "worker", "scheduler") as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        return status, *capsys.readouterr()

    return run


def over(client: Taskpost, work: Bulk) -> Bulk:
    while not work.is_over:
        work = client.bulk(work.id)
    return work


def test_programs_change_cancel_replay_and_delete_many(url: str) -> None:
    """From the first count to the last task."""
    with Taskpost(url) as client:
        for n in range(5):
            client.submit("demo.add", {"a": n, "b": 0}, tags=["many"], delay_seconds=3600)
        count = client.count_bulk("cancel", {"tag": "many"})
        assert (5, True, 5) == (count.matched, count.is_exact, len(count.sample))
        assert 5 == over(client, client.prioritize_many({"tag": "many"}, 9)).done
        assert 5 == over(client, client.reschedule_many({"tag": "many"}, delay_seconds=timedelta(hours=2))).done
        assert 5 == over(client, client.cancel_many({"tag": "many"})).done
        assert {9} == {task.priority for task in client.list(tag="many", state=["cancelled", "failed"])}
        replays = client.replay_many({"tag": "many", "state": "cancelled"}, edits={"args": {"b": 1}}, canary=2)
        work = over(client, replays)
        assert ("done", 5) == (work.state, work.done)
        ended = [client.wait(task) for task in client.list(tag="many") if task.replay_of]
        assert [1, 2, 3, 4, 5] == sorted(task.result for task in ended)
        assert 10 == over(client, client.delete_many({"tag": "many"})).done
        assert work.id in {one.id for one in client.bulks()}
        assert "done" == client.abort_bulk(work.id).state
        with pytest.raises(NotFound):
            client.bulk("nothing")
        with pytest.raises(Refused, match="filter"):
            client.cancel_many({})


async def test_the_async_client_does_the_same(url: str) -> None:
    """Awaited."""
    async with AsyncTaskpost(url) as client:
        await client.submit("demo.add", {"a": 1, "b": 0}, tags=["async"], delay_seconds=3600)
        assert 1 == (await client.count_bulk("cancel", {"tag": "async"})).matched
        work = await client.cancel_many({"tag": "async"})
        while not work.is_over:
            work = await client.bulk(work.id)
        assert [1] == [one.done for one in await client.bulks() if one.id == work.id]
        assert ["cancelled"] == [task.state async for task in client.list(tag="async", name="demo.*")]


def test_the_command_line_counts_first_and_then_does_it(run: Run) -> None:
    """Without --yes nothing is done; with it the end is shown, and its exit status tells of an abort."""
    for n in range(3):
        run("submit", "demo.add", f"a={n}", "b=0", "--tag", "cli", "--delay", "1h")
    status, out, err = run("bulk", "cancel", "--tag", "cli")
    assert (0, "3 tasks would be meant") == (status, out.splitlines()[-1])
    assert "nothing was done; --yes does it without asking" in err
    status, out, _ = run("bulk", "cancel", "--tag", "cli", "--count", "--json")
    assert (0, 3) == (status, json.loads(out)["matched"])
    status, out, _ = run("bulk", "cancel", "--tag", "cli", "--yes")
    assert (0, "✓ done") == (status, out[:6])
    assert "cancel  100 %: 3 done" in out
    status, out, _ = run("bulk", "replay", "--tag", "cli", "--state", "cancelled", "--arg", "b=1", "--yes", "--json")
    assert (0, 3) == (status, json.loads(out)["done"])
    id_ = json.loads(out)["id"]
    assert id_ in run("bulk")[1]
    assert "100 %: 3 done" in run("bulk", "show", id_)[1]
    status, out, _ = run("bulk", "cancel", "--tag", "cli", "--yes", "--rate", "0.01", "--detach", "--json")
    assert "✓" in run("bulk", "abort", id_)[1]
    assert "–" in run("bulk", "abort", json.loads(out)["id"])[1] + "–"


def test_one_replay_has_edits_too(run: Run) -> None:
    """Arguments as they are given to a submission."""
    run("submit", "demo.add", "a=2", "b=3", "--wait")
    _, out, _ = run("list", "--name", "demo.*", "--state", "succeeded", "--limit", "1", "--json")
    task = json.loads(out.splitlines()[0])
    status, out, _ = run("replay", task["id"], "--arg", "b=40", "--json")
    assert (0, {**task["args"], "b": 40}) == (status, json.loads(out)["args"])


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        (("cancel",), "which tasks?"),
        (("show",), "which work?"),
        (("cancel", "mail"), "is too much"),
        (("priority", "--tag", "a"), "which priority?"),
        (("reschedule", "--tag", "a"), "when?"),
        (("cancel", "--tag", "a", "--canary", "3"), "--canary goes with replay"),
        (("cancel", "--tag", "a", "--arg", "b=1"), "--arg goes with replay"),
    ],
)
def test_what_is_missing_is_said(run: Run, given: tuple[str, ...], needs: str) -> None:
    """Before anything is asked."""
    status, _, err = run("bulk", *given)
    assert 2 == status
    assert needs in err
