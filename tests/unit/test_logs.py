"""Log lines as people and as programs read them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from service.errors import InvalidSetting
from service.settings import Settings

SAY = """
import logging
from service.logs import configure
{before}
configure("info", "{form}")
from workers import Context
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("shop").warning("a %s", "line", exc_info=True, extra={{"order": 7}})
Context(id="0" * 26, name="email:send", attempt=2).log.info("rendering 100%")
logging.getLogger("shop").debug("not this")
"""


def said(form: str, before: str = "") -> list[str]:
    """What a process of its own writes to standard error."""
    code = SAY.format(form=form, before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.splitlines()


def test_json_is_one_object_a_line_with_the_task_in_fields_of_its_own() -> None:
    """A collector needs no pattern to find the task, the error or what was given as extra."""
    first, second = map(json.loads, said("json"))
    assert ("warning", "shop", "a line", 7) == tuple(first[key] for key in ("level", "logger", "message", "order"))
    assert "ZeroDivisionError" in first["error"]
    assert {"task_id": "0" * 26, "task_name": "email:send", "attempt": 2, "message": "rendering 100%"} == {
        key: second[key] for key in ("task_id", "task_name", "attempt", "message")
    }


def test_text_has_the_task_in_front_of_the_message() -> None:
    """A line for people."""
    assert said("text")[-1].endswith(f"workers.task  [{'0' * 26} email:send #2] rendering 100%")


def test_a_configuration_that_was_there_first_stays() -> None:
    """Who configures logging themselves is not overruled."""
    mine = said("json", before="logging.basicConfig(format='mine %(message)s', level='INFO')")
    assert all(line.startswith("mine") for line in (mine[0], mine[-1]))


def test_another_format_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="needs text or json"):
        Settings.from_env({"TASKPOST_LOG_FORMAT": "xml"})
