"""The blocks of the documentation say what they are, and those that no reader can run say why."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.pages import COMMAND, PAGES, ROOT, Block, blocks

ALL = [(page, block) for page in PAGES for block in blocks(page)]


def place(page: Path, block: Block) -> str:
    return f"{page.relative_to(ROOT)}:{block.line}"


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to each page and tutorial."""
    index, folder = (ROOT / "docs/README.md").read_text(), ROOT / "docs"
    pages = {str(page.relative_to(folder)) for page in PAGES if page.is_relative_to(folder)} - {"README.md"}
    assert set() == {page for page in pages if f"({page})" not in index}


def test_every_link_leads_somewhere() -> None:
    """To a file that is there, and to a heading of it."""
    faults = []
    for page in PAGES:
        text = re.sub(r"```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = link.partition("#")
            if ":" in path:
                continue
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                faults.append(f"{page.relative_to(ROOT)}: {link}")
    assert [] == faults


@cache
def anchors(page: Path) -> set[str]:
    """What links may name behind #, as GitHub makes it of headings."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_commands_are_marked_as_such() -> None:
    """A block of commands is ```sh, so that tests/journey/test_pages.py follows it; ``` alone is what is printed."""
    assert [] == [place(page, one) for page, one in ALL if not one.language and COMMAND.match(one.text)]


def test_what_is_not_run_says_why() -> None:
    """And how much is run is printed."""
    left_out = [(page, one) for page, one in ALL if one.word == "not run"]
    assert [] == [place(page, one) for page, one in left_out if len(one.said) < 12]
    print(f"{sum(one.is_run for _, one in ALL)} blocks are run, {len(left_out)} say why not")


def test_what_is_shown_can_be_read() -> None:
    """Python compiles, also where it is not run; JSON, YAML and TOML are such."""
    faults = []
    for page, one in ALL:
        try:
            if one.language == "python":
                compile(one.text, place(page, one), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            elif one.language == "json":
                json.loads(one.text)
            elif one.language == "yaml":
                yaml.safe_load(one.text)
            elif one.language == "toml":
                tomllib.loads(one.text)
        except (SyntaxError, ValueError, yaml.YAMLError) as exc:
            faults.append(f"{place(page, one)}: {exc}")
    assert [] == faults


@pytest.mark.parametrize(("shown", "printed", "missing"), [("a … c\nb", "a  x c\nb", []), ("a", "b", ["a"])])
def test_what_is_printed_is_compared(shown: str, printed: str, missing: list[str]) -> None:
    """Line by line, in any order, with … for anything."""
    from tests.pages import unlike

    assert missing == unlike(shown, printed)
