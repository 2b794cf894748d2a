"""
Routes: to which queue a task goes that names none, by the name of its handler or the URL that it calls. Pure.

The first route that matches decides, before the queue that the handler was declared with: whoever runs the service can
move work without a deploy. `*` in a pattern stands for any characters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Route:
    """Tasks that *pattern* takes go to *queue*, with *priority* unless they have their own; None leaves it."""

    pattern: re.Pattern[str]
    queue: str
    priority: int | None


def read_routes(given: Iterable[Mapping[str, Any]]) -> list[Route]:
    """The contract's `Route`s."""
    return [Route(pattern_of(one["match"]), one["queue"], one.get("priority")) for one in given]


def pattern_of(match: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, match.split("*"))), re.DOTALL)


def route_of(submission: Mapping[str, Any], routes: Sequence[Route]) -> Route | None:
    """The route of *submission*, None when none matches."""
    target = submission.get("name") or submission.get("url", "")
    return next((route for route in routes if route.pattern.fullmatch(target)), None)
