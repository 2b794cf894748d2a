"""
`taskpost credentials`: how calls of an endpoint say who they are.

The fact to know: a secret is better read from a file (`token=@file`) than typed, since others on the machine see the
arguments of programs; what is printed hides it.
"""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service import cli_values as values
from service.cli_screen import Screen, clean
from service.cli_tasks import add_api, client
from service.endpoint import endpoint_of, named

AS_JSON = ("headers", "client_in_body")
EPILOG = """\
ENDPOINT is a URL that is called, or its name: https:api.example.com. Its credentials go with every call of it.

kinds, and their fields:
  basic     username=… password=…                bearer  token=…
  headers   headers='{"X-Api-Key": "…"}'         oidc    [audience=…]
  mtls      certificate=@cert.pem private_key=@key.pem
  oauth2_client_credentials   token_url=… client_id=… client_secret=… [scope=…] [audience=…] [client_in_body=true]
A value @file is read from a file, - from standard input.

examples:
  taskpost credentials set https://api.example.com kind=bearer token=@token.txt
  taskpost credentials show https://api.example.com
  taskpost credentials remove https://api.example.com"""


def define(parser: ArgumentParser) -> None:
    parser.description = "Show, set or remove how calls of an endpoint say who they are."
    parser.usage = "taskpost credentials show|set|remove ENDPOINT [kind=KIND field=value …]"
    parser.epilog = EPILOG
    parser.add_argument("action", choices=("show", "set", "remove"), help="secrets are hidden when they are shown")
    parser.add_argument("endpoint", metavar="ENDPOINT", type=endpoint, help="who is called")
    parser.add_argument("fields", nargs="*", metavar="field=value", help="set: the kind and its fields")
    add_api(parser)


def endpoint(text: str) -> str:
    """The name of an endpoint, given as such or as a URL."""
    try:
        return endpoint_of(text) if "://" in text else named(text)
    except ValueError as exc:
        raise ArgumentTypeError(str(exc)) from exc


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    if (options.action == "set") != bool(options.fields):
        needs = "set needs kind=… and its fields" if options.action == "set" else "fields go with set"
        raise ArgumentTypeError(f"{needs}; `taskpost credentials --help` lists them")
    with client(options, env) as api:
        if options.action == "remove":
            api.remove_credentials(options.endpoint)
            screen.json({"endpoint": options.endpoint, "removed": True}) if options.json else screen.line(
                f"removed  {options.endpoint}"
            )
            return 0
        if options.action == "set":
            shown = api.set_credentials(options.endpoint, auth_of(options.fields))
        else:
            shown = api.credentials(options.endpoint)
    if options.json:
        screen.json(shown)
    else:
        screen.fields([("endpoint", clean(options.endpoint)), *((name, text_of(one)) for name, one in shown.items())])
    return 0


def auth_of(fields: Sequence[str]) -> dict[str, Any]:
    """The contract's `EndpointAuth` of `field=value` words. Raises ArgumentTypeError, which quotes no value."""
    auth: dict[str, Any] = {}
    for one in fields:
        name, equals, text = one.partition("=")
        if not name or not equals:
            raise ArgumentTypeError("a word without `=`: needs field=value, such as kind=bearer")
        given = values.content(text).rstrip("\r\n")
        if name in AS_JSON:
            try:
                auth[name] = orjson.loads(given)
            except orjson.JSONDecodeError as exc:
                raise ArgumentTypeError(f"the value of {name} is not JSON: {exc}") from exc
        else:
            auth[name] = given
    return auth


def text_of(value: Any) -> str:
    return clean(value if isinstance(value, str) else orjson.dumps(value).decode())
