"""
The dashboard in headless Chromium: how long its frames take and how much memory it holds, with 100,000 tasks stored and
with some thousand changes of state a second. Needs chromium and the test extra, so nobody gets it unasked.

A frame is what lies between two calls of requestAnimationFrame; without anything to do that is 16.7 ms. On a machine
that runs the service, its load and the browser at once, a part of a long frame is the machine's.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.drain import A_REQUEST
from benchmarks.figures import Figure, Goal, percentile
from benchmarks.memory import LATER, fill
from benchmarks.scale import Scale
from benchmarks.submit import ONE
from benchmarks.system import MEMORY, System, system
from tests.browser.chromium import browser_at_work
from tests.servers import HOST

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

STORED = 100_000
TASKS_A_SECOND = 334  # each is submitted, starts and succeeds: three changes of state
MIB = 2**20
MOST_FRAME_MS, MOST_HEAP_MIB = 50.0, 100.0
# Frames are noted in the page, so that a slow line to it makes none of them longer.
WATCH = """() => {
  window.frames_ms = [];
  let last = performance.now();
  const turn = (at) => { window.frames_ms.push(at - last); last = at; requestAnimationFrame(turn); };
  requestAnimationFrame(turn);
}"""
SCROLL = "() => { const box = document.querySelector('.virtual'); box.scrollTop += 1800; return box.scrollTop; }"


def dashboard(scale: Scale, kind: str) -> Iterator[Figure]:
    """Frames of the list while it is scrolled and while it is live, of the tail, and the memory of the page."""
    stored = min(STORED, scale.stored)
    with system(kind, MEMORY, "web", "worker", "scheduler") as one, browser_at_work() as browser:
        fill(one, ONE[:-1] + LATER, stored)
        page = browser.new_page(viewport={"width": 1360, "height": 860})
        where = f"{one.where}, {stored:,} tasks"
        page.goto(f"http://{HOST}:{one.port}/ui/tasks?q=state:scheduled")
        page.wait_for_selector(".virtual tbody tr")
        session, steps = metered(page), steps_of(scale.seconds * 3)
        yield from frames("the list is scrolled", where, scrolled(page, steps))
        each_ms = metric(session, "TaskDuration") * 1000 / steps
        yield Figure("dashboard: work of the page, 50 rows scrolled", where, "ms", [each_ms], Goal(most=MOST_FRAME_MS))
        yield Figure("dashboard: rows in the page while it is scrolled", where, "", [rows_of(page)], Goal(most=100))
        with moving(one, scale):
            for name, path in (("the list is live", "/tasks"), ("the tail is live", "/tail")):
                page.goto(f"http://{HOST}:{one.port}/ui{path}")
                page.wait_for_selector(".virtual tbody tr")
                yield from frames(name, f"{where}, {3 * TASKS_A_SECOND} moves/s", watched(page, scale.seconds * 5))
                yield Figure(f"dashboard: memory, {name}", where, "MiB", [heap_of(page)], Goal(most=MOST_HEAP_MIB))


def frames(name: str, where: str, took_ms: list[float]) -> Iterator[Figure]:
    """Half of the frames, and nearly all of them."""
    yield Figure(f"dashboard: frame, {name}, p50", where, "ms", [percentile(took_ms, 0.5)])
    yield Figure(f"dashboard: frame, {name}, p95", where, "ms", [percentile(took_ms, 0.95)], Goal(most=MOST_FRAME_MS))
    yield Figure(f"dashboard: frame, {name}, longest", where, "ms", [max(took_ms)])


def steps_of(seconds: float) -> int:
    """How often a list is scrolled in *seconds*."""
    return max(int(seconds * 10), 5)


def scrolled(page: Page, steps: int) -> list[float]:
    """The frames while the list runs under a hand that does not stop, which loads page behind page."""
    page.evaluate(WATCH)
    for _ in range(steps):
        page.evaluate(SCROLL)
        page.wait_for_timeout(100)
    return frames_of(page)


def watched(page: Page, seconds: float) -> list[float]:
    page.evaluate(WATCH)
    page.wait_for_timeout(max(seconds, 1) * 1000)
    return frames_of(page)


def frames_of(page: Page) -> list[float]:
    took: list[float] = page.evaluate("() => window.frames_ms")
    return took[1:] or [0.0]


def rows_of(page: Page) -> float:
    return float(page.locator(".virtual tbody tr").count())


def heap_of(page: Page) -> float:
    """The memory of the page's own objects, what nobody needs any more thrown away before."""
    session = metered(page)
    session.send("HeapProfiler.collectGarbage")
    return metric(session, "JSHeapUsedSize") / MIB


def metered(page: Page) -> CDPSession:
    """Counts from now on, in processor time of the page's thread: other programs of the machine make that no longer."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    return session


def metric(session: CDPSession, name: str) -> float:
    found = {row["name"]: row["value"] for row in session.send("Performance.getMetrics")["metrics"]}
    return float(found[name])


@contextmanager
def moving(one: System, scale: Scale) -> Iterator[None]:
    """While the block runs, tasks are submitted evenly, and a worker does them."""
    import httpx

    is_over = threading.Event()
    each_seconds = A_REQUEST / TASKS_A_SECOND if scale.stored >= STORED else 0.2
    many = A_REQUEST if scale.stored >= STORED else 10
    body = f"[{','.join([ONE] * many)}]".encode()

    def submit() -> None:
        with httpx.Client(base_url=f"http://{HOST}:{one.port}", trust_env=False, timeout=30) as client:
            while not is_over.wait(each_seconds):
                client.post("/v1/tasks/batch", content=body, headers={"content-type": "application/json"})

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
