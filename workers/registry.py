"""
Which handlers there are: `@task` registers them, `load` finds them by `module[:attr]`.

`task` registers with the one default registry; a program that wants several makes its own `Registry`. The
fact to know: a worker loads each module once, in its own process, and a fault in a declaration stops the
worker before it takes any work.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from service.errors import InvalidHandler
from workers.around import Middleware
from workers.context import Context
from workers.depends import Resource, Surroundings, check, plan_of
from workers.handler import Handler
from workers.hooks import apart
from workers.options import HandlerOptions, check_name, read_options
from workers.recurring import schedules_of
from workers.shadowing import hidden_by_ours

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
M = TypeVar("M", bound=Middleware)


class Decorator(Protocol):
    """What `@task("name", …)` leaves to be called with the function. A Context that comes first is no argument."""

    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], R], /) -> Handler[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> Handler[P, R]: ...


class Registry:
    """Handlers by name."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler[..., Any]] = {}
        self.surroundings = Surroundings()

    def __iter__(self) -> Iterator[Handler[..., Any]]:
        return iter(self._handlers.values())

    def __len__(self) -> int:
        return len(self._handlers)

    def __contains__(self, name: str) -> bool:
        return name in self._handlers

    def find(self, name: str) -> Handler[..., Any] | None:
        """The handler called *name*, or None."""
        return self._handlers.get(name)

    def add(self, handler: Handler[..., Any]) -> None:
        """
        Register *handler*.

        Raises:
            InvalidHandler: another handler has its name; the text says where both are.
        """
        known = self._handlers.get(handler.name)
        if known is not None and known is not handler and known.place != handler.place:
            raise InvalidHandler(
                f"handler {handler.name!r} is declared twice, at {known.place} and at {handler.place}: rename one"
            )
        self._handlers[handler.name] = handler

    @overload
    def task(self, function: Callable[Concatenate[Context, P], R], /) -> Handler[P, R]: ...

    @overload
    def task(self, function: Callable[P, R], /) -> Handler[P, R]: ...

    @overload
    def task(self, name: str | None = None, /, **options: Unpack[HandlerOptions]) -> Decorator: ...

    def task(
        self, name: str | Callable[..., Any] | None = None, /, **options: Unpack[HandlerOptions]
    ) -> Handler[..., Any] | Decorator:
        """
        Make a function a handler: `@task`, `@task("email:send")`, `@task("email:send", retries=5,
        timeout=30)`.

        Without a name it is called `module.function`. What is returned can still be called as the function.

        Raises:
            InvalidHandler: a name, an option or a signature that cannot work, or a name that is taken.
        """
        if callable(name):
            return self._register(name, None, options)
        given = name

        def decorate(function: Callable[..., Any], /) -> Handler[..., Any]:
            return self._register(function, given, options)

        return cast(Decorator, decorate)

    def middleware(self, function: M, /) -> M:
        """
        Put *function* around every attempt of this registry's handlers: `@middleware`, the first one outermost.

            async def timed(ctx: Context, call_next: CallNext) -> Outcome:
                started = time.monotonic()
                outcome = await call_next()
                ctx.log.info("took %.3f s", time.monotonic() - started)
                return outcome

        It may answer another outcome, also without calling the rest. It stands around `def` handlers just the same.

        Raises:
            InvalidHandler: no `async def`.
        """
        is_async: bool = inspect.iscoroutinefunction(function)
        if not is_async:
            raise InvalidHandler(
                f"middleware {getattr(function, '__name__', function)!r}: needs `async def` with (ctx, call_next), "
                "also for `def` handlers"
            )
        self.surroundings.layers.append(function)
        for handler in self:
            handler.is_bare = False
        return function

    def lifespan(self, function: Callable[[], Iterator[T] | AsyncIterator[T]], /) -> Resource[T]:
        """
        Make something once in each process that runs handlers: `@lifespan`, before its first task until its end.

            @lifespan
            async def pool():
                async with create_pool(URL) as made:
                    yield made

        Handlers take it by `Depends(pool)`. It is made in the processes that run a handler which depends on it; when
        none does, in all that run handlers. It may depend on others itself.

        Raises:
            InvalidHandler: no generator.
        """
        resource = Resource[T](function)
        check(resource)
        if plan_of(resource).contexts:
            raise InvalidHandler(f"lifespan {resource.__name__!r}: it is made before any task, so there is no Context")
        self.surroundings.resources.append(resource)
        return resource

    def _register(self, function: Callable[..., Any], name: str | None, options: HandlerOptions) -> Handler[..., Any]:
        if isinstance(function, Handler):
            raise InvalidHandler(f"handler {function.name!r}: @task stands twice on one function; keep one")
        if name is None:
            name = f"{function.__module__}.{getattr(function, '__name__', '')}"
        check_name(name)
        plain, hooks = apart(name, options)
        schedule = plain.pop("schedule", None)
        handler: Handler[..., Any] = Handler(function, name, read_options(name, plain), hooks, self.surroundings)
        handler.schedules = schedules_of(name, schedule, handler.place)
        self.add(handler)
        return handler


default_registry = Registry()
task = default_registry.task
middleware = default_registry.middleware
lifespan = default_registry.lifespan


def load(places: str) -> Registry:
    """
    The handlers at *places*: `module[:attr]`, several separated by commas.

    The working directory comes first on sys.path. *attr* is a Registry, a handler, or a list of them;
    without it, what `@task` has registered.

    Raises:
        InvalidHandler: no such module or attribute, an error while importing (shown as it was), or nothing
            registered.
    """
    if (folder := str(Path.cwd())) not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    found = Registry()
    for place in filter(None, (one.strip() for one in places.split(","))):
        module_name, _, attr = place.partition(":")
        module = _import(module_name, place)
        for handler in _handlers_of(module, attr, place):
            found.add(handler)
    if not len(found):
        raise InvalidHandler(f"handlers {places!r}: no module is named; say module or module:attr")
    return found


def _import(name: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not (name == exc.name or name.startswith(f"{exc.name}.")):
            raise _import_failed(place, exc) from exc
        if hidden := hidden_by_ours(name, sys.path):
            raise InvalidHandler(
                f"handlers {place!r}: {hidden} has the name of a package of Taskpost's, "
                "which is already loaded: rename yours"
            ) from None
        raise InvalidHandler(
            f"handlers {place!r}: there is no module {exc.name!r} in {Path.cwd()} or elsewhere on sys.path; "
            "start in the directory that holds it, or set PYTHONPATH"
        ) from None
    except InvalidHandler as exc:
        raise InvalidHandler(f"handlers {place!r}: {exc}") from exc
    except (Exception, SystemExit) as exc:
        raise _import_failed(place, exc) from exc


def _import_failed(place: str, exc: BaseException) -> InvalidHandler:
    """The error with its traceback from the first frame of the user's on."""
    steps = exc.__traceback__
    while steps is not None and ("importlib" in (file := steps.tb_frame.f_code.co_filename) or file == __file__):
        steps = steps.tb_next
    told = "".join(traceback.format_exception(type(exc), exc, steps))
    return InvalidHandler(f"handlers {place!r}: importing it failed\n\n{told}")


def _handlers_of(module: ModuleType, attr: str, place: str) -> Iterable[Handler[..., Any]]:
    if not attr:
        if len(default_registry):
            return default_registry
        own = next((name for name, value in vars(module).items() if isinstance(value, Registry)), None)
        hint = f"; its registry is {own!r}: say {place}:{own}" if own else ""
        raise InvalidHandler(f"handlers {place!r}: the module registers nothing with @task{hint}")
    try:
        value = getattr(module, attr)
    except AttributeError:
        near = get_close_matches(attr, vars(module), 1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise InvalidHandler(f"handlers {place!r}: the module has no {attr!r}{hint}") from None
    handlers = [value] if isinstance(value, Handler) else value
    is_many = isinstance(handlers, Registry | list | tuple | set)
    if not is_many or not all(isinstance(one, Handler) for one in handlers):
        raise InvalidHandler(
            f"handlers {place!r}: {attr!r} is {type(value).__name__}; needs a Registry, a handler or a list of handlers"
        )
    if not len(handlers):
        raise InvalidHandler(f"handlers {place!r}: {attr!r} holds no handlers")
    return list(handlers)
