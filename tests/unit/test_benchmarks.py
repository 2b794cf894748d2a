"""
The benchmarks run, each in its smallest form; what they measure then means nothing.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from benchmarks.__main__ import BENCHMARKS, options_of
from benchmarks.figures import Figure, Goal, percentile, table

ROOT = Path(__file__).parents[2]


@pytest.mark.full
@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_prints_its_table_and_writes_its_rounds(name: str, tmp_path: Path) -> None:
    """Whoever repeats a figure needs one command, and gets the rounds behind it."""
    document = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", name, "--tiny", "--server", "valkey", "--json", str(document)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert (0, "") == (printed.returncode, printed.stderr.replace(f"{name} on valkey …\n", ""))
    figures = orjson.loads(document.read_bytes())["figures"]
    assert figures
    assert all(figure["name"] in printed.stdout and figure["rounds"] for figure in figures)


def test_a_ratio_compares_each_round_with_the_floors_same_round() -> None:
    """A machine that slows down for a while slows both sides of a round."""
    figure = Figure("a", "b", "tasks/s", [100, 10, 50], Goal(least=0.9, is_ratio=True), "floor", [100, 10, 100])
    assert 1.0 == figure.ratio
    assert figure.is_met


def test_a_missed_goal_says_no_in_the_table() -> None:
    """Nobody has to compare numbers to see what is missed."""
    line = table([Figure("a", "b", "ms", [5.0], Goal(most=4))]).splitlines()[-1]
    assert ["<=", "4", "NO"] == line.split()[-3:]


def test_a_percentile_is_one_of_the_values() -> None:
    """p99 of a hundred values is the largest but none."""
    assert 100 == percentile(list(range(1, 101)), 0.99)
    assert 51 == percentile(list(range(1, 101)), 0.5)


def test_an_unknown_name_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error costs no minute of waiting."""
    with pytest.raises(SystemExit):
        options_of(["submitt"])
    assert "choose from submit" in capsys.readouterr().err
