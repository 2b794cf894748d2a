"""
Flow control: what a submission says of its key, and what the key's limits are. Pure.

The fact to know: a key and its limits are a thing of their own, which tasks share. A submission that names limits sets
them for all tasks of the key; one that names none takes them as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

LIMITS = ("concurrency", "rate", "period_seconds", "burst")
OF_RATE = ("period_seconds", "burst")
DEFAULT_PERIOD_SECONDS = 1
DEFAULT_BURST = 1


@dataclass(frozen=True, slots=True)
class Flow:
    """
    A key as a submission names it, with the *limits* that it names; None when it names none. Those of a replay were
    named long ago, and apply *only if* nothing is known of the key.
    """

    namespace: str
    key: str
    limits: Mapping[str, Any] | None = None
    only_if_unknown: bool = False

    @property
    def hash(self) -> bytes:
        return flow_hash(self.namespace, self.key)


def flow_hash(namespace: str, key: str) -> bytes:
    """By what Redis knows a key (16 bytes)."""
    return hashlib.blake2b(f"{namespace}\0{key}".encode(), digest_size=16).digest()


def flow_of(submission: Mapping[str, Any], namespace: str) -> Flow | None:
    """The key of *submission*, which has no faults; None when it has none."""
    given = submission.get("flow")
    if given is None:
        return None
    limits = {name: given[name] for name in LIMITS if name in given}
    return Flow(namespace, given["key"], limits or None)


def flows_of(submissions: Iterable[Mapping[str, Any]], namespace: str, *, replayed: bool = False) -> list[Flow]:
    """The keys of *submissions*, whose limits apply only to unknown keys when they are *replayed*."""
    found = [flow for one in submissions if (flow := flow_of(one, namespace)) is not None]
    return [replace(flow, only_if_unknown=replayed) for flow in found]


def limit_faults(given: Mapping[str, Any], place: str = "") -> Iterator[dict[str, Any]]:
    """What goes with `rate` only."""
    if given.get("rate") is None:
        for name in OF_RATE:
            if given.get(name) is not None:
                yield {"pointer": f"{place}/{name}", "detail": "goes with `rate`, of which it says how it is meant"}


def with_whole_limits(given: dict[str, Any]) -> None:
    """JSON has one kind of number: 5.0 is the integer 5."""
    for name in ("concurrency", "rate", "burst"):
        if type(given.get(name)) is float:
            given[name] = int(given[name])
