"""
What became of a submission: its task, or the earlier one that stands for it, or why there is neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.api.runtime import Runtime
from service.errors import IdempotencyInFlight, IdempotencyMismatch, UniqueConflict
from service.ids import encode_id
from service.store.new import DUPLICATE, IN_FLIGHT, MISMATCH, REFUSED, Taken
from service.task import Snapshot


@dataclass(slots=True)
class Receipt:
    """
    What became of a submission; *task* is as the contract shows it. Status 200 is for an earlier task: the first one of
    the idempotency key, or, if it *is a duplicate*, the one that has the unique key.
    """

    status: int
    task: dict[str, Any]
    id: bytes
    has_ended: bool = False
    is_duplicate: bool = False


def is_shown(taken: Taken) -> bool:
    """Whether the answer shows the earlier task, which is to be read for it."""
    return taken.is_earlier and taken.status not in (MISMATCH, IN_FLIGHT)


def stands_for(runtime: Runtime, taken: Taken, found: Snapshot | None, key: str) -> Receipt:
    """
    The receipt of a submission for which the earlier task *found* stands; *key* is its idempotency key.

    Raises:
        IdempotencyMismatch, IdempotencyInFlight: for its idempotency key.
        UniqueConflict: another task has its unique key.
    """
    if taken.status == MISMATCH:
        raise IdempotencyMismatch(
            f'the key "{key}" belongs to another submission; give each submission its own key'
        )
    if taken.status == IN_FLIGHT:
        raise IdempotencyInFlight(
            f'a submission with the key "{key}" is under way; send it again in a moment, which then answers its task',
            headers={"Retry-After": "1"},
        )
    is_duplicate = taken.status == DUPLICATE
    if taken.status == REFUSED or (is_duplicate and found is None):
        raise conflict(encode_id(taken.id), found)
    if found is None:
        raise IdempotencyMismatch(
            f'the task that the key "{key}" belongs to is no longer kept; give a new task a new key'
        )
    task = runtime.show(found)
    if is_duplicate:
        task["deduplicated"] = True
    return Receipt(200, task, found.id, found.record.has_ended, is_duplicate)


def conflict(id_: str, found: Snapshot | None) -> UniqueConflict:
    """Another task has the unique key, and the submission did not want it, or cannot change it."""
    if found is None:
        return UniqueConflict(f"the task {id_} has this unique key, and is no longer kept", task_id=id_, state=None)
    detail = f"the task {id_} has this unique key, and is {found.state}"
    return UniqueConflict(detail, task_id=id_, state=found.state)
