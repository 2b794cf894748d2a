"""
One handler: a function with the name, the lane and the options under which workers run it.

Calling it calls the function, as tests and other code expect; workers call `function` through a pool.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from service import sharing
from service.declared import Declared
from service.errors import InvalidHandler
from service.task import DEFAULT_QUEUE
from workers.arguments import Arguments
from workers.calling import Submitting
from workers.context import Context
from workers.depends import Surroundings
from workers.hooks import Hooks
from workers.options import Options
from workers.outcome import Fail, Retry, SoftTimeLimitExceeded, TimeLimitExceeded

P = ParamSpec("P")
R = TypeVar("R")


class Handler(Submitting[P, R]):
    """
    A registered function. `lane` is `async`, `process` or `thread`; `context_name` the parameter that takes the
    Context, or None.
    """

    __name__: str

    def __init__(
        self,
        function: Callable[..., R],
        name: str,
        options: Options,
        hooks: Hooks | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        """
        *surroundings* are those of its registry.

        Raises:
            InvalidHandler: *function* cannot be a handler; the text says why and what to do.
        """
        self._target, self._submit_options = self, {}
        self.function = function
        self.name = name
        self.declared = options
        self.lane = lane_of(function, name, options.pool)
        self.queue = options.queue or DEFAULT_QUEUE
        self.arguments = Arguments(name, function)
        self._check_shared()
        self.context_name = self.arguments.context_name
        self.needs = self.arguments.needs
        self.hooks = hooks or Hooks()
        self.surroundings = surroundings or Surroundings()
        self.middleware = self.surroundings.layers
        self.bind = self.arguments.bind
        self.schedules: tuple[Declared, ...] = ()
        # Nothing stands around it: no dependency, no hook, no middleware. Registering middleware ends that.
        self.is_bare = not (self.needs or self.hooks or self.middleware)
        functools.update_wrapper(self, function)

    @overload
    def __call__(self, ctx: Context, /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]  # the overloads say what is taken
        """
        Call the function itself, without hooks and middleware. A Context that is not given is made up, so that tests
        need none; what dependencies would fill is given by name.
        """
        name = self.context_name
        if name is not None and not any(isinstance(one, Context) for one in args):
            ctx = kwargs.pop(name, None) or Context(id="0" * 26, name=self.name)
            place = self.arguments.context_place
            if place is None or len(args) < place:
                kwargs[name] = ctx
            else:
                args = (*args[:place], ctx, *args[place:])
        if missing := self.needs.keys() - inspect.signature(self.function).bind_partial(*args, **kwargs).arguments:
            raise TypeError(
                f"{self.name}: a plain call makes no dependencies: give {', '.join(sorted(missing))} by name, or "
                "submit it in eager mode"
            )
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Handler {self.name} ({self.lane})>"

    @property
    def shared(self) -> dict[str, Any]:
        """What its tasks share where their submissions say nothing."""
        return {name: getattr(self.declared, name) for name in sharing.SHARED}

    def _check_shared(self) -> None:
        """Raises InvalidHandler for a key that is made of what is no argument."""
        known = list(self.arguments.schema["properties"])
        if not self.arguments.takes_rest and (faults := list(sharing.unknown_fields(self.shared, known))):
            raise InvalidHandler(f"handler {self.name!r}: " + "; ".join(faults))

    @property
    def place(self) -> str:
        """Where the function is written: `file:line`."""
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else self.function.__module__

    def is_retryable(self, exc: BaseException) -> bool:
        """
        Whether another attempt may follow *exc*, by its kind and the options `retry_on` and `no_retry_on`.
        """
        if isinstance(exc, Fail | Retry):
            return isinstance(exc, Retry)
        kind = type(exc)
        kinds = (kind, TimeLimitExceeded) if issubclass(kind, SoftTimeLimitExceeded) else (kind,)
        options = self.declared
        if any(issubclass(one, options.no_retry_on) for one in kinds):
            return False
        return options.retry_on is None or any(issubclass(one, options.retry_on) for one in kinds)

    def published(self) -> dict[str, Any]:
        """
        What workers publish of this handler; an option is left out where the queue or the settings decide.
        """
        options = self.declared
        declared = {
            "retries": options.retries,
            "timeout_seconds": options.timeout,
            "soft_timeout_seconds": options.soft_timeout,
            "backoff": options.backoff,
            "max_crashes": options.max_crashes,
            "result_ttl_seconds": options.result_ttl,
            **self.shared,
            "result_schema": self.arguments.result_schema(),
        }
        return {
            "name": self.name,
            "lane": self.lane,
            "queue": self.queue,
            "description": first_paragraph(self.function) or None,
            "args_schema": self.arguments.schema,
            **{name: value for name, value in declared.items() if value is not None},
        }


def lane_of(function: Callable[..., Any], name: str, pool: str | None) -> str:
    """
    `async` for a coroutine function, else `process`, or `thread` where that is asked for.

    Raises:
        InvalidHandler: nothing a worker can run, or in a pool that does not fit.
    """
    if isinstance(function, type) or not callable(function):
        raise InvalidHandler(f"handler {name!r}: needs a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidHandler(f"handler {name!r}: a generator has no result; collect what it yields and return it")
    if next(iter(inspect.signature(function).parameters), "") in ("self", "cls"):
        raise InvalidHandler(f"handler {name!r}: a method has no object to run on; declare a function that makes one")
    is_async = inspect.iscoroutinefunction(function)
    if is_async and pool in ("thread", "process"):
        raise InvalidHandler(f"handler {name!r}: an `async def` runs on the event loop; use `def` with pool={pool!r}")
    if not is_async and pool == "async":
        raise InvalidHandler(f"handler {name!r}: pool='async' needs `async def`; a `def` would block all other tasks")
    return "async" if is_async else pool or "process"


def first_paragraph(function: Callable[..., Any]) -> str:
    """The first paragraph of the docstring in one line; empty without one."""
    return " ".join((inspect.getdoc(function) or "").partition("\n\n")[0].split())
