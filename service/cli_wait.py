"""
Waiting for a task on the command line: what is shown meanwhile, and what the exit status says at the end.

The fact to know: the bar is drawn on standard error, on a terminal only, and is gone when the wait is over, so that
standard output holds nothing but the answer.
"""

from __future__ import annotations

import math
import time
from itertools import cycle

from service.cli_screen import Screen, cut, one_line, span
from service.client.blocking import Taskpost
from service.client.errors import WaitTimedOut
from service.client.types import Task

SUCCEEDED, ENDED_OTHERWISE, FAULT, TIMED_OUT = 0, 1, 2, 124

REDRAW_SECONDS = 0.5  # the API holds each question so long, and answers at once when the task ends
BAR_COLUMNS = 24
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


def wait(api: Taskpost, screen: Screen, task: Task, seconds: float) -> tuple[Task, int]:
    """
    The task as it is when it has ended, or after *seconds* (infinity: never), and the exit status that says which.
    """
    try:
        if not task.is_ended:
            task = watched(api, screen, task.id, seconds)
    except WaitTimedOut as exc:
        screen.note(str(exc))
        return exc.task, TIMED_OUT
    except KeyboardInterrupt:
        screen.note(f"task {task.id} goes on; `taskpost wait {task.id}` waits again")
        raise
    return task, SUCCEEDED if task.succeeded else ENDED_OTHERWISE


def watched(api: Taskpost, screen: Screen, id_: str, seconds: float) -> Task:
    """The ended task, with a bar for people meanwhile. Raises WaitTimedOut after *seconds*."""
    if not screen.notes.out.isatty():
        return api.wait(id_, None if math.isinf(seconds) else seconds)
    started, spinner = time.monotonic(), cycle(SPINNER if screen.has_symbols else "|/-\\")
    try:
        while True:
            left = seconds - (time.monotonic() - started)
            task = api.get(id_, wait=max(0.0, min(left, REDRAW_SECONDS)))
            if task.is_ended:
                return task
            if left <= 0:
                raise WaitTimedOut(task, seconds)
            draw(screen, bar(screen, task, next(spinner), time.monotonic() - started))
    finally:
        draw(screen, "")


def draw(screen: Screen, text: str) -> None:
    """Put *text* in place of the line drawn before."""
    try:
        screen.notes.out.write(f"\r{text}\033[K")
        screen.notes.out.flush()
    except OSError:
        pass


def bar(screen: Screen, task: Task, tick: str, elapsed_seconds: float) -> str:
    """One line: the state, how far the task is, and for how long this has been waiting."""
    words = [tick, task.state, span(int(elapsed_seconds))]
    progress = task.progress
    if progress is not None:
        if progress.total:
            share = min(1.0, max(0.0, progress.current / progress.total))
            full = round(share * BAR_COLUMNS)
            done, rest = ("█", "░") if screen.has_symbols else ("#", ".")
            words.insert(2, f"{done * full}{rest * (BAR_COLUMNS - full)} {share:.0%}")
        else:
            words.insert(2, f"{progress.current:g}")
        words.append(progress.message or "")
    elif task.state == "scheduled" and task.attempt:
        words.append(f"attempt {task.attempt} failed; tried again soon")
    return cut(one_line(" ".join(words)), (screen.width or 80) - 1)
