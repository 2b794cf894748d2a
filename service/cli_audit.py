"""
`taskpost audit`: which key changed what, when, from where, and how that was answered.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice

from service.cli_screen import Column, Screen, one_line, relative
from service.cli_tasks import PAGE, add_api, client
from service.client.keys import AuditEntry

EPILOG = """\
Submitting is not among it, since tasks tell of that themselves. About the last 10,000 calls of a namespace are kept.

examples:
  taskpost audit                        the last calls that changed something
  taskpost audit --all --json | jq 'select(.key_name == "importer")'"""


def define(parser: ArgumentParser) -> None:
    parser.description = "Tell who changed what, the newest first."
    parser.epilog = EPILOG
    parser.add_argument("--limit", metavar="N", type=int, default=PAGE, help=f"so many at the most ({PAGE})")
    parser.add_argument("--all", action="store_true", help="all that is kept")
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    limit = None if options.all else options.limit
    with client(options, env) as api:
        # One more than is shown tells whether there are more.
        entries = api.audit(limit=None if limit is None else limit + 1)
        if options.json:
            for one in islice(entries, limit):
                screen.json(one.raw)
                if screen.is_gone:
                    break
            return 0
        shown = list(islice(entries, limit))
        has_more = next(entries, None) is not None
    if not shown:
        screen.note("nobody has changed anything yet")
        return 0
    show(screen, shown, datetime.now(UTC))
    if has_more:
        screen.note("There are more: --limit N or --all shows them.")
    return 0


def show(screen: Screen, entries: Sequence[AuditEntry], now: datetime) -> None:
    rows = [
        (
            relative(one.at, now),
            one_line(one.key_name),
            one.operation,
            one_line(one.path),
            str(one.status),
            one_line(one.address + (f" for {one.forwarded_for}" if one.forwarded_for else "")),
        )
        for one in entries
    ]
    columns = [Column("WHEN"), Column("KEY"), Column("DID"), Column("AT", shrinks=True), Column("STATUS")]
    screen.table([*columns, Column("FROM")], rows)
