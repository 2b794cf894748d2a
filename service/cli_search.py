"""
The options by which the command line says which tasks are meant, of `taskpost list` and `taskpost bulk`, and what of
their replays is to be other than it was.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches

from service import cli_values as values
from service.client.bulk import Edits
from service.client.search import Filters
from service.task import ENDED

STATES = ("scheduled", "queued", "running", "cancelling", *ENDED)
FILTERS = (
    "state", "queue", "name", "tag", "group", "flow", "parent", "schedule", "error_type", "http_status", "attempts",
    "created_after", "created_before", "finished_after", "finished_before",
)  # fmt: skip


def add_filters(parser: ArgumentParser) -> None:
    which = parser.add_argument_group("which tasks; all that is given must hold")
    which.add_argument("--state", metavar="STATE", type=states, help=f"{', '.join(STATES)}; several by comma")
    which.add_argument("--queue", help="of this queue")
    which.add_argument("--name", metavar="NAME", help="for the handler of this name; * for any text: 'email:*'")
    which.add_argument("--tag", help="with this tag")
    which.add_argument("--group", help="of this group")
    which.add_argument("--flow", metavar="KEY", help="of this flow key")
    which.add_argument("--parent", metavar="ID", help="parts of this task")
    which.add_argument("--schedule", metavar="NAME", help="made by this schedule")
    which.add_argument("--error", metavar="TYPE", dest="error_type", help="failed so; * for any text: 'Http*'")
    which.add_argument("--status", metavar="CODE", dest="http_status", help="failed on such an answer: 503, 5xx")
    which.add_argument("--attempts", metavar="COUNT", help="with so many attempts: 3, or more or fewer: '>2', '<2'")
    for kind, did in (("created", "submitted"), ("finished", "ended")):
        which.add_argument(f"--{kind}-after", metavar="TIME", type=past, help=f"{did} since then, or in the last 2h")
        which.add_argument(f"--{kind}-before", metavar="TIME", type=past, help=f"{did} before then, or 2h ago")


def filters(options: Namespace) -> Filters:
    """The filters that are given."""
    given = {name: getattr(options, name) for name in FILTERS}
    # The names above are those of Filters, which mypy does not see.
    found: Filters = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    return found


def add_edits(parser: ArgumentParser) -> None:
    changes = parser.add_argument_group("what of a replay is to be other than it was")
    changes.add_argument("--arg", metavar="KEY=VALUE", type=values.pair, action="append", help="argument; repeatable")
    changes.add_argument("--url", metavar="URL", help="the URL to call")
    changes.add_argument("--header", metavar="'NAME: VALUE'", type=values.header, action="append", help="repeatable")
    changes.add_argument("--body", metavar="JSON", type=values.body, help="the body of the call, @file or -")
    changes.add_argument("--to-queue", metavar="QUEUE", help="the queue")
    changes.add_argument("--priority", metavar="0-9", type=int, help="9 goes first, 0 last")


def edits(options: Namespace) -> Edits:
    """The edits that are given."""
    given = {
        "args": dict(options.arg) if options.arg else None,
        "url": options.url,
        "headers": dict(options.header) if options.header else None,
        "body": options.body,
        "queue": options.to_queue,
        "priority": options.priority,
    }
    # The names above are those of Edits, which mypy does not see.
    found: Edits = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    return found


def states(text: str) -> Sequence[str]:
    """States by comma."""
    given = values.states(text)
    for one in given:
        if one not in STATES:
            near = get_close_matches(one, STATES, 1)
            hint = f"did you mean {near[0]}?" if near else f"needs one of {', '.join(STATES)}"
            raise ArgumentTypeError(f"there is no state {one!r}; {hint}")
    return given


def past(text: str) -> datetime:
    """A time, or how long it is ago."""
    try:
        return datetime.now(UTC) - timedelta(seconds=values.duration(text))
    except ArgumentTypeError:
        pass
    try:
        return values.moment(text)
    except ArgumentTypeError as exc:
        raise ArgumentTypeError(f"{exc}, or how long it is ago: 2h, 7d") from None
