"""The pages of docs/reference/ say what the code does."""

from __future__ import annotations

import re

import pytest

from service.problem_types import problem_types
from service.store.scripts import NAMES
from service.task import ENDED, TRANSITIONS
from tests.reference import FOLDER, pages
from tests.unit.test_structure import moves

MOVES = {(before, after) for before, all_ in TRANSITIONS.items() for after in all_}
STATES = (FOLDER / "states.md").read_text()


@pytest.mark.parametrize("name", pages())
def test_a_page_that_is_made_is_as_it_would_be_made(name: str) -> None:
    """Every command and option, every type of problem, in the words of the code."""
    assert pages()[name].rstrip() == (FOLDER / name).read_text().rstrip(), "run scripts/reference"


def test_every_type_of_problem_says_what_to_do() -> None:
    """In words of its own where those of its status would not help."""
    for one in problem_types().values():
        assert f"| `/problems/{one.slug}` |" in pages()["problems.md"]
        assert one.remedy.endswith(".")


def test_the_diagram_of_states_is_the_table() -> None:
    """Each arrow is a transition, and each transition an arrow; ends lead out."""
    arrows = {(a, b) for a, b in re.findall(r"^    (\S+) --> (\S+)$", STATES, re.MULTILINE)}
    begun = {("[*]", after) for before, after in MOVES if before == "submitted"}
    assert begun | {move for move in MOVES if move[0] != "submitted"} | {(end, "[*]") for end in ENDED} == arrows
    shown = set(re.findall(r"^\| `(\w+)` \| [^`|]", STATES, re.MULTILINE))
    assert {state for move in MOVES for state in move} - {"submitted"} == shown


def test_the_moves_of_the_page_are_those_of_the_scripts() -> None:
    """Who moves a task from where to where."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| .+ \| (.+) \|$", STATES, re.MULTILINE)
    told = {(before, after): set(re.findall(r"`(\w+)`", scripts)) for before, after, scripts in rows}
    assert MOVES == told.keys()
    for move, scripts in told.items():
        assert {name for name in NAMES if move in set(moves(name))} == scripts, move
