"""
Why a task stands where it stands, in sentences: each thing that holds it, and what would change that.

Pure: what is known is given. The fact to know: several things may hold a task at once, and each is named; a task that
nothing holds is about to start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.ids import encode_id
from service.task import Run, Snapshot, rfc3339

Worker = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that holds a task: a stable *kind*, what it is, and what would change it."""

    kind: str
    detail: str
    remedy: str | None = None

    def shown(self) -> dict[str, Any]:
        """The contract's `Reason`."""
        return {"kind": self.kind, "detail": self.detail, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """
    What a task's queue allows: *paused* is who paused it, when and why; *concurrency* how many of its tasks may run, of
    which there are *running*; *next_start_ms* when its rate lets the next start, None when it may now.
    """

    paused: Mapping[str, Any] | None = None
    concurrency: int | None = None
    running: int = 0
    next_start_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """How a task's flow key stands: *holders* are ids of some of its tasks that run; see `QueueFacts` for the rest."""

    key: str
    is_paused: bool = False
    concurrency: int | None = None
    running: int = 0
    next_start_ms: int | None = None
    holders: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What is known around a task. *ahead* estimates how many ready tasks of its queue go before it, None when it is not
    ready; *gone* is why its URL is not called, *off* why its endpoint is not, and *circuit* why that is kept back for
    now; *retry_error* what its last attempt failed with;
    *groups* says with how many others its group takes turns.
    """

    workers: Sequence[Worker]
    ahead: int | None = None
    gone: str | None = None
    retry_error: str | None = None
    off: str | None = None
    circuit: str | None = None
    queue: QueueFacts = QueueFacts()
    flow: FlowFacts | None = None
    groups: int = 0


def explained(task: Snapshot, facts: Facts) -> dict[str, Any]:
    """The contract's `Explanation`."""
    reasons = list(reasons_of(task, facts))
    return {
        "id": encode_id(task.id),
        "state": task.state,
        "summary": summary_of(task, reasons),
        "ahead": facts.ahead,
        "reasons": [reason.shown() for reason in reasons],
    }


def summary_of(task: Snapshot, reasons: Sequence[Reason]) -> str:
    """One sentence for those who read one."""
    if task.record.has_ended:
        return f"It has ended: {task.state}, at {rfc3339(task.record.time_ms)}."
    if reasons:
        return reasons[0].detail
    return "Nothing holds it: a worker takes it with its next look."


def reasons_of(task: Snapshot, facts: Facts) -> Iterator[Reason]:
    """What holds *task*, the most telling first."""
    if task.record.has_ended:
        return
    if task.run is not None and task.run.is_held:
        yield held_reason(task, task.run)
        return
    if task.state == "scheduled":
        yield due_reason(task, facts)
    yield from queue_reasons(task, facts.queue)
    if facts.flow is not None:
        yield from flow_reasons(task, facts.flow)
    if facts.gone:
        yield Reason(
            "url-disabled", f"It will fail without a call: {facts.gone}.", "Wait until then, or send it elsewhere."
        )
    if facts.off:
        yield Reason("endpoint-disabled", f"It will fail without a call: {facts.off}.", "POST /v1/endpoints/…/enable")
    if facts.circuit:
        yield Reason(
            "circuit-open", f"Its endpoint is not called for now: {facts.circuit}.",
            "The endpoint answers the next probe; POST /v1/endpoints/…/test makes one at once.",
        )  # fmt: skip
    yield from worker_reasons(task, facts.workers)
    if task.run is not None and task.run.is_suspect:
        yield Reason(
            "runs-alone",
            "It was lost together with other tasks when a worker's process died, so that it runs alone from now on: "
            "it waits for a process that runs nothing else.",
        )
    if facts.groups and facts.ahead is not None:
        group = task.record.ties.group
        others = "another" if facts.groups == 1 else f"{facts.groups:,} others"
        yield Reason(
            "group-turn",
            f"Its group {group} takes turns with {others}; about {facts.ahead:,} tasks go first.",
            f"A higher weight: PATCH /v1/queues/{task.record.queue}/groups/{group}",
        )
    elif facts.ahead:
        yield Reason(
            "behind-others",
            f"About {facts.ahead:,} tasks of the queue {task.record.queue} go before it.",
            "A higher priority (POST …/reschedule), or more workers.",
        )


def queue_reasons(task: Snapshot, queue: QueueFacts) -> Iterator[Reason]:
    """Its queue lets no task start now."""
    name = task.record.queue
    if queue.paused is not None:
        by = f" by {queue.paused['by']}" if queue.paused["by"] else ""
        why = f": {queue.paused['reason']}" if queue.paused["reason"] else ""
        told = f"The queue {name} is paused{by} since {rfc3339(queue.paused['at_ms'])}{why}."
        yield Reason("queue-paused", told, f"POST /v1/queues/{name}/resume")
    if queue.concurrency is not None and queue.running >= queue.concurrency:
        yield Reason(
            "queue-full", f"The queue {name} runs as many tasks as it may: {queue.running:,} of {queue.concurrency:,}.",
            f"One of them ends, or PATCH /v1/queues/{name} raises `concurrency`.",
        )  # fmt: skip
    if queue.next_start_ms is not None:
        after = f"in {lasting(queue.next_start_ms - task.now_ms)}"
        yield Reason(
            "queue-rate", f"The rate of the queue {name} lets its next task start {after}.",
            f"Wait until then, or PATCH /v1/queues/{name} raises `rate` or `burst`.",
        )  # fmt: skip


def flow_reasons(task: Snapshot, flow: FlowFacts) -> Iterator[Reason]:
    """Its flow key lets no task start now."""
    if flow.is_paused:
        yield Reason("flow-paused", f"The flow key {flow.key} is paused.", f"taskpost flows resume {flow.key}")
    if flow.concurrency is not None and flow.running >= flow.concurrency:
        which = f", {', '.join(flow.holders)}{' …' if len(flow.holders) < flow.running else ''}" if flow.holders else ""
        yield Reason(
            "flow-full",
            f"As many tasks of the flow key {flow.key} run as may, {flow.running:,} of {flow.concurrency:,}{which}.",
            f"One of them ends, or PATCH /v1/flows/{flow.key} raises `concurrency`.",
        )
    if flow.next_start_ms is not None:
        yield Reason(
            "flow-rate",
            f"The rate of the flow key {flow.key} lets its next task start in "
            f"{lasting(flow.next_start_ms - task.now_ms)}.",
            f"Wait until then, or POST /v1/flows/{flow.key}/reset",
        )


def held_reason(task: Snapshot, run: Run) -> Reason:
    """A task that is leased."""
    since = f"since {rfc3339(run.started_ms)} ({lasting(task.now_ms - run.started_ms)}), attempt {run.attempt}"
    if run.is_cancelling:
        return Reason("cancelling", f"It was asked to stop, and has not yet; it runs {since}.")
    if run.is_external:
        return Reason(
            "at-endpoint", f"Its endpoint took it on and will finish it through the completion URL; {since}.",
            "The endpoint completes it, or falls silent for as long as its heartbeat allows.",
        )  # fmt: skip
    return Reason("running", f"The worker {run.worker} runs it {since}.", "POST …/cancel stops it.")


def due_reason(task: Snapshot, facts: Facts) -> Reason:
    """A task whose time has not come."""
    when = f"at {rfc3339(task.record.time_ms)} (in {lasting(task.record.time_ms - task.now_ms)})"
    remedy = "POST …/run starts it now, POST …/reschedule changes the time."
    if task.run is not None and task.run.attempt:
        failed = f" with {facts.retry_error}" if facts.retry_error else ""
        return Reason("retry-later", f"Attempt {task.run.attempt} ended{failed}; the next is due {when}.", remedy)
    if task.record.ties.claim[:2] == b"dQ":
        return Reason("debounced", f"It waits until no other of its key comes; if none does, it is due {when}.", remedy)
    return Reason("due-later", f"It is due {when}.", remedy)


def worker_reasons(task: Snapshot, workers: Sequence[Worker]) -> Iterator[Reason]:
    """No live worker takes it, or those that would are full."""
    record = task.record
    queue, lane, name = record.queue, record.lane, record.submission.get("name")
    serving = [one for one in workers if not one["queues"] or queue in one["queues"]]
    if not serving:
        told = "No worker lives." if not workers else f"No live worker serves the queue {queue}."
        yield Reason("no-worker", told, f"Start one: taskpost worker -Q {queue}")
        return
    able = [one for one in serving if name is None or name in one["handlers"]]
    if not able:
        yield Reason(
            "no-handler", f"No live worker of the queue {queue} has the handler {name}.",
            "Start a worker that does: taskpost worker --handlers module",
        )  # fmt: skip
        return
    taking = [one for one in able if one.get("state", "running") == "running"]
    if not taking:
        yield Reason(
            "workers-quiet", f"The workers that could run it ({len(able)}) are quiet or stopping.",
            "POST /v1/workers/{id}/resume, or start another.",
        )  # fmt: skip
        return
    slots = sum(int(one["slots"].get(lane, 0)) for one in taking)
    if not slots:
        yield Reason(
            "no-slots", f"No live worker of the queue {queue} has a slot for {lane} tasks.",
            "POST /v1/workers/{id}/resize, or start a worker with some.",
        )  # fmt: skip


def lasting(ms: int) -> str:
    """A length of time to be read: `3 h 20 min`, `45 s`, `0.2 s`."""
    seconds = max(ms, 0) / 1000
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    total = timedelta(seconds=int(seconds))
    hours, rest = divmod(total.seconds, 3600)
    parts = [(total.days, "d"), (hours, "h"), (rest // 60, "min")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number)[:24] or "0 s"
