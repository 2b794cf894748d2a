"""
`taskpost explain`: why tasks wait, and what would change that.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping

from service.cli_screen import Screen, one_line
from service.cli_tasks import add_api, add_ids, client, for_each


def define(parser: ArgumentParser) -> None:
    parser.description = "Say why tasks stand where they stand: each thing that holds them, and what would change it."
    add_ids(parser)
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    def explain(id_: str) -> None:
        found = api.explain(id_)
        if options.json:
            screen.json(found.raw)
            return
        screen.line(f"{screen.state(found.state)}  {found.id}")
        if not found.reasons:
            screen.line(f"  {one_line(found.summary)}")
        for reason in found.reasons:
            screen.line(f"  {one_line(reason.detail)}")
            if reason.remedy:
                screen.line(screen.faint(f"    {one_line(reason.remedy)}"))

    with client(options, env) as api:
        return for_each(options, screen, explain)
