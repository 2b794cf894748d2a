"""`taskpost schedules` against a live API: what is printed, where, and with which exit status."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from service import cli, cli_screen
from tests.running import taskpost

Run = Callable[..., tuple[int, str, str]]
ADD = ("demo.add", "a=2", "b=3")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost("web", "worker", "scheduler") as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `taskpost schedules`; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(["schedules", *arguments])
        return status, *capsys.readouterr()

    return run


def test_one_is_added_and_shown_with_what_comes_next(run: Run) -> None:
    """In UTC and on the clocks of its zone, in plain English."""
    status, out, err = run(
        "add", "nightly", "--cron", "0 3 * * *", "--tz", "Asia/Shanghai", *ADD, "--overlap", "skip",
        "--tag", "{{ fire_time | date }}", "--retries", "5", "--description", "sums",
    )  # fmt: skip
    assert (0, "") == (status, err)
    shown = dict(line.split(None, 1) for line in out.splitlines()[1:12])
    assert out.startswith("● active  nightly\n")
    assert ("At 03:00 every day, Asia/Shanghai", "demo.add", '{"a":2,"b":3}', '{"retries":5}', "skip", "0") == (
        shown["when"], shown["task"], shown["args"], shown["options"], shown["overlap"], shown["runs"],
    )  # fmt: skip
    following = [line for line in out.splitlines() if "03:00:00+08:00" in line]
    assert 5 == len(following)
    assert all("19:00:00 " in line for line in following)


def test_every_option_of_the_times_is_a_field_of_the_contract(run: Run) -> None:
    """As the API shows them again."""
    _, out, _ = run(
        "add", "all", "--cron", "@daily", "--cron", "0 9 * * MON", "--every", "5m", "--anchor", "2026-12-01T00:00:00Z",
        "--calendar", "months=1 anchor=2026-01-31T09:00", "--at", "2036-12-24 18:00", "--start", "2026-01-01T00:00:00Z",
        "--end", "2037-01-01T00:00:00Z", "--jitter", "20s", "--misfire", "all", "--grace", "2m", "--max-runs", "9",
        "--paused", "--url", "https://example.com/a", "--body", '{"n": 1}', "--timeout", "10s", "--json",
    )  # fmt: skip
    shown = json.loads(out)
    wanted = {
        "cron": "@daily\n0 9 * * MON", "every_seconds": 300, "anchor_at": "2026-12-01T00:00:00Z",
        "calendar": {"months": 1, "anchor": "2026-01-31T09:00"}, "at": ["2036-12-24 18:00"], "jitter_seconds": 20,
        "start_at": "2026-01-01T00:00:00Z", "end_at": "2037-01-01T00:00:00Z", "misfire": "all", "max_runs": 9,
        "misfire_grace_seconds": 120, "paused": True, "state": "paused",
        "task": {"url": "https://example.com/a", "body": {"n": 1}, "timeout_seconds": 10},
    }  # fmt: skip
    assert wanted == {name: shown[name] for name in wanted}


def test_the_list_shows_state_next_and_last_run(run: Run) -> None:
    """Also where the terminal is narrow; --json prints one a line."""
    run("add", "often", "--every", "1s", *ADD)
    run("add", "held", "--cron", "@hourly", *ADD, "--paused")
    run("add", "once", "--every", "1s", "--max-runs", "1", *ADD)
    deadline = time.monotonic() + 30
    while True:
        status, out, err = run()
        rows = {line.split()[0]: line for line in out.splitlines()}
        if "✓" in rows["often"] and "– ended" in rows["once"]:
            break
        assert time.monotonic() < deadline, out
        time.sleep(0.05)
    assert (0, "") == (status, err)
    assert rows["often"].split()[1:5] == ["●", "active", "Every", "second"]
    assert ("‖ paused" in rows["held"], "in" in rows["held"].split()) == (True, False)
    names = [json.loads(line)["name"] for line in run("--json")[1].splitlines()]
    assert {"held", "often", "once"} <= set(names)
    assert names == sorted(names)
    _, out, err = run("--limit", "1")
    assert (2, "There are more: --limit N or --all shows them.\n") == (len(out.splitlines()), err)
    run("delete", "often")


def test_a_narrow_terminal_keeps_what_matters(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and times are shortened; no line is broken."""
    run("add", "a-schedule-with-a-long-name", "--cron", "0 3 * * MON-FRI", "--tz", "America/New_York", *ADD)
    monkeypatch.setattr(cli_screen.Screen, "__init__", narrow(cli_screen.Screen.__init__))
    _, out, _ = run()
    assert max(cli_screen.shown_width(line) for line in out.splitlines()) <= 80
    assert any(line.startswith("a-schedule") and "in " in line for line in out.splitlines())


def narrow(real: Callable[..., None]) -> Callable[..., None]:
    def made(self: cli_screen.Screen, *given: object) -> None:
        real(self, *given)
        self.width = 80

    return made


def test_one_is_paused_run_changed_resumed_and_deleted(run: Run) -> None:
    """Several at once where that makes sense; a script gets the id of the task."""
    run("add", "acted", "--cron", "0 3 * * *", *ADD)
    assert (0, "‖ paused  acted\n", "") == run("pause", "acted")
    status, id_, _ = run("run", "acted", "--quiet")
    assert (0, 26) == (status, len(id_.strip()))
    assert id_.strip() in run("runs", "acted")[1]
    shown = json.loads(run("runs", "acted", "--json")[1])
    assert ("run_by_hand", id_.strip()) == (shown["outcome"], shown["task_id"])
    _, out, _ = run("show", "acted")
    assert "It is paused; resumed, it would fire next:" in out
    assert "✓ run by hand" in out
    _, out, _ = run("change", "acted", "--cron", "0 4 * * *", "a=5", "--args", '{"b": 6}', "--json")
    assert ("0 4 * * *", {"a": 5, "b": 6}, True) == (
        (changed := json.loads(out))["cron"], changed["task"]["args"], changed["paused"]
    )  # fmt: skip
    assert (0, "● active  acted\n", "") == run("resume", "acted")
    status, out, err = run("delete", "acted", "nobody")
    assert (2, "deleted  acted\n", True) == (status, out, err.startswith("nobody: there is no schedule nobody"))


def test_a_past_range_is_counted_begun_watched_and_aborted(run: Run) -> None:
    """Each with a line that says how far it is."""
    run("add", "past", "--every", "1d", "--anchor", "2026-01-01T00:00:00Z", *ADD, "--paused")
    span = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-03T12:00:00Z")
    status, out, err = run("backfill", "past", *span, "--dry-run")
    assert (0, "3 occurrences", "") == (status, out.splitlines()[0], err)
    assert ["last", "2026-01-03", "00:00:00", "UTC"] == out.splitlines()[2].split()
    assert 3 == json.loads(run("backfill", "past", *span, "--dry-run", "--json")[1])["total"]
    status, out, err = run("backfill", "past", *span, "--rate", "0.01", "--one-by-one")
    state, id_, progress = out.strip().split("  ")
    assert (0, "▶ running", True) == (status, state, progress.endswith(" of 3"))
    assert f"taskpost schedules backfills past shows how far it is, abort past {id_} ends it.\n" == err
    assert id_ in run("backfills", "past")[1]
    assert run("abort", "past", id_)[1].startswith(f"– aborted  {id_}")
    assert "– aborted" in run("backfills", "past")[1]
    run("add", "none", "--every", "1d", *ADD)
    assert (0, "", "there was no backfill yet\n") == run("backfills", "none")


def test_times_are_looked_at_before_they_are_saved(run: Run) -> None:
    """In UTC and as local times."""
    status, out, err = run("preview", "--cron", "30 2 * * *", "--tz", "Asia/Shanghai", "--count", "2")
    assert (0, "") == (status, err)
    first, _, *rows = out.splitlines()
    assert ("At 02:30 every day, Asia/Shanghai", 2) == (first, len(rows))
    assert all("18:30:00 " in row and "02:30:00+08:00" in row for row in rows)
    run("add", "looked", "--every", "1h", *ADD)
    assert "Every hour" in run("preview", "looked")[1]
    assert 3 == len(run("preview", "looked", "--count", "3", "--json")[1].splitlines())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "--every", "5m"), "which schedule? taskpost schedules add NAME"),
        (("add", "x", "--every", "5m"), "what is to be done? Name a handler"),
        (("add", "x", *ADD), "cron"),
        (("add", "bad", "--cron", "0 25 * * *", *ADD), "25 is not within 0-23"),
        (("add", "there", "--every", "1h", *ADD), "--replace puts this one in its place"),
        (("change", "there"), "what is to be changed?"),
        (("list", "there"), "did you mean taskpost schedules show there?"),
        (("show", "there", "--cron", "x"), "times go with add, change and preview"),
        (("pause", "there", "--retries", "2"), "goes with add and change"),
        (("show", "there", "too"), "takes one name"),
        (("preview",), "which times?"),
        (("change", "there", "--replace", "--every", "1h"), "--replace goes with add"),
        (("backfill", "there"), "from when on?"),
        (("abort", "there"), "abort needs the schedule and the backfill"),
        (("show", "there", "--dry-run"), "go with backfill"),
        (("backfill", "there", "--from", "2020-01-01", "--to", "2020-01-02"), "there is no occurrence from"),
        (("add", "x", "--calendar", " ", *ADD), "--calendar needs steps"),
    ],
)
def test_slips_are_answered_in_a_sentence(run: Run, words: tuple[str, ...], said: str) -> None:
    """Exit status 2, nothing on standard output."""
    run("add", "there", "--every", "1h", *ADD, "--replace")
    try:
        status, out, err = run(*words)
    except SystemExit as ended:  # what argparse refuses by itself
        status, out, err = int(ended.code or 0), "", said
    assert (2, "", True) == (status, out, said in err), err
