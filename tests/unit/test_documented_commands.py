"""Every `taskpost …` line of the documentation is one that the command line understands."""

from __future__ import annotations

import re
import shlex
from argparse import ArgumentError, ArgumentParser
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NoReturn

import pytest

from service.cli import COMMANDS, parsed
from tests.pages import PAGES


class Strict(ArgumentParser):
    """Says what is wrong instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def lines() -> Iterator[Any]:
    """(page, line) of each command: lines of blocks, and what stands between backticks."""
    for path in PAGES:
        text = path.read_text().replace("\\\n", " ")
        found = re.findall(r"(?:^|\n)(?:[A-Z_]+=\S+ )*taskpost ([^\n]+)", text)
        found += re.findall(r"`taskpost ([^`\n]+)`", text)
        for line in dict.fromkeys(found):
            tells_of_several = "…" in line or " | " in line
            word, *rest = line.split()
            if word in COMMANDS and rest and not tells_of_several:  # a word alone is only mentioned
                yield pytest.param(line, id=f"{path.stem}: {line[:70]}")


@pytest.mark.parametrize("line", list(lines()))
def test_it_is_understood(line: str) -> None:
    """As it stands: names in capitals are what the reader puts there."""
    command_line = line.partition("#")[0].partition(" && ")[0].partition(" || ")[0].partition(" > ")[0]
    word, *arguments = shlex.split(re.sub(r"\s{3,}.*", "", command_line))
    command = COMMANDS[word]
    define: Callable[[ArgumentParser], None] = getattr(import_module(command.module), f"define{command.suffix}")
    parser = Strict(f"taskpost {word}", exit_on_error=False)
    define(parser)
    try:
        parsed(parser, word, arguments)
    except (ValueError, ArgumentError) as exc:
        pytest.fail(f"taskpost {line}: {exc}")
