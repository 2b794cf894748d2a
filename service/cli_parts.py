"""
`taskpost up | all | web | worker | scheduler`: options made into settings, and the part started.

Each option is a setting, and wins over its environment variable. The fact to know: the service never imports
workers; `taskpost worker` becomes `python -m workers`, the same process under another program, with its settings
in the environment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from service.cli_screen import Screen
from service.logs import configure
from service.setting_values import PREFIX
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
ABOUT = {one.name: one.metadata["about"] for one in fields(Settings)}


def define_up(parser: ArgumentParser) -> None:
    parser.description = "Start everything on this machine: Valkey, the API, workers and the scheduler."
    parser.epilog = (
        "examples:\n"
        "  taskpost up\n"
        "  taskpost up --handlers shop.tasks --processes 4\n"
        "  taskpost up --handlers shop.tasks --reload\n"
        "  taskpost up --port 9000 --data /var/lib/taskpost\n"
        "  REDIS_URL=redis://10.0.0.5:6379/0 taskpost up"
    )
    add_settings(parser, "host", "port", "insecure")
    parser.add_argument(
        "--data", metavar="DIR", default=".taskpost", help="where the embedded Valkey keeps its data (./.taskpost)"
    )
    add_settings(parser, "handlers", "reload", "processes", "redis")


def run_up(options: Namespace, _screen: Screen, env: Mapping[str, str]) -> int:
    from service.up import Options, up

    settings = settings_of(options, env)
    chosen = Options(
        host=settings.host,
        port=settings.port,
        data=Path(options.data),
        handlers=settings.handlers or Options().handlers,
        processes=settings.processes,
        redis_url=options.redis_url,
        insecure=settings.insecure,
        reload=settings.reload,
    )
    return asyncio.run(up(chosen))


def define_all(parser: ArgumentParser) -> None:
    parser.description = (
        "Start the API, a worker and the scheduler together, on the Redis that you name: for a host that gives one "
        "process."
    )
    parser.epilog = (
        "examples:\n"
        "  taskpost all --handlers shop.tasks\n"
        "  web: taskpost all --host 0.0.0.0     in a Procfile, with TASKPOST_API_KEY set"
    )
    add_settings(parser, "host", "port", "insecure", "handlers", "processes", "redis", "log_level")


def run_all(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    from service import together

    settings = settings_of(options, env)  # refuses what cannot be used, before anything starts

    def say(name: str, said: str) -> None:
        if settings.log_format == "json":
            screen.line(said)
        else:
            screen.answers.part(name, said)

    return asyncio.run(together.run_all({**env, **passed_of(options), "PYTHONUNBUFFERED": "1"}, say))


def define_web(parser: ArgumentParser) -> None:
    parser.description = "Start the API."
    add_settings(parser, "host", "port", "insecure", "web_processes", "redis", "log_level")


def run_web(options: Namespace, _screen: Screen, env: Mapping[str, str]) -> int:
    from service.api.web import serve

    settings = settings_of(options, env)
    configure(settings.log_level, settings.log_format)
    return serve(settings)


def define_scheduler(parser: ArgumentParser) -> None:
    parser.description = "Start the scheduler, which does what is due and keeps the house."
    add_settings(parser, "redis", "log_level")


def run_scheduler(options: Namespace, _screen: Screen, env: Mapping[str, str]) -> int:
    from service.scheduler import run

    return run(settings_of(options, env))


def define_worker(parser: ArgumentParser) -> None:
    parser.description = "Start a worker, which runs your handlers and calls URLs."
    parser.epilog = (
        "examples:\n"
        "  taskpost worker --handlers shop.tasks\n"
        "  taskpost worker --handlers shop.tasks,mail.tasks:registry --processes 4 -Q mail,default\n"
        "  taskpost worker --handlers shop.tasks --children 8 --max-tasks 1000 --max-memory-mb 500\n"
        "  taskpost worker --handlers shop.tasks -Q high:5 -Q low:1\n"
        "  taskpost worker --handlers shop.tasks -Q urgent,default --queue-order strict"
    )
    add_settings(parser, "handlers", "reload")
    parser.add_argument(
        "-Q", "--queues", metavar="A:N,B", action="append", help=f"{ABOUT['queues']}; may be repeated".replace("`", "")
    )
    add_settings(parser, "queue_order", "processes", "concurrency", "threads", "children", "url_concurrency")
    add_settings(parser, "max_tasks", "max_memory_mb", "redis", "log_level")


def run_worker(options: Namespace, _screen: Screen, env: Mapping[str, str]) -> int:
    if options.queues is not None:
        options.queues = ",".join(options.queues)
    settings_of(options, env)  # refuses what cannot be used, before the program changes
    # In a checkout the packages are found from here; elsewhere this folder must not come first, since a package
    # called `workers` in it would be started instead.
    is_checkout = Path.cwd() == ROOT
    words = [sys.executable, *([] if is_checkout else ["-P"]), "-m", "workers"]
    os.execve(sys.executable, words, {**env, **passed_of(options)})  # noqa: S606  our own interpreter, without a shell


# ---------------------------------------------------------------- settings as options


def add_settings(parser: ArgumentParser, *names: str) -> None:
    """An option for each of these settings; what is not given stays None, and the environment decides."""
    for name in names:
        setting = {"redis": "redis_url"}.get(name, name)
        if setting in ("insecure", "reload"):
            parser.add_argument(f"--{setting}", action="store_true", default=None, help=ABOUT[setting])
            continue
        default = next(one.default for one in fields(Settings) if one.name == setting)
        shown = f" ({default})" if default not in ("", None) and name != "redis" else ""
        option = {"web_processes": "--processes"}.get(name, f"--{name.replace('_', '-')}")
        metavar = {"redis": "URL", "host": "ADDRESS", "handlers": "MODULE[:ATTR]", "queue_order": "ORDER"}.get(
            name, "N"
        )
        parser.add_argument(
            option,
            dest=setting,
            metavar="LEVEL" if name == "log_level" else metavar,
            type=type(default),
            help=f"{ABOUT[setting]}{shown}".replace("`", "").replace("%", "%%"),
        )


def settings_of(options: Namespace, env: Mapping[str, str]) -> Settings:
    """The settings of *env* and *options*. Raises InvalidSetting."""
    given: dict[str, Any] = {name: value for name, value in vars(options).items() if name in ABOUT}
    return Settings.from_env(env, **given)


def passed_of(options: Namespace) -> dict[str, str]:
    """*options* as environment variables, for a process that reads its settings there."""
    chosen = {name: value for name, value in vars(options).items() if name in ABOUT and value is not None}
    return {f"{PREFIX}{name.upper()}": "1" if value is True else str(value) for name, value in chosen.items()}
