"""
`taskpost secrets` shows and rotates what signs calls of URLs; `taskpost verify` checks a request that was received.

The fact to know: a secret is printed whole only where it is what was asked for, alone on standard output, so that a
script can take it; `verify` never prints one.
"""

from __future__ import annotations

import math
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from service import cli_values as values
from service.cli_screen import Column, Screen, one_line, relative
from service.cli_tasks import add_api, client
from service.client.types import Secret
from service.errors import InvalidSignature
from service.signing import HEADERS, TOLERANCE_SECONDS, verify

NOT_VALID = 1

SECRETS_EPILOG = """\
examples:
  taskpost secrets                      what signs now: the current secret, and those before it that end
  export WEBHOOK_SECRET=$(taskpost secrets show)
  taskpost secrets show --public        the whpk_ key, for receivers of v1a signatures (TASKPOST_SIGNATURES=v1,v1a)
  taskpost secrets rotate --overlap 7d  a new secret; the old one signs along for a week
  taskpost secrets rotate --overlap 0   the old one ends at once: somebody else has seen it"""

VERIFY_EPILOG = """\
BODY is a file, - is standard input. It must be byte by byte what arrived.
--header takes one header, or @file with a line for each, as `curl -v` or a log show them.

exit status: 0 valid; 1 not valid, and why; 2 it could not be checked.

examples:
  taskpost verify body.json --header @headers.txt
  taskpost verify - --secret @secret.txt --any-age -H 'webhook-id: 01M8…' -H 'webhook-timestamp: 1795305600' \\
      -H 'webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=' < body.json"""


def define_secrets(parser: ArgumentParser) -> None:
    parser.description = "List, show or rotate the secrets that sign calls of URLs (Standard Webhooks 1.0)."
    parser.epilog = SECRETS_EPILOG
    parser.add_argument(
        "action", nargs="?", choices=("list", "show", "rotate"), default="list", help="list if left out"
    )
    parser.add_argument("--public", action="store_true", help="show: the public key instead of the secret")
    parser.add_argument(
        "--overlap", metavar="TIME", type=values.duration, help="rotate: so long the old secrets sign along (1d)"
    )
    add_api(parser)


def run_secrets(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    check_options(options)
    with client(options, env) as api:
        if options.action == "rotate":
            found = api.rotate_secrets(overlap_seconds=options.overlap)
        else:
            found = api.secrets(reveal=options.action == "show" and not options.public)
    if options.json:
        for one in found[:1] if options.action == "show" else found:
            screen.json(one.raw)
    elif options.action == "list":
        show_secrets(screen, found, datetime.now(UTC))
    else:
        screen.line(found[0].public_key if options.public else found[0].secret)
        if options.action == "rotate" and len(found) > 1:
            ends = relative(found[1].expires_at, datetime.now(UTC))
            screen.note(f"This is the new secret. The one before it signs along and ends {ends}.")
    return 0


def check_options(options: Namespace) -> None:
    """Raises ArgumentTypeError for an option of another action."""
    if options.public and options.action != "show":
        raise ArgumentTypeError("--public goes with show: taskpost secrets show --public")
    if options.overlap is not None and options.action != "rotate":
        raise ArgumentTypeError("--overlap goes with rotate: taskpost secrets rotate --overlap 7d")


def show_secrets(screen: Screen, found: Sequence[Secret], now: datetime) -> None:
    rows = [
        (
            one_line(one.secret),
            one_line(one.public_key),
            relative(one.created_at, now),
            relative(one.expires_at, now) if one.expires_at else "never",
        )
        for one in found
    ]
    screen.table([Column("SECRET"), Column("PUBLIC KEY", shrinks=True), Column("MADE"), Column("ENDS")], rows)


# ---------------------------------------------------------------- verify


def define_verify(parser: ArgumentParser) -> None:
    parser.description = "Check that a request came from Taskpost: its signature, and that it is not an old one."
    parser.usage = "taskpost verify BODY [--header 'N: V' …] [options]"
    parser.epilog = VERIFY_EPILOG
    parser.add_argument("body", metavar="BODY", help="file with the body of the request, or -")
    parser.add_argument(
        "-H", "--header", metavar="'N: V'", action="append", default=[], help="header of the request; repeatable; @file"
    )
    parser.add_argument(
        "--secret",
        metavar="KEY",
        action="append",
        help="whsec_ secret or whpk_ key, or @file; repeatable (those of the API)",
    )
    age = parser.add_mutually_exclusive_group()
    age.add_argument(
        "--tolerance",
        metavar="TIME",
        type=values.duration,
        default=TOLERANCE_SECONDS,
        help="how far its time may be from now (5m)",
    )
    age.add_argument("--any-age", action="store_true", help="whenever it was sent")
    add_api(parser)


def run_verify(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    body, headers = body_of(options.body), headers_of(options.header)
    keys = keys_of(options, env)
    try:
        verify(keys, headers, body, time.time(), math.inf if options.any_age else options.tolerance)
        reason = None
    except InvalidSignature as exc:
        reason = str(exc)
    if options.json:
        screen.json({"valid": reason is None, "reason": reason})
    elif reason is None:
        screen.line(f"valid: task {one_line(headers['webhook-id'])}")
    else:
        screen.note(f"not valid: {reason}")
    return 0 if reason is None else NOT_VALID


def body_of(place: str) -> bytes:
    """The bytes of a file, or of standard input. Raises ArgumentTypeError."""
    try:
        return sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as exc:
        raise ArgumentTypeError(f"{place!r} cannot be read: {exc.strerror}") from exc


def headers_of(given: Sequence[str]) -> dict[str, str]:
    """
    The headers of Standard Webhooks among *given*: `Name: value`, or `@file` with a line for each.

    Raises:
        ArgumentTypeError: a file cannot be read, or none of them is there.
    """
    lines = [line for one in given for line in (values.content(one).splitlines() if one[:1] == "@" else [one])]
    pairs = [line.lstrip("<> ").partition(":") for line in lines]
    found = {name.strip().lower(): value.strip() for name, colon, value in pairs if colon}
    found = {name: found[name] for name in HEADERS if name in found}
    if not found:
        raise ArgumentTypeError(f"none of {', '.join(HEADERS)} is given; they came with the request: --header @file")
    return found


def keys_of(options: Namespace, env: Mapping[str, str]) -> list[str]:
    """The keys that were given, else those of the API."""
    if options.secret:
        return [values.content(one).strip() for one in options.secret]
    with client(options, env) as api:
        found = api.secrets(reveal=True)
    return [key for one in found for key in (one.secret, one.public_key)]
