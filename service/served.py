"""
Which queues a worker serves, and which goes first: the settings `queues` and `queue_order`, read.

Pure. The fact to know: without weights and without strict order queues take turns, so that none waits for another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.errors import InvalidSetting
from service.task import DEFAULT_NAMESPACE, SHARED, split_queue, stored_queue

QUEUE = re.compile(r"[A-Za-z0-9._-]{1,64}")
MOST_WEIGHT = 1000
QUEUES, ORDER = "TASKPOST_QUEUES", "TASKPOST_QUEUE_ORDER"


@dataclass(frozen=True, slots=True)
class Served:
    """*names* in their order, none for all queues there are; *weights* of all of them, or none."""

    names: tuple[str, ...] = ()
    weights: dict[str, int] = field(default_factory=dict)
    is_strict: bool = False


def served(queues: str, order: str, namespace: str = "") -> Served:
    """
    What `high:5,low:1` and `weighted` or `strict` mean, queues as they are stored; those of *namespace*, else of
    `default`. Where one queue has a weight, those without have 1.

    Raises:
        InvalidSetting: the text names what was given and what is needed.
    """
    if order not in ("weighted", "strict"):
        raise InvalidSetting(f"{ORDER}={order}: needs weighted or strict")
    weights: dict[str, int] = {}
    for one in filter(None, (part.strip() for part in queues.split(","))):
        name, colon, weight = (part.strip() for part in one.partition(":"))
        if not QUEUE.fullmatch(name):
            raise InvalidSetting(f"{QUEUES}={queues}: {name!r} is no queue; needs 1 to 64 of A-Z a-z 0-9 . _ -")
        name = stored_queue(namespace or DEFAULT_NAMESPACE, name)
        if name in weights:
            raise InvalidSetting(f"{QUEUES}={queues}: names {name} twice; name it once, with its weight")
        weights[name] = weight_of(one, weight, queues) if colon else 0
    has_weights = any(weights.values())
    if order == "strict" and not weights:
        raise InvalidSetting(f"{ORDER}=strict: needs {QUEUES}, because the order is the one in which they stand there")
    if order == "strict" and has_weights:
        raise InvalidSetting(
            f"{ORDER}=strict: needs {QUEUES} without weights, and was given {queues}; in strict order a queue is "
            "looked at when those before it are empty"
        )
    names = tuple(weights)
    return Served(
        names, {name: weight or 1 for name, weight in weights.items()} if has_weights else {}, order == "strict"
    )


def weight_of(one: str, weight: str, queues: str) -> int:
    """The number behind the colon of *one*. Raises InvalidSetting."""
    if not (weight.isascii() and weight.isdigit()) or not 1 <= int(weight) <= MOST_WEIGHT:
        raise InvalidSetting(f"{QUEUES}={queues}: {one} needs a whole number from 1 to {MOST_WEIGHT} as its weight")
    return int(weight)


def is_served(stored: str, namespace: str) -> bool:
    """Whether who serves *namespace*, empty for all, serves the queue that is *stored* under this name."""
    return not namespace or split_queue(stored)[0] == namespace


def takes(worker: Mapping[str, Any], stored: str) -> bool:
    """Whether *worker*, as it tells of itself, takes tasks from the queue that is *stored* under this name."""
    namespace = worker.get("namespace", SHARED)
    is_ours = namespace == SHARED or is_served(stored, namespace)
    return is_ours and (not worker.get("queues") or stored in worker["queues"])
