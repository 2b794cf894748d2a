"""What is kept of an exception."""

from __future__ import annotations

import orjson

from service.client import Taskpost
from workers.capture import MAX_MESSAGE_CHARS, MAX_TRACEBACK_CHARS, error_of


def captured(make) -> dict:
    try:
        make()
    except BaseException as exc:
        error = error_of(exc)
    assert error == orjson.loads(orjson.dumps(error))
    return error


def test_type_message_and_traceback_are_kept():
    """A user reads where their code failed."""

    def fail():
        raise ValueError("no such thing")

    error = captured(fail)
    assert ("ValueError", "no such thing") == (error["type"], error["message"])
    assert "in fail" in error["traceback"]
    assert error["traceback"].endswith("ValueError: no such thing\n")


def test_causes_are_kept():
    """The error behind the error is usually the one to mend."""

    def fail():
        try:
            {}["key"]
        except KeyError as exc:
            raise ValueError("wrapped") from exc

    error = captured(fail)
    assert "KeyError: 'key'" in error["traceback"]
    assert "direct cause" in error["traceback"]


def test_frames_of_the_client_are_left_out():
    """A handler that submits shows its own line, not how the client goes about it."""

    def fail():
        with Taskpost("http://127.0.0.1:1", retries=0) as client:
            client.submit(name="demo.add")

    error = captured(fail)
    assert "ConnectFailed" == error["type"]
    assert "in fail" in error["traceback"]
    assert "service" not in "".join(line for line in error["traceback"].splitlines() if "File" in line)


def test_a_group_shows_its_members():
    """What a TaskGroup raises tells of each child."""

    def fail():
        raise ExceptionGroup("two", [ValueError("one"), KeyError("other")])

    assert "ValueError: one" in captured(fail)["traceback"]


def test_long_text_is_cut_in_the_middle():
    """Beginning and end of a huge message and traceback stay."""

    def fail():
        raise ValueError("a" * 100_000 + "z")

    error = captured(fail)
    assert len(error["message"]) <= MAX_MESSAGE_CHARS
    assert error["message"].startswith("aaa")
    assert error["message"].endswith("z")
    assert len(error["traceback"]) <= MAX_TRACEBACK_CHARS


def test_endless_recursion_is_told_in_few_lines():
    """Two functions that call each other for ever leave a bounded traceback with the error at its end."""

    def one():
        other()

    def other():
        one()

    error = captured(one)
    assert "RecursionError" == error["type"]
    assert len(error["traceback"]) <= MAX_TRACEBACK_CHARS
    assert "RecursionError" in error["traceback"].splitlines()[-1]


def test_an_exception_that_cannot_be_printed_is_kept_all_the_same():
    """A broken __str__ costs the message, not the attempt."""

    class Broken(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    def fail():
        raise Broken

    error = captured(fail)
    assert "Broken" == error["type"]
    assert "cannot be read" in error["message"]


def test_text_that_is_no_utf_8_is_escaped():
    """A lone surrogate would make the record unwritable."""

    def fail():
        raise ValueError("\ud800")

    assert "\\ud800" == captured(fail)["message"]
