"""What a handler may know of its attempt, and say while it runs."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest

from workers import Context
from workers.outcome import Cancelled


async def test_progress_is_reported_from_a_coroutine_and_from_a_thread():
    """The same call works in `async def` and in `def`, and is always reported on the event loop."""
    loop_thread = None
    said = []
    all_said = asyncio.Event()

    def report(*what):
        assert asyncio.get_running_loop() is loop_thread
        said.append(what)
        if len(said) == 2:
            all_said.set()

    loop_thread = asyncio.get_running_loop()
    ctx = Context(id="1", report_progress=report)
    ctx.loop = loop_thread
    await ctx.progress(1, 3, "rendering")
    await asyncio.to_thread(lambda: ctx.progress(2))
    await asyncio.wait_for(all_said.wait(), 10)
    assert [(1, 3, "rendering"), (2, None, None)] == said


@pytest.mark.parametrize("wrong", [("a",), (None,), (True,), (1, "b"), (1, 2, 3)])
def test_progress_that_makes_no_sense_is_refused(wrong):
    """The handler learns of it at once."""
    with pytest.raises(TypeError, match="needs a"):
        Context(id="1").progress(*wrong)


def test_a_context_made_for_a_test_needs_nothing():
    """Progress goes nowhere, and nobody cancels."""
    ctx = Context(id="1")
    ctx.progress(1)
    assert not ctx.is_cancelled
    assert ctx.deadline is None
    assert ctx.is_last_attempt


def test_the_deadline_is_a_time():
    """A handler can compare it with now."""
    assert datetime(2026, 11, 22, tzinfo=UTC) == Context(id="1", deadline_ms=1795305600000).deadline


def test_a_stop_counts_as_seen_once_somebody_looked():
    """Only an attempt that noticed the stop ends by it; the first stop stands."""
    ctx = Context(id="1")
    ctx.stop(Cancelled("asked"))
    ctx.stop(Cancelled("asked again"))
    assert ctx.stopped_as is None
    assert ctx.is_cancelled
    assert Cancelled("asked") == ctx.stopped_as


def test_log_lines_carry_the_task(caplog):
    """Any logging configuration shows which task spoke; the record has it as fields too."""
    with caplog.at_level(logging.INFO):
        Context(id="01ABC", name="mail:100%", attempt=2).log.info("sent %d", 5, extra={"to": "a"})
    assert ["[01ABC mail:100% #2] sent 5"] == [record.getMessage() for record in caplog.records]
    assert ("01ABC", "a") == (caplog.records[0].task_id, caplog.records[0].to)
