"""
What may not be seen outside of a request: secrets, taken out of answers and outcomes.

An endpoint that sends its request back, as those for debugging do, would show our credentials to whoever may read the
task. The fact to know: values of under six characters are left, because they stand in any text by chance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import orjson

from workers.outcome import Deferred, Failed, Succeeded
from workers.push.answer import Answer

T = TypeVar("T", str, bytes)
Ended = TypeVar("Ended")
LEAST_CHARS = 6
SHOWN = "[hidden]"


class Hidden:
    """The secrets of one call."""

    __slots__ = ("texts",)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __repr__(self) -> str:
        return f"<{len(self.texts)} secrets>"

    def add(self, *secrets: str) -> None:
        """Hide *secrets* too, also where they are written in JSON."""
        for one in secrets:
            if len(one) >= LEAST_CHARS:
                self.texts += {one, orjson.dumps(one).decode()[1:-1]}
        self.texts.sort(key=len, reverse=True)  # one may be part of another

    def without(self, text: T) -> T:
        """*text* with `[hidden]` where a secret was."""
        for one in self.texts:
            text = text.replace(one, SHOWN) if isinstance(text, str) else text.replace(one.encode(), SHOWN.encode())
        return text

    def answer(self, answer: Answer) -> Answer:
        """*answer* without secrets in its headers and its body."""
        if not self.texts:
            return answer
        headers = {name: self.without(value) for name, value in answer.headers.items()}
        return replace(answer, headers=headers, body=self.without(answer.body))

    def outcome(self, outcome: Ended) -> Ended:
        """*outcome* without secrets; the same object."""
        if not self.texts:
            return outcome
        if isinstance(outcome, Succeeded):
            outcome.result_json = self.without(outcome.result_json)
        elif isinstance(outcome, Failed):
            outcome.error = self.document(outcome.error)
        elif isinstance(outcome, Deferred):
            outcome.reason = self.without(outcome.reason)
        if isinstance(outcome, Succeeded | Failed | Deferred):
            outcome.http = self.document(outcome.http)
        return outcome

    def document(self, value: Any) -> Any:
        """A JSON value without secrets, in its texts and the names of its fields."""
        if isinstance(value, str):
            return self.without(value)
        if isinstance(value, dict):
            return {self.document(name): self.document(one) for name, one in value.items()}
        return [self.document(one) for one in value] if isinstance(value, list) else value
