"""
Submissions with a span each, while TASKPOST_TELEMETRY asks for traces; without, no intake is one of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.api.intake import Intake, Ready
from service.api.receipts import Receipt
from service.api.runtime import Runtime
from service.errors import Problem
from service.telemetry import Submitting, Tracer


class TracedIntake(Intake):
    """An `Intake` that tells what becomes of each submission."""

    def __init__(self, runtime: Runtime, tracer: Tracer) -> None:
        super().__init__(runtime)
        self.tracer = tracer

    def begin(self, submission: Any) -> Submitting | None:
        """A span for what can be a submission."""
        return self.tracer.submitting(submission, self.namespace) if isinstance(submission, dict) else None

    async def prepare_one(self, submission: Any) -> Ready:
        span = self.begin(submission)
        try:
            ready = await super().prepare_one(submission)
        except Problem as problem:
            tell(span, problem)
            raise
        ready.span = span
        return ready

    async def prepare_all(self, submissions: Sequence[Any]) -> list[Ready | Problem]:
        spans = [self.begin(one) for one in submissions]
        made = await super().prepare_all(submissions)
        for span, one in zip(spans, made, strict=True):
            if isinstance(one, Problem):
                tell(span, one)
            else:
                one.span = span
        return made

    async def submit_one(self, ready: Ready) -> Receipt:
        try:
            receipt = await super().submit_one(ready)
        except Problem as problem:
            tell(ready.span, problem)
            raise
        tell(ready.span, receipt)
        return receipt

    async def submit_all(self, made: Sequence[Ready | Problem]) -> list[Receipt | Problem]:
        answers = await super().submit_all(made)
        for one, answer in zip(made, answers, strict=True):
            if isinstance(one, Ready):
                tell(one.span, answer)
        return answers


def tell(span: Submitting | None, answer: Receipt | Problem) -> None:
    """What came of a submission."""
    if span is None:
        return
    if isinstance(answer, Problem):
        span.refused(answer)
    else:
        span.stored(answer.id, answer.task["queue"], is_earlier=answer.status == 200)
