"""
Ends the attempt of a task that overstayed its time limit and was killed with its process.

Done by the parent, in the words with which the process itself would have: the attempt failed by its time limit, and
another follows while retries are left.
"""

from __future__ import annotations

from service.store import Store
from workers.held import Held
from workers.outcome import TimeLimitExceeded, failed


async def end_overstayer(store: Store, held: Held) -> None:
    """
    Report the attempt of *held* as failed by its time limit; does nothing when it is somebody else's by now.

    Raises:
        StoreUnavailable: Redis did not answer. The task's lease ends by itself then.
    """
    completions = store.completions
    attempt = await completions.held(held.id, held.token)
    if attempt is None:
        return
    message = (
        f"the attempt took longer than its time limit of {completions.options(attempt.task)['timeout_seconds']:g} s "
        "and could not be interrupted; its worker process was ended"
    )
    outcome = failed(TimeLimitExceeded.__name__, message, retry=True)
    await completions.end(held.id, held.token, "overstayed", outcome)
