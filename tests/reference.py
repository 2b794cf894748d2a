"""
The pages of docs/reference/ that say in words what the code has as tables: the command line, the types of problem.

`scripts/reference` writes them, and a test holds them to what would be written. The fact to know: options are read from
the parsers and not from their help, which differs with the version of Python and the width of the terminal.
"""

from __future__ import annotations

import sys
from argparse import SUPPRESS, Action, ArgumentParser
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from service.cli import COMMANDS, PARTS, parser_of
from service.problem_types import ProblemType, problem_types

FOLDER = Path(__file__).parents[1] / "docs/reference"
MADE = "<!-- Made by scripts/reference. -->\n"
CLI = f"""{MADE}# The command line

`taskpost COMMAND --help` says the same, `taskpost --help` how to begin.
"""
PROBLEMS = f"""{MADE}# Types of problem

A refused request is answered with a problem ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)): its `type` is one
of these and never changes, `detail` says what was wrong this time, and `errors` lists every fault of a submission. The
running service shows the same, with examples and the operations that answer so, at `/problems`.
"""


def pages() -> dict[str, str]:
    """Text by name of file."""
    return {"cli.md": command_line(), "problems.md": problems()}


# ---------------------------------------------------------------- the command line


def command_line() -> str:
    uses = [word for word in COMMANDS if word not in PARTS]
    listed = [f"| [`{word}`](#{word}) | {COMMANDS[word].about} |" for word in (*PARTS, *uses)]
    return "\n".join([CLI, "| | |", "|---|---|", *listed, *(shown(word) for word in (*PARTS, *uses))])


def shown(word: str) -> str:
    """The section of one command."""
    parser = parser_of(word)
    parts = [f"\n## {word}\n", f"{escaped(parser.description or COMMANDS[word].about)}\n", "| | |\n|---|---|"]
    parts += rows(parser)
    if parser.epilog:
        parts.append(f"\n```\n{parser.epilog.rstrip()}\n```")
    return "\n".join(parts)


def rows(parser: ArgumentParser) -> Iterator[str]:
    """Words and options, those of a group under its title."""
    for group in parser._action_groups:
        actions = [one for one in group._group_actions if one.help != SUPPRESS]
        if actions and group.title not in ("positional arguments", "options", "optional arguments"):
            yield f"| **{escaped(group.title or '')}** | |"
        for one in actions:
            yield f"| `{written(one)}` | {escaped((one.help or '') % {'default': one.default})} |"


def written(action: Action) -> str:
    """As one types it."""
    value = action.metavar if isinstance(action.metavar, str) else ""
    if not value and action.choices is not None:
        value = ",".join(map(str, action.choices))
    elif not value and action.nargs != 0:
        value = action.dest.upper()
    if action.nargs == "?" and value:
        value = f"[{value}]"
    elif action.nargs in ("*", "+"):
        value = f"{value} …"
    return f"{', '.join(action.option_strings)} {value}".strip().replace("|", "\\|")


def escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


# ---------------------------------------------------------------- problems


def problems() -> str:
    parts = [PROBLEMS]
    for status, found in groupby(sorted(problem_types().values(), key=status_of), status_of):
        parts.append(f"## {status}\n\n| type | when | what to do |\n|---|---|---|")
        parts += [f"| `/problems/{one.slug}` | {cell(one.meaning)} | {cell(one.remedy)} |" for one in found]
        parts.append("")
    return "\n".join(parts)


def status_of(problem: ProblemType) -> int:
    return problem.status


def cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text.rstrip() + "\n")
        print(f"wrote {FOLDER / name}", file=sys.stderr)
