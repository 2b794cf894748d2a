"""
`taskpost doctor`: looks at Redis, at what is stored there and at the API, and says what is wrong and what mends it.

The exit status is 1 when there is a fault, so that a deployment can be stopped by it; `--strict` counts
warnings too, `--lenient` only what keeps processes from starting.
"""

from __future__ import annotations

import asyncio
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from dataclasses import asdict
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from service.checkup import FAULT, OK, WARNING, Facts, Finding, findings_of
from service.cli_parts import add_settings, settings_of
from service.cli_screen import Screen, one_line
from service.ports import PortTaken, check_port
from service.settings import ClientSettings

ASK_SECONDS = 5.0
STATES = {OK: "ok", WARNING: "half_open", FAULT: "failing"}  # as which states they are painted
SYMBOLS = {OK: "✓", WARNING: "!", FAULT: "✗"}


def define(parser: ArgumentParser) -> None:
    parser.description = (
        "Look at Redis, at what is stored there and at the API: what loses tasks or stops them, and the command that "
        "mends it. Exit status 0: no fault; 1: at least one."
    )
    add_settings(parser, "redis")
    parser.add_argument("--strict", action="store_true", help="warnings fail it, too")
    parser.add_argument(
        "--lenient", action="store_true", help="only what keeps processes from starting fails it: for release phases"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.epilog = (
        "examples:\n  taskpost doctor\n  taskpost doctor --strict && deploy\n"
        "  release: taskpost doctor --lenient     in a Procfile"
    )


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    from service.store.vitals import examined

    settings = settings_of(options, env)
    facts = asyncio.run(examined(settings))
    look_outside(facts, ClientSettings.from_env(env).url)
    found = list(findings_of(facts))
    faults = sum(one.verdict == FAULT for one in found)
    warnings = sum(one.verdict == WARNING for one in found)
    if options.json:
        screen.json({"faults": faults, "warnings": warnings, "findings": [asdict(one) for one in found]})
    else:
        show(found, screen)
        screen.line()
        screen.line(f"{counted(faults, 'fault')}, {counted(warnings, 'warning')}.")
    failing = [one for one in found if one.blocks] if options.lenient else faults or (options.strict and warnings)
    return 1 if failing else 0


def show(found: list[Finding], screen: Screen) -> None:
    width = max(len(one.check) for one in found)
    for one in found:
        mark = SYMBOLS[one.verdict] if screen.has_symbols else one.verdict
        painted = screen.answers.painted(STATES[one.verdict], mark)
        screen.line(f"{painted} {one.check:{width}}  {one_line(one.detail)}")
        if one.remedy:
            screen.line(screen.faint(f"  {'':{width}}  {one_line(one.remedy)}"))


def counted(many: int, what: str) -> str:
    return f"{many or 'No'} {what}{'s' * (many != 1)}"


def look_outside(facts: Facts, url: str) -> None:
    """Whether the API answers at *url* and at the public one, and whether it could listen."""
    facts.api = why_not(url, "/readyz")
    if facts.api is not None:
        try:
            check_port(facts.settings.host, facts.settings.port)
        except PortTaken as exc:
            facts.port = str(exc)
    facts.public = why_not(facts.settings.public_url, "/livez")


def why_not(url: str, path: str) -> str | None:
    """Why *path* is not answered with 200 at *url*; None when it is."""
    request = Request(url.rstrip("/") + path)  # noqa: S310  the operator's own address
    try:
        build_opener(ProxyHandler({})).open(request, timeout=ASK_SECONDS).close()
    except HTTPError as exc:
        return f"{url}{path} answers {exc.code}{detail_of(exc)}"
    except (URLError, OSError) as exc:
        return f"{url} does not answer ({getattr(exc, 'reason', exc)})."
    return None


def detail_of(answer: HTTPError) -> str:
    """What a problem says."""
    try:
        return f": {json.load(answer)['detail']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "."
