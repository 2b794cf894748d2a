"""
The command `taskpost`: finds the command asked for, runs it, and says readably what went wrong.

Owns the list of commands and the exit status of faults. Each command is defined and run by a module of its own that
is imported only when it is asked for, so that `taskpost get` does not load a server.
The fact to know: an error that we foresaw is a sentence on standard error, never a traceback.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from shutil import get_terminal_size
from typing import Any, NamedTuple

from service import __version__

FAULT, INTERRUPTED, CUT_OFF = 2, 130, 141


class Command(NamedTuple):
    """Where a command lives: *module* has its `define` and `run`, with *suffix* after them."""

    module: str
    suffix: str
    about: str


COMMANDS = {
    "up": Command("service.cli_parts", "_up", "start everything on this machine; the place to begin"),
    "all": Command("service.cli_parts", "_all", "start the API, a worker and the scheduler in one, on your Redis"),
    "web": Command("service.cli_parts", "_web", "start the API"),
    "worker": Command("service.cli_parts", "_worker", "start a worker"),
    "scheduler": Command("service.cli_parts", "_scheduler", "start the scheduler"),
    "submit": Command("service.cli_submit", "", "submit a task"),
    "get": Command("service.cli_tasks", "_get", "show tasks"),
    "attempts": Command("service.cli_attempts", "_attempts", "show how each run of a task went, and what it logged"),
    "wait": Command("service.cli_tasks", "_wait", "wait until a task has ended, and show it"),
    "cancel": Command("service.cli_tasks", "_cancel", "cancel tasks that have not ended"),
    "explain": Command("service.cli_explain", "", "say why tasks wait, and what would change that"),
    "replay": Command("service.cli_tasks", "_replay", "do ended tasks once more"),
    "run": Command("service.cli_tasks", "_run", "let waiting tasks start now"),
    "reschedule": Command("service.cli_tasks", "_reschedule", "change when waiting tasks start, and their priority"),
    "delete": Command("service.cli_tasks", "_delete", "delete tasks that have ended"),
    "list": Command("service.cli_tasks", "_list", "list tasks by state, queue, name, error, time and more"),
    "tail": Command("service.cli_tail", "", "show what happens to tasks, as it happens"),
    "bulk": Command("service.cli_bulk", "", "cancel, replay, reschedule or delete all tasks that a filter means"),
    "queues": Command("service.cli_queues", "", "list queues; show, set, pause, resume, drain, purge or scale one"),
    "routes": Command("service.cli_queues", "_routes", "list or replace the routes by which tasks come to queues"),
    "flows": Command("service.cli_flows", "", "list flow keys; show, set, pause, pin or reset one; weigh groups"),
    "stats": Command("service.cli_stats", "_stats", "tell what tasks did in a time: counts, times, errors"),
    "slow": Command("service.cli_slow", "", "list the slowest attempts, and where their time went"),
    "overview": Command("service.cli_stats", "_overview", "tell how everything is now, and what should be mended"),
    "workers": Command("service.cli_workers", "", "list live workers; show, quiet, resume, stop or resize one"),
    "schedules": Command("service.cli_schedules", "", "list schedules; show, add, change, pause, run or preview one"),
    "handlers": Command("service.cli_tasks", "_handlers", "list handlers, with their arguments"),
    "secrets": Command("service.cli_secrets", "_secrets", "show or rotate the secrets that sign calls of URLs"),
    "keys": Command("service.cli_keys", "", "list API keys; create or revoke one"),
    "audit": Command("service.cli_audit", "", "tell which key changed what, when, and how that went"),
    "listen": Command("service.cli_listen", "", "show calls of URLs as they arrive, on this machine"),
    "endpoints": Command("service.cli_endpoints", "", "list endpoints; show, set, disable, enable or test one"),
    "credentials": Command("service.cli_credentials", "", "show, set or remove the credentials of an endpoint"),
    "doctor": Command("service.cli_doctor", "", "say what is wrong with this deployment, and what mends it"),
    "encryption-key": Command("service.cli_encryption", "", "make a key for encryption at rest; tell what keys seal"),
    "verify": Command("service.cli_secrets", "_verify", "check the signature of a request that was received"),
}
PARTS = ("up", "all", "web", "worker", "scheduler")

HELP = """\
Taskpost: POST a task, and it gets done.

usage: taskpost COMMAND [options]

Start Taskpost:
{parts}

Use it:
{uses}

Begin:
  taskpost up                                      in one terminal; then, in another:
  taskpost submit demo.add a=2 b=3 --wait          a task for a handler, and its result
  taskpost submit --url https://example.com/hook --body '{{"n": 1}}' --delay 90s
  taskpost list --state failed                     what went wrong
  taskpost wait ID && echo done                    exit status 0: it succeeded

The commands that use it talk to the API at TASKPOST_URL (http://127.0.0.1:8080), with the key in
TASKPOST_API_KEY if it asks for one. `taskpost COMMAND --help` has options and examples; --json
prints JSON for programs. NO_COLOR is respected."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")
    try:
        try:
            return answer(given)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has seen enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CUT_OFF


def answer(given: list[str]) -> int:
    """Do what the words of the command line say; the exit status."""
    word = given[0] if given else "help"
    if word in ("help", "-h", "--help"):
        return answer([given[1], "--help"]) if len(given) > 1 and given[1] in COMMANDS else show_help()
    if word in ("version", "--version", "-V"):
        print(f"taskpost {__version__}")
        return 0
    if word not in COMMANDS:
        near = get_close_matches(word, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else "`taskpost --help` lists the commands."
        print(f"taskpost: there is no command {word!r}; {hint}", file=sys.stderr)
        return FAULT
    try:
        return run(word, given[1:])
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        let_go()


def show_help() -> int:
    width = max(map(len, COMMANDS))
    lines = {name: f"  {name:{width}}  {command.about}" for name, command in COMMANDS.items()}
    parts = [lines.pop(name) for name in PARTS]
    uses = [*lines.values(), f"  {'version':{width}}  print the version"]
    print(HELP.format(parts="\n".join(parts), uses="\n".join(uses)))
    return 0


def run(word: str, arguments: list[str]) -> int:
    """Run one command; what goes wrong becomes a sentence and an exit status."""
    from service.cli_screen import Screen
    from service.errors import TaskpostError

    env = dict(os.environ)
    screen = Screen(sys.stdout, sys.stderr, env)
    command = COMMANDS[word]
    act: Callable[[Namespace, Screen, Mapping[str, str]], int] = function_of(command, "run")
    try:
        return act(parsed(parser_of(word), word, arguments), screen, env)
    except (ArgumentTypeError, TaskpostError) as exc:
        screen.note(f"taskpost {word}: {exc}")
        return FAULT


def parser_of(word: str) -> ArgumentParser:
    """What reads the options of one command."""
    parser = ArgumentParser(f"taskpost {word}", formatter_class=Formatter, add_help=False)
    define: Callable[[ArgumentParser], None] = function_of(COMMANDS[word], "define")
    define(parser)
    parser.add_argument("-h", "--help", action="help", help="show this")
    return parser


def function_of(command: Command, verb: str) -> Any:
    return getattr(import_module(command.module), verb + command.suffix)


def parsed(parser: ArgumentParser, word: str, arguments: list[str]) -> Namespace:
    if word == "submit":
        from service.cli_values import spelled_out

        arguments = spelled_out(arguments, "--wait", "inf")
    return parser.parse_intermixed_args(arguments)


class Formatter(RawDescriptionHelpFormatter):
    """Options in one column, examples as they are written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=min(get_terminal_size().columns, 110))


def let_go() -> None:
    """Flush, and keep the interpreter from complaining at its end when nobody reads any more."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
