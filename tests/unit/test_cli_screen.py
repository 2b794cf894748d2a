"""How answers look: tables that fit, times in words, nothing that steers the terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from service.cli_attempts import show_attempts
from service.cli_queues import show_queues
from service.cli_screen import Column, Screen, clean, relative, shown_width, span
from service.cli_show import show_handlers, show_task, show_tasks, show_workers
from service.client.queues import Queue
from service.client.types import Attempt, Handler, Task, TaskError, Worker, view

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
ID = "01M819EKHX02FJFH0TDFHXG001"


class Tty(io.StringIO):
    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def screen(out: io.StringIO, **env: str) -> Screen:
    return Screen(out, io.StringIO(), env)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.002, "2 ms"),
        (1.55, "1.5 s"),
        (59.99, "59.9 s"),
        (185, "3 min 5 s"),
        (7200, "2 h"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert text == span(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "now"), (12, "12 s ago"), (-185, "in 3 min"), (90_000, "1 d ago"), (-3599.7, "in 1 h")]
)
def test_times_are_told_from_now(seconds: float, text: str) -> None:
    assert text == relative(NOW - timedelta(seconds=seconds), NOW)


def test_an_attempt_shows_its_log_line_by_line() -> None:
    """Traceback below its line; nothing in it steers the terminal; the state is coloured, where there are colours."""
    log = [
        {"at": "2026-11-22T09:29:58.250Z", "level": "info", "message": "one \x1b[2J"},
        {"at": "2026-11-22T09:29:59Z", "level": "error", "message": "two\nTraceback"},
    ]
    fields = {"attempt": 2, "started_at": "2026-11-22T09:29:58Z", "worker": "w", "log": log}
    out = Tty()
    show_attempts(screen(out), [view(Attempt, fields)], NOW)
    text = out.getvalue()
    assert text.startswith("\x1b[33m▶ running\x1b[0m  attempt 2\n")
    assert "58.250" in text
    assert "info      one \\x1b[2J\n" in text
    assert "\x1b[31merror   \x1b[0m  two\n" in text
    assert f"\n{'':35}\x1b[2mTraceback\x1b[0m\n" in text


def test_control_characters_are_made_visible() -> None:
    """A task's name, result or error cannot clear the screen of who looks at it."""
    assert r"\x1b[2J\x07 \u202e" == clean("\x1b[2J\a \u202e")
    out = Tty()
    error = TaskError(type="E", message="\x1b]0;title\x07", traceback="\x9b2J")
    task = Task(
        id=ID, state="\x1b[31mfailed", name="n", error=error, result="\x1b[2J", raw={"result": 1}, tags=["\x1b"]
    )
    show_task(screen(out, NO_COLOR="1"), task, NOW)
    show_tasks(screen(out, NO_COLOR="1"), [task], NOW)
    assert not {"\x1b", "\x07", "\x9b"} & set(out.getvalue())


def test_a_table_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may shrink is cut with an ellipsis; wide characters count as two columns."""
    monkeypatch.setenv("COLUMNS", "30")
    out = Tty()
    screen(out, NO_COLOR="1").table(
        [Column("NAME", shrinks=True), Column("N", is_right=True)], [("x" * 40, "1,000"), ("漢字" * 20, "1")]
    )
    lines = out.getvalue().splitlines()
    assert [30, 30] == [shown_width(line) for line in lines[1:] if line.endswith("0")] + [shown_width(lines[2])]
    assert "…" in lines[1]
    assert lines[0].endswith("    N")


def test_what_goes_into_a_file_is_whole_and_plain() -> None:
    """Not cut, not painted."""
    out = io.StringIO()
    screen(out).table([Column("NAME", shrinks=True)], [("x" * 500,)])
    assert "NAME\n" + "x" * 500 + "\n" == out.getvalue()


def test_states_are_words_with_a_symbol_where_it_can_be_written() -> None:
    """Colour is never the only sign."""
    assert "✓ succeeded" == screen(Tty(), NO_COLOR="1").state("succeeded")
    assert "\033[32m✓ succeeded\033[0m" == screen(Tty()).state("succeeded")
    assert "succeeded" == screen(io.StringIO(), TERM="dumb").state("succeeded")


def test_a_failed_task_shows_where_it_failed() -> None:
    """The error comes last, with the end of its traceback."""
    out = io.StringIO()
    traceback = "\n".join(f"line {number}" for number in range(100))
    error = {"type": "ValueError", "message": "no template", "traceback": traceback}
    document = {"id": ID, "name": "mail", "state": "failed", "attempt": 4, "retries": 3, "error": error}
    show_task(screen(out), view(Task, document), NOW)
    lines = out.getvalue().splitlines()
    assert f"failed  {ID}  mail" == lines[0]
    assert "attempt  4 of 4" in lines[2]
    assert "line 99" == lines[-1].strip()
    assert "80 lines before; --json shows all" in out.getvalue()


@pytest.mark.parametrize(("crashes", "words"), [(1, "1 lost worker"), (2, "2 lost workers")])
def test_a_task_shows_the_workers_that_it_cost(crashes: int, words: str) -> None:
    """Beside the attempts, of which a crash spends none."""
    out = io.StringIO()
    document = {"id": ID, "name": "n", "state": "running", "attempt": 1, "retries": 3, "crashes": crashes}
    show_task(screen(out), view(Task, document), NOW)
    assert f"attempt  1 of 4, {words}" in [line.strip() for line in out.getvalue().splitlines()]


def test_a_task_shows_that_it_has_a_checkpoint() -> None:
    """Since when, and how large."""
    out = io.StringIO()
    checkpoint = {"at": (NOW - timedelta(seconds=65)).isoformat(), "bytes": 12_345}
    document = {"id": ID, "name": "import", "state": "running", "attempt": 2, "retries": 3, "checkpoint": checkpoint}
    show_task(screen(out), view(Task, document), NOW)
    [line] = [line for line in out.getvalue().splitlines() if "checkpoint" in line]
    assert line.endswith("(1 min ago), 12,345 bytes")


def test_lists_read_as_tables() -> None:
    """Titles, aligned numbers, times in words."""
    out = io.StringIO()
    one = screen(out)
    held = {"concurrency": 5, "rate": 100, "period_seconds": 60}
    full = Queue(name="mail", queued=1200, scheduled=3, running=0, oldest_seconds=65, paused=True, settings=held)
    show_queues(one, [full])
    show_workers(one, [Worker(id="w", queues=[], slots={"url": 100}, started_at=NOW, seen_at=NOW)], NOW)
    schema = {"properties": {"a": {"type": "integer"}}, "required": ["a"]}
    show_handlers(one, [view(Handler, {"name": "add", "args_schema": schema, "workers": 0, "lane": "async"})])
    assert out.getvalue().splitlines() == [
        "QUEUE  QUEUED  SCHEDULED  RUNNING     OLDEST  STATE   LIMITS",
        "mail    1,200          3        0  1 min 5 s  paused  5 at once, 100 in 1 min",
        "WORKER  STATE    RUNNING  PROCESSES  SLOTS    QUEUES  STARTED  SEEN",
        "w       running        0          1  url 100  all     now      now",
        "HANDLER      RUNS AS  QUEUE    WORKERS  WHAT IT DOES",
        "add(a: int)  async    default     none",
    ]
