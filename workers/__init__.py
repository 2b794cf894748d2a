"""
What a handler's author imports: `from workers import task, Context, Retry, Fail, Defer`.

Everything else in this package runs inside `taskpost worker`. A package of the user's that is called
`service` or `workers` would be imported instead of ours, so that is looked for before anything else is
imported.
"""

from workers.shadowing import refuse_shadowing

refuse_shadowing()

from workers.context import Context  # noqa: E402 - only after the check above
from workers.handler import Handler  # noqa: E402
from workers.outcome import Defer, Fail, Retry, SoftTimeLimitExceeded, TimeLimitExceeded  # noqa: E402
from workers.registry import Registry, task  # noqa: E402

__all__ = [
    "Context",
    "Defer",
    "Fail",
    "Handler",
    "Registry",
    "Retry",
    "SoftTimeLimitExceeded",
    "TimeLimitExceeded",
    "refuse_shadowing",
    "task",
]
