"""
The handlers that this process knows, each with what a submission needs of it at hand.

Owns when the published handlers are read again: in the background when they are old, at once (but once a second)
when a name is not known. Refuses to check anything but `args`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from service.errors import InvalidTaskArguments, StoreUnavailable, UnknownHandler
from service.settings import Settings
from service.sharing import SHARED, shared_of
from service.store.workers import HandlerBook, all_for
from service.submission import MOST_FAULTS, Fault, counted, faults_of_error
from service.task import DEFAULT_QUEUE, options_of

log = logging.getLogger("taskpost.api")

LEAST_SECONDS = 1.0
NOT_READ = "Redis did not answer, so that it is not known whether there is such a handler; nothing was stored."
Validator = jsonschema_rs.Draft202012Validator


class Known:
    """A handler, or the calls of URLs: what applies where a submission says nothing."""

    __slots__ = (
        "args_schema",
        "is_sharing",
        "is_valid",
        "lane",
        "max_crashes",
        "name",
        "options",
        "published",
        "queue",
        "shown_options",
        "validator",
    )

    def __init__(
        self, published: Mapping[str, Any], options: dict[str, Any], validator: Validator | None = None
    ) -> None:
        self.published = published
        self.name: str = published.get("name", "")
        self.lane: str = published["lane"]
        self.queue: str = published.get("queue") or DEFAULT_QUEUE
        self.is_sharing = not published.keys().isdisjoint(SHARED)
        self.options = options
        self.shown_options = without_none(options)
        self.max_crashes: int = min(options["max_crashes"], 100)
        self.args_schema: dict[str, Any] = published.get("args_schema") or {}
        self.validator = validator
        self.is_valid: Callable[[Any], bool] = validator.is_valid if validator else lambda _: True

    def argument_problem(self, args: dict[str, Any]) -> InvalidTaskArguments:
        """Every fault of *args*, which `is_valid` refused."""
        faults: list[Fault] = []
        if self.validator is not None:
            for error in self.validator.iter_errors(args):
                faults += faults_of_error(error, "/args", list(self.args_schema.get("properties", ())))
        faults = list(islice(faults, MOST_FAULTS)) or [{"pointer": "/args", "detail": "does not fit the handler"}]
        return InvalidTaskArguments(counted(faults, f"`args` of {self.name}"), errors=faults)

    def shared(self, submission: Mapping[str, Any]) -> dict[str, Any]:
        """What its declaration adds to *submission*. Raises InvalidTaskArguments where no key can be made of them."""
        added, faults = shared_of(self.published, submission)
        if faults:
            raise InvalidTaskArguments(counted(faults, f"the submission to {self.name}"), errors=faults)
        return added


def without_none(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a task shows them."""
    return {name: value for name, value in options.items() if value is not None}


class Handlers:
    """All handlers of a namespace by name."""

    def __init__(self, book: HandlerBook, settings: Settings, namespace: str) -> None:
        self.book, self.settings, self.namespace = book, settings, namespace
        self.seen: object = None
        self.by_name: dict[str, Known] = {}
        self.validators: dict[bytes, Validator | None] = {}
        self.url = Known({"lane": "url"}, options_of({"url": ""}, None, settings))
        self.stranger_options = options_of({}, None, settings)
        self.reading: asyncio.Task[None] | None = None
        self.tried_at = float("-inf")
        self.was_read = True  # by the last reading

    def find(self, name: str) -> Known:
        """
        The handler of this name. When the book is old, it is read again meanwhile.

        Raises:
            UnknownHandler: nobody published it, as far as is known; the text names the nearest.
        """
        if self.book.handlers is not self.seen:
            self.take_over()
        if not self.book.is_fresh:
            self.read_again()
        if (known := self.by_name.get(name)) is not None:
            return known
        if self.settings.accept_unknown_handlers:
            return Known({"name": name, "lane": "async"}, self.stranger_options)
        raise self.unknown(name)

    def unknown(self, name: str) -> UnknownHandler:
        fault: Fault = {"pointer": "/name", "detail": f'no worker has published a handler "{name}"'}
        near = get_close_matches(name, self.by_name, 3)
        if near:
            fault["hint"] = near[0]
            fault["detail"] += f"; did you mean {' or '.join(near)}?"
        elif not self.by_name:
            fault["detail"] += ", nor any other: start one with `taskpost worker --handlers module`"
        return UnknownHandler(fault["detail"], errors=[fault])

    def options(self, submission: Mapping[str, Any], queue: str) -> dict[str, Any]:
        """The options in force for a stored submission of *queue*."""
        if not self.book.is_fresh:
            self.read_again()
        return self.book.options(submission, self.namespace, queue, self.settings)

    def take_over(self) -> None:
        """Make ready what the book holds now."""
        self.seen = self.book.handlers
        self.by_name = {
            name: Known(one, options_of({}, one, self.settings), self.validator_of(one.get("args_schema")))
            for name, one in all_for(self.book.handlers, self.namespace).items()
        }

    def validator_of(self, schema: Any) -> Validator | None:
        """A validator, made once for each text; None, which takes anything, for a schema that cannot be read."""
        if not schema:
            return None
        text = orjson.dumps(schema)
        if text not in self.validators:
            try:
                self.validators[text] = Validator(schema)
            except (ValueError, jsonschema_rs.ValidationError) as exc:
                log.warning("a handler's args_schema cannot be used, its arguments are not checked here: %s", exc)
                self.validators[text] = None
        return self.validators[text]

    def read_again(self) -> asyncio.Task[None] | None:
        """Start to read the book, unless that was tried within the last second."""
        if self.reading is None and time.monotonic() - self.tried_at >= LEAST_SECONDS:
            self.tried_at = time.monotonic()
            self.reading = asyncio.create_task(self.read())
        return self.reading

    async def read(self) -> None:
        self.was_read = False
        try:
            await self.book.refresh()
            self.was_read = True
        except StoreUnavailable:
            log.debug("the published handlers could not be read; what was known stands")
        finally:
            self.reading = None

    async def look_again(self) -> None:
        """
        After an unknown name: wait until the book has been read, if it may be read now.

        Raises:
            StoreUnavailable: it could not be; whether there is such a handler is not known.
        """
        if (reading := self.read_again()) is not None:
            await asyncio.wait({reading}, timeout=1.5)
        if not self.was_read:
            raise StoreUnavailable(NOT_READ, headers={"Retry-After": "2"})

    async def has_looked_again(self) -> bool:
        """After arguments that do not fit: whether what is known was old, and has been read again."""
        if self.book.is_fresh:
            return False
        try:
            await self.look_again()
        except StoreUnavailable:
            return False
        return True
