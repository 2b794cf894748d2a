"""`ctx.log`: a logger as any other, whose lines are kept as well."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest

from service.attempts import MOST_LINE_BYTES
from workers import Context

Kept = list[tuple[str, str]]


@pytest.fixture
def kept() -> Kept:
    return []


@pytest.fixture
def ctx(kept: Kept) -> Context:
    return Context(id="01ABC", name="mail:100%", report_log=lambda _at, level, text: kept.append((level, text)))


def test_every_method_has_its_level(ctx: Context, kept: Kept) -> None:
    """Those of the standard library, under the names of the contract."""
    ctx.log.info("a")
    ctx.log.warning("b")
    ctx.log.error("c")
    ctx.log.critical("d")
    ctx.log.log(35, "e")
    assert [("info", "a"), ("warning", "b"), ("error", "c"), ("critical", "d"), ("warning", "e")] == kept


def test_debug_lines_are_kept_only_where_they_are_logged(ctx: Context, kept: Kept, caplog: Any) -> None:
    """By the level of the logger; lines from info on are kept whatever it is."""
    with caplog.at_level(logging.ERROR):
        ctx.log.debug("a")
        ctx.log.info("b")
    with caplog.at_level(logging.DEBUG):
        ctx.log.debug("c")
    assert [("info", "b"), ("debug", "c")] == kept
    assert ["[01ABC mail:100% #1] c"] == [record.getMessage() for record in caplog.records]


def test_arguments_are_formatted_as_logging_does(ctx: Context, kept: Kept) -> None:
    """With values in order, and by name from one dict; without arguments a percent sign is itself."""
    ctx.log.info("%s of %d", "a", 5)
    ctx.log.info("%(done)d %%", {"done": 5})
    ctx.log.info("100%")
    assert ["a of 5", "5 %", "100%"] == [text for _, text in kept]


class Hostile:
    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None,), "None"),
        (({"a": 1},), "{'a': 1}"),
        (("%d", "x"), "%d 'x'"),
        (("one", 2), "one 2"),
        (("%s",), "%s"),
        ((b"bytes",), "b'bytes'"),
        ((Hostile(),), "<Hostile that cannot be shown: ValueError>"),
        (("%s", Hostile()), "%s <Hostile that cannot be shown: ValueError>"),
    ],
)
def test_nothing_that_is_said_raises(
    ctx: Context, kept: Kept, caplog: Any, monkeypatch: Any, given: Any, expected: str
) -> None:
    """A handler must not fail because of its log."""
    monkeypatch.setattr(logging, "raiseExceptions", False)  # logging's own complaint about wrong arguments
    caplog.handler.handleError = lambda _record: None
    with caplog.at_level(logging.INFO):
        ctx.log.info(*given)
    assert [("info", expected)] == kept


def test_an_exception_comes_with_its_traceback(ctx: Context, kept: Kept) -> None:
    """In each way in which logging takes one; without an exception there is none."""
    try:
        raise KeyError("row 7")
    except KeyError as exc:
        ctx.log.exception("failed")
        ctx.log.warning("given", exc_info=exc)
        ctx.log.info("three", exc_info=sys.exc_info())
    ctx.log.error("none", exc_info=True)  # noqa: LOG014 - that is what is tried
    for (_, text), word in zip(kept[:3], ("failed", "given", "three"), strict=True):
        assert text.startswith(f"{word}\nTraceback (most recent call last):\n")
        assert text.endswith("KeyError: 'row 7'")
    assert ["error", "warning", "info", "error"] == [level for level, _ in kept]
    assert "none" == kept[3][1]


def test_long_lines_are_cut_before_they_travel(ctx: Context, kept: Kept) -> None:
    """The middle is left out; what UTF-8 cannot hold is spelled out."""
    ctx.log.info("begin \ud800" + "x" * 1_000_000 + "end")
    [(_, text)] = kept
    assert len(text) <= MOST_LINE_BYTES
    assert text.startswith("begin \\ud800xx")


def test_the_record_names_the_line_of_the_handler(ctx: Context, caplog: Any) -> None:
    """`%(filename)s:%(lineno)d` in the user's format shows their code, not ours."""
    with caplog.at_level(logging.INFO):
        ctx.log.info("a")
        ctx.log.log(logging.INFO, "b")
        try:
            raise ValueError
        except ValueError:
            ctx.log.exception("c")
    assert [__file__] * 3 == [record.pathname for record in caplog.records]
    assert {"test_the_record_names_the_line_of_the_handler"} == {record.funcName for record in caplog.records}


def test_outside_of_a_worker_it_is_only_logged(caplog: Any) -> None:
    """In a plain call of the function, and in eager mode: a test sees the lines by `caplog`."""
    with caplog.at_level(logging.INFO):
        Context(id="1").log.info("a")
    assert ["[1  #1] a"] == [record.getMessage() for record in caplog.records]
