"""Lines of a log as they are kept and read."""

from __future__ import annotations

import orjson
import pytest

from service.attempts import MOST_LINE_BYTES, log_of, pack_line


@pytest.mark.parametrize("one", ["x", "ü", "💬", "\x00", "\ud800"])
@pytest.mark.parametrize("many", [1, 1500, 3000, 9000, 1_000_000])
def test_a_line_keeps_its_bounds_whatever_it_is_made_of(one: str, many: int) -> None:
    """Valid JSON in at most 8 KiB; a short one whole, of a long one the beginning and the end."""
    text = "begin" + one * many + "end"
    line = pack_line(1_795_305_600_000, "critical", text)
    whole = orjson.dumps([1_795_305_600_000, "critical", text.encode(errors="backslashreplace").decode()])
    assert len(line) <= MOST_LINE_BYTES
    message = orjson.loads(line)[2]
    assert message.startswith("begin")
    assert message.endswith("end")
    assert ("left out" in message) == (len(whole) > MOST_LINE_BYTES)


def test_nothing_is_said_of_a_log_that_is_whole() -> None:
    assert [] == log_of(0, [])
    assert ["a"] == [line["message"] for line in log_of(1, [[0, "info", "a"]])]


def test_lines_that_are_missing_are_counted() -> None:
    """One line says so, before those that are there."""
    assert ["… 1 earlier line was left out", "b"] == [line["message"] for line in log_of(2, [[0, "info", "b"]])]
