"""
What may not be seen outside of a request: secrets, taken out of answers and outcomes.

An endpoint that sends its request back, as those for debugging do, would show our credentials to whoever may read the
task. The fact to know: values of under six characters are left, because they stand in any text by chance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import orjson

from service.received import is_json
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
        """*answer* without secrets in headers and body; a result in JSON is left to `outcome`, which reads it."""
        if not self.texts:
            return answer
        headers = {name: self.without(value) for name, value in answer.headers.items()}
        is_result = 200 <= answer.status < 300 and is_json(answer.content_type)
        return replace(answer, headers=headers, body=answer.body if is_result else self.without(answer.body))

    def outcome(self, outcome: Ended) -> Ended:
        """*outcome* without secrets; the same object."""
        if not self.texts:
            return outcome
        if isinstance(outcome, Succeeded):
            if self.without(outcome.result_json) != outcome.result_json:
                outcome.result_json = self.result(outcome.result_json)
        elif isinstance(outcome, Failed):
            outcome.error = self.document(outcome.error)
        elif isinstance(outcome, Deferred):
            outcome.reason = self.without(outcome.reason)
        if isinstance(outcome, Succeeded | Failed | Deferred):
            outcome.http = self.document(outcome.http)
        return outcome

    def result(self, text: bytes) -> bytes:
        """*text*, which is JSON, without secrets; it stays JSON, or nobody could read the task."""
        try:
            return orjson.dumps(self.document(orjson.loads(text)))
        except RecursionError:
            return orjson.dumps(SHOWN)

    def document(self, value: Any) -> Any:
        """A JSON value without secrets: in its texts, the names of its fields, and numbers, which become texts."""
        if isinstance(value, str):
            return self.without(value)
        if isinstance(value, int | float):
            shown = orjson.dumps(value).decode()
            return value if self.without(shown) == shown else SHOWN
        if isinstance(value, dict):
            return {self.document(name): self.document(one) for name, one in value.items()}
        return [self.document(one) for one in value] if isinstance(value, list) else value
