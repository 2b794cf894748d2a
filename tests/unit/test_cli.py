"""The command line itself: help, unknown words, options made into submissions and settings."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any

import pytest

from service import __version__, cli, cli_parts, cli_submit
from service.cli_values import spelled_out
from service.settings import Settings

ROOT = Path(__file__).parents[2]


def submission(*arguments: str) -> dict[str, Any]:
    parser = ArgumentParser()
    cli_submit.define(parser)
    options = parser.parse_intermixed_args(spelled_out(arguments, "--wait", "inf"))
    return {key: value for key, value in cli_submit.submission_of(options).items() if value is not None}


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """`taskpost` alone is help too."""
    assert 0 == cli.main([])
    shown = capsys.readouterr().out
    described = {name: command.about for name, command in cli.COMMANDS.items()} | {"version": "print the version"}
    lines = shown.splitlines()
    columns = {line.index(f" {about}") for name, about in described.items() for line in lines if f"  {name}  " in line}
    assert 1 == len(columns), "their descriptions stand below each other"
    assert all(any(line.split("  ")[1:2] == [name] for line in lines) for name in described)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: taskpost {name}" in capsys.readouterr().out


def test_a_worker_is_given_its_sizes_as_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pool has one, and what children are replaced after; what is not given stays with the environment."""
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda _program, _words, env: started.append(env) or sys.exit(0))
    monkeypatch.setenv("TASKPOST_THREADS", "3")
    sizes = {"processes": 2, "concurrency": 50, "children": 8, "url_concurrency": 7}
    words = {**sizes, "max_tasks": 1000, "max_memory_mb": 500}
    options = [word for name, value in words.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with pytest.raises(SystemExit):
        cli.main(["worker", *options, "-Q", "high:5", "-Q", "low:1"])
    [env] = started
    settings = Settings.from_env(env)
    assert words == {name: getattr(settings, name) for name in words}
    assert (3, "high:5,low:1") == (settings.threads, settings.queues)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == cli.main(["version"])
    assert f"taskpost {__version__}\n" == capsys.readouterr().out


@pytest.mark.parametrize("given", ["--help", "submit --help", "version"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(given: str) -> None:
    """`taskpost --help | head -3` shows three lines, and no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "service.cli", *given.split()]
    done = subprocess.run(words, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert "" == done.stderr
    assert done.returncode in (0, 141)  # argparse looks away when it writes more than a buffer


def test_an_unknown_command_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert 2 == cli.main(["sumbit"])
    assert "taskpost: there is no command 'sumbit'; did you mean submit?\n" == capsys.readouterr().err


def test_a_handler_is_named_with_its_arguments_anywhere_between_options() -> None:
    """Options and arguments may be mixed; a bare --wait takes nothing away."""
    assert {"name": "demo.add", "args": {"a": 2, "b": 3}, "queue": "mail"} == submission(
        "--wait", "demo.add", "a=2", "--queue", "mail", "b=3"
    )
    assert {"name": "x", "args": {"a": 1, "b": 2}} == submission("x", "--args", '{"a": 0, "b": 2}', "a=1")


def test_a_url_may_stand_in_the_handlers_place() -> None:
    """Its own equals signs are no arguments."""
    wanted = {"url": "https://e.com/?a=b", "method": "PUT", "headers": {"X-A": "b: c"}, "body": {"n": 1}}
    rest = ("--method", "put", "--header", "X-A: b: c", "--body", '{"n": 1}')
    assert wanted == submission("https://e.com/?a=b", *rest)
    assert wanted == submission("--url", "https://e.com/?a=b", *rest)


def test_every_option_is_a_field_of_the_contract() -> None:
    given = (
        "x --priority 7 --delay 90s --retries 2 --backoff 1,5 --timeout 1m --soft-timeout 50 --retry-for 1d "
        "--max-crashes 0 --expires 5m --unique u --for 1h --on-conflict replace --key k "
        "--tag a --tag b --metadata order=1 --metadata who=ada "
        "--callback http://e.com --callback-on failed,expired --result-ttl 1h"
    )
    assert submission(*given.split()) == {
        "name": "x",
        "priority": 7,
        "delay_seconds": 90,
        "expires_in_seconds": 300,
        "retries": 2,
        "backoff": [1, 5],
        "timeout_seconds": 60,
        "soft_timeout_seconds": 50,
        "retry_for_seconds": 86_400,
        "max_crashes": 0,
        "unique": {"key": "u", "for_seconds": 3600, "on_conflict": "replace"},
        "idempotency_key": "k",
        "tags": ["a", "b"],
        "metadata": {"order": 1, "who": "ada"},
        "callback": {"url": "http://e.com", "on": ["failed", "expired"]},
        "result_ttl_seconds": 3600,
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("x --on-conflict replace", "go with --unique KEY"),
        ("x --max-wait 5m", "go with --debounce"),
        ("x --debounce 5s --until started", "do not go with --debounce"),
        ("", "Name a handler"),
        ("x --url http://e.com", "a task is one of them"),
        ("--url http://e.com a=1", "a URL is sent --body"),
        ("x y", "needs key=value"),
        ("x --callback-on failed", "needs --callback URL"),
    ],
)
def test_what_does_not_go_together_is_told(given: str, said: str) -> None:
    with pytest.raises(ArgumentTypeError, match=said):
        submission(*given.split())


def test_options_of_the_parts_are_settings_and_win() -> None:
    """An option that is not given leaves the environment's word."""
    parser = ArgumentParser()
    cli_parts.define_worker(parser)
    options = parser.parse_args(["--handlers", "shop", "--redis", "redis://r:1/0"])
    env = {"TASKPOST_PROCESSES": "3", "TASKPOST_HANDLERS": "other", "REDIS_URL": "redis://q:1/0"}
    assert Settings(handlers="shop", processes=3, redis_url="redis://r:1/0") == cli_parts.settings_of(options, env)


def test_a_worker_is_another_program_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service never imports workers; the process keeps its id, for whoever watches it."""
    started: list[Any] = []
    monkeypatch.setattr(os, "execve", lambda *given: started.append(given))
    monkeypatch.chdir(ROOT / "tests")
    parser = ArgumentParser()
    cli_parts.define_worker(parser)
    cli_parts.run_worker(parser.parse_args(["-Q", "a:5,b", "--queues", "c"]), None, {"KEPT": "1"})  # type: ignore[arg-type]
    assert started == [
        (sys.executable, [sys.executable, "-P", "-m", "workers"], {"KEPT": "1", "TASKPOST_QUEUES": "a:5,b,c"})
    ]


def test_a_setting_that_cannot_be_used_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    """Told before anything starts, without a traceback."""
    assert 2 == cli.main(["worker", "--processes", "0"])
    assert "taskpost worker: TASKPOST_PROCESSES=0: needs at least 1\n" == capsys.readouterr().err


def test_asking_loads_no_server() -> None:
    """`taskpost get` starts fast: neither the store nor the API nor their libraries are imported."""
    program = (
        "import sys; from service.cli import main; main(['get', 'x', '--api', 'nonsense']);"
        "print(*{'redis', 'starlette', 'uvicorn', 'apscheduler', 'aiohttp', 'workers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "\n" == done.stdout
    assert "TASKPOST_URL=nonsense: needs http:// or https:// and a host" in done.stderr
