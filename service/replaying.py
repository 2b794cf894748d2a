"""
What has ended, done once more: the submission of the new task. Pure.

The fact to know: a callback that is delivered again keeps its `webhook-id`, so that a receiver knows the event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.ids import encode_id
from service.task import Snapshot

# What belongs to the old task alone.
ONCE = ("run_at", "delay_seconds", "debounce", "expires_at", "idempotency_key", "schedule", "replay_of")
OF_URLS = ("url", "headers", "body")  # edits of what is sent to a URL
OURS = ("callback_of", "webhook_id")  # what no submission of a user has


def replayed(task: Snapshot, edits: Mapping[str, Any]) -> dict[str, Any]:
    """
    The submission of *task* once more, with *edits* in it: the members of `args` and `headers` are put in place one by
    one, all else as a whole. Nothing in it is ours alone: it may be submitted.
    """
    submission = {name: value for name, value in task.record.submission.items() if name not in (*ONCE, *OURS)}
    submission |= {"queue": task.record.queue, "priority": task.record.priority}
    for name, value in edits.items():
        merges = name in ("args", "headers") and isinstance(submission.get(name), dict)
        submission[name] = {**submission[name], **value} if merges else value
    if "body" in edits:
        submission.pop("body_text", None)
        submission.pop("body_base64", None)
    return submission


def can_have(task: Snapshot, edits: Mapping[str, Any]) -> bool:
    """Whether *task* is of the kind that *edits* are for: arguments are those of handlers, the rest is sent to URLs."""
    is_call = "url" in task.record.submission
    return not ("args" in edits if is_call else any(name in edits for name in OF_URLS))


def with_origin(submission: dict[str, Any], task: Snapshot) -> dict[str, Any]:
    """*submission* with what says whose replay it is."""
    old = encode_id(task.id)
    submission |= {name: task.record.submission[name] for name in OURS if name in task.record.submission}
    submission["replay_of"] = old
    if "callback_of" in submission:
        submission.setdefault("webhook_id", old)
    return submission
