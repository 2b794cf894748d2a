"""
Unique keys: which tasks are the same, and what becomes of one that comes while another has its key. Pure.

The fact to know: a debounce is a unique key too, whose holder waits for quiet (or, at the leading edge, keeps it until
there was quiet). claims.lua holds to what a claim says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from service.showing import BODIES

WHAT = {"return": b"r", "reject": b"x", "reschedule": b"s", "replace": b"p"}
HOW_LONG = {"finished": b"F", "started": b"S"}
Fault = dict[str, Any]


def unique_of(submission: Mapping[str, Any], namespace: str) -> tuple[bytes, bytes]:
    """
    (hash of its unique key, 16 bytes; how it claims that, 14 bytes) of *submission*, which has no faults; of one that
    names none nothing.
    """
    if (debounce := submission.get("debounce")) is not None:
        quiet, most = ms_of(debounce["seconds"]), ms_of(debounce.get("max_wait_seconds", 0))
        kind = b"lT" if debounce.get("edge") == "leading" else b"dQ"
        return hash_of(submission, namespace, "debounce", debounce), kind + quiet + most
    if (unique := submission.get("unique")) is None:
        return b"", b""
    what, seconds = WHAT[unique.get("on_conflict", "return")], unique.get("for_seconds")
    how = b"T" if seconds is not None else HOW_LONG[unique.get("until", "finished")]
    return hash_of(submission, namespace, "unique", unique), what + how + ms_of(seconds or 0) + bytes(6)


def hash_of(submission: Mapping[str, Any], namespace: str, kind: str, given: Mapping[str, Any]) -> bytes:
    """By what Redis knows the key: of its namespace, its flow key, if it has one, and what it does."""
    flow = (submission.get("flow") or {}).get("key")
    place = [kind, namespace, flow, submission.get("name"), submission.get("url")]
    if "key" in given:
        what: Any = given["key"]
    elif "name" in submission:
        args = submission.get("args") or {}
        what = {name: args.get(name) for name in given["by"]} if "by" in given else args
    else:
        what = [submission.get("method", "POST"), *(submission.get(name) for name in BODIES)]
    text = orjson.dumps([*place, "key" if "key" in given else "args", canonical(what)], option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).digest()


def canonical(value: Any) -> Any:
    """*value* with numbers as JSON has them, of one kind: 5.0 is 5."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {name: canonical(one) for name, one in value.items()}
    return [canonical(one) for one in value] if isinstance(value, list) else value


def ms_of(seconds: float) -> bytes:
    return (max(int(seconds * 1000), 1) if seconds else 0).to_bytes(6, "big")


def kept_ms_of(submission: Mapping[str, Any]) -> int:
    """For how long after its creation a task must be there to be answered for its unique key."""
    if "unique" not in submission and "debounce" not in submission:
        return 0
    unique, debounce = submission.get("unique") or {}, submission.get("debounce") or {}
    return int(1000 * max(unique.get("for_seconds", 0), debounce.get("max_wait_seconds", debounce.get("seconds", 0))))


# ---------------------------------------------------------------- faults


def unique_faults(submission: Mapping[str, Any]) -> Iterator[Fault]:
    """What does not go together in `unique` and `debounce`, each of which fits its schema if it is there."""
    unique, debounce = submission.get("unique"), submission.get("debounce")
    if unique is not None and debounce is not None:
        yield {"pointer": "/debounce", "detail": "not together with `unique`: send one of the two"}
    for place, given in (("/unique", unique), ("/debounce", debounce)):
        if isinstance(given, dict):
            yield from key_faults(submission, place, given)
    if isinstance(unique, dict) and "for_seconds" in unique and "until" in unique:
        yield {"pointer": "/unique/until", "detail": "not together with `for_seconds`: send one of the two"}
    if not isinstance(debounce, dict):
        return
    for name in ("delay_seconds", "run_at"):
        if name in submission:
            detail = "not together with `debounce`, which says itself when the task starts"
            yield {"pointer": f"/{name}", "detail": detail}
    longest, seconds = debounce.get("max_wait_seconds"), debounce.get("seconds")
    if longest is not None and seconds is not None and longest < seconds:
        detail = f"{longest:g} needs to be at least seconds, which is {seconds:g}"
        yield {"pointer": "/debounce/max_wait_seconds", "detail": detail}


def key_faults(submission: Mapping[str, Any], place: str, given: Mapping[str, Any]) -> Iterator[Fault]:
    """What says which tasks are the same."""
    if "by" not in given:
        return
    if "key" in given:
        yield {"pointer": f"{place}/by", "detail": "not together with `key`: send one of the two"}
    elif "url" in submission:
        detail = "goes with `name` only, whose arguments it names, and this task has `url`: send `key`"
        yield {"pointer": f"{place}/by", "detail": detail}
    else:
        args = submission.get("args") or {}
        for n, name in enumerate(given["by"]):
            if name not in args:
                yield {"pointer": f"{place}/by/{n}", "detail": f"args has no {name}: send it, or leave it out here"}
