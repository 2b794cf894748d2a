"""
Tells a user's own package called `service` or `workers` from Taskpost's.

Imports nothing of Taskpost, since the very import could meet the user's package.
The fact to know: both packages always lie side by side, in a checkout and in site-packages.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

OURS = ("service", "workers")
HOME = Path(__file__).resolve().parent.parent


def refuse_shadowing() -> None:
    """
    Make sure that `service` and `workers` are Taskpost's.

    Raises:
        ImportError: another package of that name comes first on sys.path; the text names its place and what
            to do.
    """
    for name in OURS:
        file = getattr(sys.modules.get(name) or import_module(name), "__file__", None)
        if file is None or Path(file).resolve().parent.parent != HOME:
            place = file or "a folder without __init__.py"
            raise ImportError(
                f"Python finds another package called {name!r} ({place}) before Taskpost's own "
                f"({HOME / name}): rename yours, or start where it is not on sys.path. "
                f"Taskpost owns the names {' and '.join(OURS)}"
            )


def hidden_by_ours(module: str, paths: Iterable[str]) -> Path | None:
    """
    The user's `service` or `workers` in *paths* that *module* was probably meant to come from, or None.

    It cannot be imported, because Taskpost's package of that name is loaded already.
    """
    top = module.partition(".")[0]
    if top not in OURS:
        return None
    for folder in paths:
        for found in (Path(folder or ".") / top, Path(folder or ".") / f"{top}.py"):
            if found.exists() and found.resolve() != HOME / top:
                return found.resolve()
    return None
