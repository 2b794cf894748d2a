"""
The handlers of chaos, in workers with a bug: `CHAOS_PLANT` names it. The text of a script is edited as it was loaded.

For tests of the checker, which has to find each. A worker process loads its handlers before it calls any script.
"""

from __future__ import annotations

import hashlib
import os

from service.store.scripts import SCRIPTS
from tests.chaos.handlers import add

__all__ = ["add"]

# name -> (script, what stands there, what takes its place)
PLANTS = {
    # Every third report is acknowledged and forgotten.
    "dropped_finish": (
        "step",
        "    endings[#endings + 1] = report\n",
        "    if report.id:byte(16) % 3 > 0 then endings[#endings + 1] = report end\n",
    ),
    # What was taken stays in its list, and whoever comes next gets it too.
    "double_lease": (
        "step",
        "if skipped > 0 then redis.call('LTRIM', key, skipped, -1) end",
        "",
    ),
    # An attempt is over, and the task stands in no list.
    "lost_requeue": (
        "step",
        "  enqueue(report.id, report.head, now + report.ms, report.in_front)\n",
        "",
    ),
}


def plant(name: str) -> None:
    """Put the bug in place in this process."""
    script, sound, faulty = PLANTS[name]
    found = SCRIPTS[script]
    assert found.text.count(sound) == 1, f"{script}.lua has changed: there is no place for {name}"
    found.text = found.text.replace(sound, faulty)
    if name == "double_lease":
        held = " or (run and run.held) or taken[id]"
        assert held in found.text
        found.text = found.text.replace(held, " or taken[id]")
    found.sha = hashlib.sha1(found.text.encode(), usedforsecurity=False).hexdigest()


plant(os.environ["CHAOS_PLANT"])
