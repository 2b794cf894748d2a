"""
`taskpost keys` lists, creates and revokes API keys: over the API, or with --redis straight where they are kept.

The fact to know: a new key is printed alone on standard output, this once, so that a script can take it.
"""

from __future__ import annotations

import asyncio
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from service import cli_values as values
from service.apikeys import ROLES, made
from service.cli_screen import Column, Screen, one_line, relative
from service.cli_tasks import add_api, client, for_each, print_list
from service.client.keys import ApiKey, NewApiKey
from service.client.types import view
from service.contract import validator_of
from service.errors import KeyNotFound
from service.settings import Settings
from service.store import Store
from service.submission import faults_of_error
from service.task import DEFAULT_NAMESPACE

T = TypeVar("T")
USAGE = """taskpost keys [list]
       taskpost keys create NAME --role ROLE --scope SCOPE … [options]
       taskpost keys revoke ID …"""
EPILOG = """\
Roles: reader, operator, admin. Scopes: tasks, schedules, queues, endpoints, workers, secrets, keys, each with :read,
:write or :*; audit:read. A role, scopes or both are needed. From the first key on every request needs one: make one
for yourself first. With --redis the deployment's other settings, such as TASKPOST_SHARDS, need to be set as they are
elsewhere.

examples:
  export TASKPOST_API_KEY=$(taskpost keys create me --role admin --redis redis://127.0.0.1:6379/0)
  taskpost keys create importer --scope tasks:write --namespace acme --rate 100/1m --expires 90d
  taskpost keys                         who has keys, and when each was last used
  taskpost keys revoke 7Hq2mZk3vJ       it opens nothing within five seconds"""
NOTHING = "there are no API keys; `taskpost keys create NAME --role admin` makes one"
PATIENCE_SECONDS = 5.0


def define(parser: ArgumentParser) -> None:
    parser.description = "List, create or revoke API keys."
    parser.usage, parser.epilog = USAGE, EPILOG
    parser.add_argument(
        "action", nargs="?", choices=("list", "create", "revoke"), default="list", metavar="ACTION", help=SUPPRESS
    )
    parser.add_argument("ids", nargs="*", help=SUPPRESS)
    how = parser.add_argument_group("create")
    how.add_argument("--role", choices=sorted(ROLES), help="what it may do, as a set of scopes")
    how.add_argument("--scope", action="append", default=[], help="what it may do; repeatable")
    how.add_argument("--namespace", metavar="NAME", help="what it works on (that of your own key)")
    how.add_argument("--expires", metavar="TIME", type=values.duration, help="in how long it ends (never)")
    how.add_argument("--rate", metavar="N/TIME", type=rate, help="so many requests in a time: 100/1m (no bound)")
    parser.add_argument("--redis", metavar="URL", help="work where keys are kept, without the API: for the first key")
    add_api(parser)


def rate(text: str) -> dict[str, float]:
    """`100/1m` as the contract says it."""
    requests, slash, window = text.partition("/")
    if not slash or not requests.isdigit():
        raise ArgumentTypeError(f"{text!r}: needs requests and a time, such as 100/1m")
    return {"requests": int(requests), "window_seconds": values.duration(window)}


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    check_options(options)
    if options.action == "create":
        return show_new(options, screen, create(options, env))
    if options.action == "revoke":
        return for_each(options, screen, lambda id_: show_revoked(options, screen, revoke(options, env, id_)))
    found = listed(options, env)
    return print_list(options, screen, found, lambda: show_all(screen, found, datetime.now(UTC)), NOTHING)


def check_options(options: Namespace) -> None:
    """Raises ArgumentTypeError for what is missing, or belongs to another action."""
    action = options.action
    if action == "create" and (len(options.ids) != 1 or not (options.scope or options.role)):
        raise ArgumentTypeError(
            "a name and a role or a scope are needed: taskpost keys create importer --scope tasks:write"
        )
    if action == "revoke" and not options.ids:
        raise ArgumentTypeError("which key? taskpost keys revoke ID; `taskpost keys` lists them")
    if action == "list" and options.ids:
        raise ArgumentTypeError(f"{one_line(options.ids[0])!r} is too much; `taskpost keys --help` shows how")
    given = {"--role": options.role, "--scope": options.scope or None, "--namespace": options.namespace}
    given |= {"--expires": options.expires, "--rate": options.rate}
    for name in [name for name, value in given.items() if value is not None]:
        if action != "create":
            raise ArgumentTypeError(f"{name} goes with create")


# ---------------------------------------------------------------- over the API, or straight on Redis


def asked(options: Namespace) -> dict[str, Any]:
    """What is asked for beside name and scopes."""
    given = {
        "role": options.role, "namespace": options.namespace, "expires_in_seconds": options.expires,
        "rate_limit": options.rate,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


def create(options: Namespace, env: Mapping[str, str]) -> NewApiKey:
    [name] = options.ids
    if not options.redis:
        with client(options, env) as api:
            return api.create_key(name, options.scope, **asked(options))
    given = {"name": name, **({"scopes": options.scope} if options.scope else {}), **asked(options)}
    errors = validator_of("ApiKeyRequest").iter_errors(given)
    if faults := [fault for error in errors for fault in faults_of_error(error, "")]:
        raise ArgumentTypeError("; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in faults))

    async def kept(store: Store) -> NewApiKey:
        now_ms = store.tasks.clock.now_ms()
        expires_ms = None if options.expires is None else now_ms + int(options.expires * 1000)
        token, key = made(given, options.namespace or DEFAULT_NAMESPACE, "command line", expires_ms, now_ms)
        await store.api_keys.create(key)
        return view(NewApiKey, {**key.shown(now_ms, None), "key": token})

    return on_redis(options, env, kept)


def revoke(options: Namespace, env: Mapping[str, str], id_: str) -> ApiKey:
    if not options.redis:
        with client(options, env) as api:
            return api.revoke_key(id_)

    async def revoked(store: Store) -> ApiKey:
        key = await store.api_keys.revoke(id_)
        if key is None:
            raise KeyNotFound(f"there is no API key {id_[:40]!r}; `taskpost keys` lists those that there are")
        return view(ApiKey, key.shown(store.tasks.clock.now_ms(), None))

    return on_redis(options, env, revoked)


def listed(options: Namespace, env: Mapping[str, str]) -> Sequence[ApiKey]:
    if not options.redis:
        with client(options, env) as api:
            return api.api_keys()

    async def found(store: Store) -> list[ApiKey]:
        now_ms = store.tasks.clock.now_ms()
        return [view(ApiKey, one.key.shown(now_ms, one.used_ms)) for one in await store.api_keys.list()]

    return on_redis(options, env, found)


def on_redis(options: Namespace, env: Mapping[str, str], work: Callable[[Store], Awaitable[T]]) -> T:
    """Do *work* with the store. Raises StoreUnavailable when Redis does not answer."""
    settings = Settings.from_env(env, redis_url=options.redis)

    async def working() -> T:
        store = await Store.open(settings, PATIENCE_SECONDS)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(working())


# ---------------------------------------------------------------- showing


def show_new(options: Namespace, screen: Screen, key: NewApiKey) -> int:
    if options.json:
        screen.json(key.raw)
    else:
        screen.line(key.key)
        screen.note(f"This is the key {key.id} of the namespace {key.namespace}. It is not shown again.")
    return 0


def show_revoked(options: Namespace, screen: Screen, key: ApiKey) -> None:
    if options.json:
        screen.json(key.raw)
    else:
        screen.line(f"{key.id} {one_line(key.name)}: revoked")


def show_all(screen: Screen, found: Sequence[ApiKey], now: datetime) -> None:
    rows = [
        (
            key.id,
            one_line(key.name),
            key.namespace,
            one_line(" ".join(key.scopes)),
            key.state,
            relative(key.expires_at, now) if key.expires_at else "never",
            relative(key.last_used_at, now) if key.last_used_at else "never",
        )
        for key in found
    ]
    columns = [Column("ID"), Column("NAME"), Column("NAMESPACE"), Column("SCOPES", shrinks=True), Column("STATE")]
    screen.table([*columns, Column("ENDS"), Column("USED")], rows)
