"""
How a task reads: the contract's `Task`, from what Redis knows of it. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.ids import created_ms, encode_id
from service.redaction import Redaction, shown_url
from service.task import ENDED, Snapshot, first_due_ms, rfc3339

BODIES = ("body", "body_text", "body_base64")
# Shown as submitted.
KEPT = ("flow", "group", "unique", "debounce", "cancel_url", "parent", "traceparent", "schedule", "replay_of")


def show(snapshot: Snapshot, options: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    """
    The task as the API reads it: the contract's `Task`, without the secrets of *redaction*. What is absent is left out,
    but for the two end times.
    """
    record, run, submission = snapshot.record, snapshot.run, snapshot.record.submission
    outcome = record.outcome or {}
    first_due = first_due_ms(snapshot.id, submission)
    started = outcome.get("started_ms") or (run.started_ms if run else 0)
    shown: dict[str, Any] = {
        "id": encode_id(snapshot.id),
        **target_of(submission, redaction),
        "queue": record.queue,
        "namespace": record.namespace,
        "lane": record.lane,
        "state": snapshot.state,
        "priority": record.priority,
        "attempt": outcome.get("attempt", run.attempt if run else 0),
        "crashes": outcome.get("crashes", run.crashes if run else 0),
        "created_at": rfc3339(created_ms(snapshot.id)),
        "run_at": rfc3339(first_due if record.has_ended else record.time_ms or first_due),
        "started_at": rfc3339(started) if started else None,
        "finished_at": rfc3339(record.time_ms) if record.has_ended else None,
        "tags": submission.get("tags", []),
        "metadata": submission.get("metadata", {}),
    }
    if snapshot.state == "succeeded" and options["result_ttl_seconds"] > 0 and record.unreadable is None:
        shown["result"] = outcome.get("result")
        if "dropped_bytes" in outcome:
            shown["dropped_bytes"] = outcome["dropped_bytes"]
    optional = {
        **options,
        "unreadable": record.unreadable.detail if record.unreadable else None,
        "error": outcome.get("error"),
        "progress": snapshot.progress or outcome.get("progress"),
        "checkpoint": snapshot.checkpoint,
        "idempotency_key": submission.get("idempotency_key"),
        "callback": show_callback(submission.get("callback"), outcome.get("callback"), redaction),
        "callback_of": submission.get("callback_of"),
        **kept_of(submission),
        "expires_at": rfc3339(record.ties.expires_ms) if record.ties.expires_ms else None,
        "worker": outcome.get("worker") or (run.worker if run else None),
    }
    shown.update({name: value for name, value in optional.items() if value is not None})
    return shown


def target_of(submission: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    """What a task does: its handler and arguments, or the call it makes."""
    if "name" in submission:
        return {"name": submission["name"], "args": submission.get("args", {})}
    if "url" not in submission:
        return {}  # it cannot be read
    target: dict[str, Any] = {"url": shown_url(submission["url"]), "method": submission.get("method", "POST")}
    target["headers"] = redaction.headers(submission.get("headers", {}))
    target |= {name: True for name in ("envelope", "retry_4xx") if submission.get(name)}
    return target | {name: submission[name] for name in BODIES if name in submission}


def without_secrets(submission: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    """*submission* as it was given, but for the secrets of its calls."""
    shown = dict(submission)
    if "headers" in shown:
        shown["headers"] = redaction.headers(shown["headers"])
    if isinstance(callback := shown.get("callback"), dict):
        shown["callback"] = without_secrets(callback, redaction)
    return {**shown, **{name: shown_url(shown[name]) for name in ("url", "cancel_url") if name in shown}}


def kept_of(submission: Mapping[str, Any]) -> dict[str, Any]:
    """What is shown as submitted."""
    kept = {name: submission[name] for name in KEPT if name in submission}
    if "cancel_url" in kept:
        kept["cancel_url"] = shown_url(kept["cancel_url"])
    return kept


def show_callback(callback: dict[str, Any] | None, sent: str | None, redaction: Redaction) -> dict[str, Any] | None:
    """The callback asked for, and the id of the task that delivers it once there is one."""
    if callback is None:
        return None
    shown = {
        "url": shown_url(callback["url"]),
        "headers": redaction.headers(callback.get("headers", {})),
        "on": callback.get("on") or list(ENDED),
    }
    return {**shown, "task_id": sent} if sent else shown
