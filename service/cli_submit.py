"""
`taskpost submit`: the words of the command line made into one submission.

Owns which option means which field of the contract. Refuses to judge names and ranges: the API does, and says all.
"""

from __future__ import annotations

import math
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping
from typing import Any

from service import cli_values as values
from service.cli_flows import define_shared, shared_of
from service.cli_screen import Screen
from service.cli_tasks import add_api, client, print_result, print_task
from service.cli_wait import wait

EPILOG = """\
values: each is JSON when it is JSON, else text: a=2, ok=true, to=ada, ids='[1,2]', zip='"01234"'.
    @file reads a value of --args, --body and --metadata from a file, - from standard input.
durations: seconds, or a sum such as 250ms, 90s, 1h30m, 7d.

examples:
  taskpost submit demo.add a=2 b=3 --wait
  taskpost submit email:send to=ada@example.com --delay 90s --retries 5 --tag customer-42
  taskpost submit report:daily --at 18:30 --key report-2026-12-01 --callback https://example.com/done
  taskpost submit --url https://example.com/hook --header 'X-Tenant: acme' --body '{"invoice": 4711}'
  taskpost submit search:index doc=4711 --unique-by doc --debounce 30s --max-wait 5m
  id=$(taskpost submit demo.sleep seconds=60 --quiet)

exit status: 0 submitted, and with --wait succeeded; 1 ended in another way; 124 still going on after
the time of --wait; 2 anything else."""


def define(parser: ArgumentParser) -> None:
    parser.description = "Submit a task: a call of a handler with arguments, or of a URL."
    parser.usage = "taskpost submit HANDLER [key=value …] [options]\n       taskpost submit --url URL [options]"
    parser.epilog = EPILOG
    parser.add_argument("words", nargs="*", metavar="HANDLER key=value", help=SUPPRESS)
    define_target(parser)
    how = define_effort(parser)
    how.add_argument("--delay", metavar="TIME", type=values.duration, help="start no earlier than in this time")
    how.add_argument("--at", metavar="TIME", type=values.moment, help="start no earlier than at this time")
    how.add_argument(
        "--expires", metavar="TIME", type=values.duration, help="do not start it later than in this time: it expires"
    )
    define_once(parser)
    define_shared(parser)
    labels = define_labels(parser)
    labels.add_argument("--key", help="idempotency key: the same key answers the same task")
    labels.add_argument(
        "--durability", choices=("memory", "fsync", "replica"), help="wait until Redis has it there (memory)"
    )
    after = parser.add_argument_group("what to show")
    after.add_argument(
        "--wait",
        metavar="TIME",
        nargs="?",
        const=math.inf,
        type=lambda text: math.inf if text == "inf" else values.duration(text),
        help="wait for the end, so long at the most",
    )
    after.add_argument("-q", "--quiet", action="store_true", help="print only the id; with --wait only the result")
    add_api(parser)


def define_once(parser: ArgumentParser) -> None:
    """What of it is to be there once."""
    once = parser.add_argument_group("once")
    once.add_argument("--unique", metavar="KEY", help="one task at a time with this key")
    once.add_argument("--unique-by", metavar="ARGS", help="… with these arguments: customer,day; or: all")
    once.add_argument("--until", choices=("started", "finished"), help="how long it keeps the key (finished)")
    once.add_argument("--for", metavar="TIME", dest="for_", type=values.duration, help="keep the key so long")
    once.add_argument(
        "--on-conflict", choices=("return", "reject", "reschedule", "replace"),
        help="what to do while another task has the key (return)",
    )  # fmt: skip
    once.add_argument("--debounce", metavar="TIME", type=values.duration, help="wait until none has come for so long")
    once.add_argument("--max-wait", metavar="TIME", type=values.duration, help="… but no longer than this")
    once.add_argument("--leading", action="store_true", help="do the first at once, and none before there was quiet")


def once_of(options: Namespace) -> dict[str, Any]:
    """`unique` or `debounce` as the options say it, None where they say nothing. Raises ArgumentTypeError."""
    key: dict[str, Any] = {"key": options.unique} if options.unique else {}
    if options.unique_by and options.unique_by != "all":
        key["by"] = options.unique_by.split(",")
    is_unique = bool(key or options.unique_by)
    ends = {"until": options.until, "for_seconds": options.for_, "on_conflict": options.on_conflict}
    quiet = {"max_wait_seconds": options.max_wait, "edge": "leading" if options.leading else None}
    if options.debounce is None:
        if any(quiet.values()):
            raise ArgumentTypeError("--max-wait and --leading go with --debounce TIME")
        if not is_unique and any(ends.values()):
            raise ArgumentTypeError("--until, --for and --on-conflict go with --unique KEY or --unique-by ARGS")
        return {"unique": key | without_none(ends) if is_unique else None}
    if any(ends.values()):
        raise ArgumentTypeError("--until, --for and --on-conflict do not go with --debounce")
    return {"debounce": key | {"seconds": options.debounce} | without_none(quiet)}


def without_none(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


def define_target(parser: ArgumentParser) -> None:
    """What is done: the options of a call of a handler or a URL."""
    what = parser.add_argument_group("what to do")
    what.add_argument("--args", metavar="JSON", type=values.mapping, help="the handler's arguments as one object")
    what.add_argument("--url", help="call this URL instead of a handler")
    what.add_argument("--method", metavar="METHOD", type=str.upper, help="method of the call (POST)")
    what.add_argument(
        "--header", metavar="'N: V'", type=values.header, action="append", help="header of the call; repeatable"
    )
    what.add_argument("--body", metavar="VALUE", type=values.body, help="body of the call")
    what.add_argument("--envelope", action="store_true", default=None, help="send {task, attempt, …, body} as the body")
    what.add_argument("--retry-4xx", action="store_true", default=None, help="try again after any 4xx but 410")
    what.add_argument("--cancel-url", metavar="URL", help="URL to tell when it is cancelled while it runs")


def define_effort(parser: ArgumentParser) -> Any:
    """Where it waits, how long it may take, how often it is tried; the group, for more of them."""
    when = parser.add_argument_group("when, and how often")
    when.add_argument("--queue", help="queue it waits in (the handler's, else default)")
    when.add_argument("--priority", metavar="0-9", type=int, help="9 goes first (5)")
    when.add_argument("--retries", metavar="N", type=int, help="tries after a failed one (3)")
    when.add_argument("--backoff", metavar="TIMES", type=values.backoff, help="waits between them: 1s,5s,1m or JSON")
    when.add_argument("--timeout", metavar="TIME", type=values.duration, help="time limit of an attempt")
    when.add_argument("--soft-timeout", metavar="TIME", type=values.duration, help="warn the handler after this time")
    when.add_argument("--retry-for", metavar="TIME", type=values.duration, help="no retry later than this (7d)")
    when.add_argument("--max-crashes", metavar="N", type=int, help="lost workers it may outlive (3)")
    return when


def define_labels(parser: ArgumentParser) -> Any:
    """What it is found by, and what follows it; the group, for more of them."""
    labels = parser.add_argument_group("labels, and what follows")
    labels.add_argument("--tag", action="append", help="word to find it by; repeatable")
    labels.add_argument(
        "--metadata", metavar="K=V", type=values.properties, action="append", help="kept with it; repeatable, or JSON"
    )
    labels.add_argument("--callback", metavar="URL", help="URL to POST to when it has ended")
    labels.add_argument("--callback-on", metavar="ENDS", type=values.states, help="for these ends only: failed,expired")
    labels.add_argument("--result-ttl", metavar="TIME", type=values.duration, help="how long its result is kept (1d)")
    return labels


def run(options: Namespace, screen: Screen, env: Mapping[str, str]) -> int:
    submission = submission_of(options)
    status = 0
    with client(options, env) as api:
        task = api.submit(submission.pop("name", None), submission.pop("args", None), **submission)
        if options.wait:
            task, status = wait(api, screen, task, options.wait)
    if options.quiet and not options.json:
        print_result(screen, task) if options.wait else screen.line(task.id)
    else:
        print_task(options, screen, task)
    return status


def submission_of(options: Namespace) -> dict[str, Any]:
    """
    What is to be submitted, by the names of the contract.

    Raises:
        ArgumentTypeError: the words are not a handler and its arguments, or a URL.
    """
    name, url, args = target(options)
    times = {"delay_seconds": options.delay, "run_at": options.at, "expires_in_seconds": options.expires}
    target_of = {"name": name, "args": args or None, "url": url}
    shared = shared_of(options)
    asked = {"idempotency_key": options.key, "durability": options.durability}
    return {**target_of, **task_options(options), **times, **once_of(options), **shared, **asked}


def task_options(options: Namespace) -> dict[str, Any]:
    """What the options say of a task, by the names of the contract; None where they say nothing."""
    callback: dict[str, Any] | None = {"url": options.callback} if options.callback else None
    if options.callback_on:
        if callback is None:
            raise ArgumentTypeError("--callback-on needs --callback URL, the URL to call")
        callback["on"] = options.callback_on
    metadata: dict[str, Any] = {}
    for some in options.metadata or []:
        metadata |= some
    return {
        "method": options.method,
        "headers": dict(options.header) if options.header else None,
        "body": options.body,
        "envelope": options.envelope,
        "retry_4xx": options.retry_4xx,
        "cancel_url": options.cancel_url,
        "queue": options.queue,
        "priority": options.priority,
        "timeout_seconds": options.timeout,
        "soft_timeout_seconds": options.soft_timeout,
        "retries": options.retries,
        "retry_for_seconds": options.retry_for,
        "max_crashes": options.max_crashes,
        "backoff": options.backoff,
        "tags": options.tag,
        "metadata": metadata or None,
        "result_ttl_seconds": options.result_ttl,
        "callback": callback,
    }


def target(options: Namespace) -> tuple[str | None, str | None, dict[str, Any]]:
    """(handler, URL, arguments); one of the first two is None."""
    words = list(options.words)
    name = words.pop(0) if words and (is_url(words[0]) or "=" not in words[0]) else None
    url = options.url
    if name is not None and is_url(name):
        name, url = None, url or name
    args = {**(options.args or {}), **dict(values.pair(one) for one in words)}
    if name is None and url is None:
        raise ArgumentTypeError("what is to be done? Name a handler (`taskpost handlers` lists them), or say --url URL")
    if name is not None and url is not None:
        raise ArgumentTypeError(f"both the handler {name} and the URL {url} are given; a task is one of them")
    if url is not None and args:
        raise ArgumentTypeError("key=value and --args are for handlers; a URL is sent --body")
    return name, url, args


def is_url(word: str) -> bool:
    return word.startswith(("http://", "https://"))
