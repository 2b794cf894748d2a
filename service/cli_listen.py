"""
`taskpost listen`: an endpoint on this machine that shows each call as it arrives.

Owns what is shown of a call. The fact to know: it answers as the options say, and as the query of a call says, which
wins: `http://127.0.0.1:9000/?fail=2`.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import orjson

from service import cli_values as values
from service.cli_screen import Screen, clean, one_line
from service.cli_secrets import keys_of
from service.cli_tasks import add_api
from service.errors import InvalidSignature, TaskpostError
from service.signing import HEADERS, verify

MOST_LINES = 40
MOST_CHARS = 4000
TOLD = ("taskpost-attempt", "taskpost-max-attempts", "webhook-id")

EPILOG = """\
examples:
  taskpost listen                          then submit: taskpost submit --url http://127.0.0.1:9000/ --body '{"n": 1}'
  taskpost listen --fail 2                 the first two attempts of each task fail
  taskpost listen --status 503 --retry-after 30
  taskpost listen --async --delay 10       takes each call on, and completes it ten seconds later"""


def define(parser: ArgumentParser) -> None:
    parser.description = "Show calls of URLs as they arrive, and check their signatures. For development."
    parser.epilog = EPILOG
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=9000, help="port to listen on; 0 takes a free one (9000)")
    parser.add_argument("--status", type=int, help="status of the answers (200)")
    parser.add_argument("--fail", type=int, metavar="N", help="fail the first N attempts of each task")
    parser.add_argument("--delay", type=values.duration, metavar="TIME", help="answer after this time")
    parser.add_argument("--retry-after", type=values.duration, metavar="TIME", help="answer 503, with this Retry-After")
    parser.add_argument(
        "--async", dest="is_async", action="store_true", help="answer 202, and complete it after --delay"
    )
    parser.add_argument("--headers", action="store_true", help="show all header fields")
    parser.add_argument(
        "--secret", metavar="KEY", action="append", help="whsec_ secret or whpk_ key to check with (those of the API)"
    )
    add_api(parser)


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    from service.api.echo import Echo, Heard
    from service.api.listen import open_socket, serve_echo

    keys, doubt = signing_keys(options, env)

    def show(heard: Heard) -> None:
        signature = signature_of(heard.headers, heard.body, keys)
        if options.json:
            screen.json({**heard.shown(), "at": heard.at.isoformat(), "status": heard.status, "signature": signature})
            return
        for line in lines_of(heard, signature, options.headers):
            screen.line(line)

    listening = open_socket(options.host, options.port)
    with listening:
        host, port = listening.getsockname()[:2]
        screen.note(f"Listening on http://{host}:{port}/ (Ctrl-C ends)")
        if doubt:
            screen.note(doubt)
        serve_echo(Echo(16 * 1024 * 1024, show, defaults_of(options)), listening)
    return 0


def defaults_of(options: Namespace) -> str:
    """The options as a query of the echo endpoint."""
    given = {
        "status": options.status,
        "fail": options.fail,
        "delay": options.delay,
        "retry_after": options.retry_after,
        "async": 1 if options.is_async else None,
    }
    return urlencode({name: value for name, value in given.items() if value is not None})


def signing_keys(options: Namespace, env: Mapping[str, str]) -> tuple[Sequence[str], str]:
    """The keys to check with, and why there are none."""
    try:
        return keys_of(options, env), ""
    except TaskpostError as exc:
        return (), f"Signatures are not checked: {exc}"


def signature_of(headers: Mapping[str, str], body: bytes, keys: Sequence[str]) -> str:
    """What can be said of the signature of a call, in a few words."""
    if not set(HEADERS) <= set(headers):
        return "not signed"
    if not keys:
        return "signed, not checked"
    try:
        verify(keys, headers, body, time.time())
    except InvalidSignature as exc:
        return f"NOT VALID: {exc}"
    return "signature valid"


def lines_of(heard: Any, signature: str, with_headers: bool) -> list[str]:
    """A call as it is shown: a line of facts, its header fields if asked for, its body."""
    place = f"{heard.path}?{heard.query}" if heard.query else heard.path
    id_, attempt, most = (heard.headers.get(name, "") for name in ("webhook-id", *TOLD[:2]))
    facts = [f"{heard.at:%H:%M:%S}", heard.method, one_line(place), f"→ {heard.status}"]
    if id_:
        facts.append(one_line(id_))
    if attempt:
        facts.append(f"attempt {one_line(attempt)}/{one_line(most)}")
    lines = ["  ".join([*facts, signature])]
    if with_headers:
        lines += [f"    {one_line(name)}: {one_line(value)}" for name, value in heard.headers.items()]
    return lines + [f"    {line}" for line in body_lines(heard.body)]


def body_lines(body: bytes) -> list[str]:
    """A body to be read: JSON indented, text as it is, other bytes by their number; cut when it is long."""
    if not body:
        return []
    try:
        text = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except ValueError:
        try:
            text = body.decode()
        except UnicodeDecodeError:
            return [f"({len(body):,} bytes)"]
    lines = [clean(line) for line in text[:MOST_CHARS].splitlines()]
    if len(lines) > MOST_LINES or len(text) > MOST_CHARS:
        lines = [*lines[:MOST_LINES], f"… ({len(body):,} bytes altogether)"]
    return lines
