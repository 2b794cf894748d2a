"""
What a handler's author imports: `from workers import task, Context, Depends, Retry, Fail, Defer` and the like.

Everything else in this package runs inside `taskpost worker`. A package of the user's that is called
`service` or `workers` would be imported instead of ours, so that is looked for before anything else is
imported.
"""

from workers.shadowing import refuse_shadowing

refuse_shadowing()

from workers.around import CallNext  # noqa: E402 - only after the check above
from workers.context import Context  # noqa: E402
from workers.depends import Depends  # noqa: E402
from workers.handler import Handler  # noqa: E402
from workers.handles import Handle, SyncHandle  # noqa: E402
from workers.hooks import Policy  # noqa: E402
from workers.outcome import (  # noqa: E402
    Cancelled,
    Defer,
    Deferred,
    Fail,
    Failed,
    Outcome,
    Retry,
    SoftTimeLimitExceeded,
    Succeeded,
    TimeLimitExceeded,
)
from workers.recurring import calendar, cron, every  # noqa: E402
from workers.registry import Registry, lifespan, middleware, task  # noqa: E402

__all__ = [
    "CallNext",
    "Cancelled",
    "Context",
    "Defer",
    "Deferred",
    "Depends",
    "Fail",
    "Failed",
    "Handle",
    "Handler",
    "Outcome",
    "Policy",
    "Registry",
    "Retry",
    "SoftTimeLimitExceeded",
    "Succeeded",
    "SyncHandle",
    "TimeLimitExceeded",
    "calendar",
    "cron",
    "every",
    "lifespan",
    "middleware",
    "refuse_shadowing",
    "task",
]
