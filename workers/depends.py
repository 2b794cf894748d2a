"""
What a handler depends on: functions that make it for one attempt, and let go of it afterwards.

    async def connection():
        async with pool.acquire() as taken:
            yield taken

    @task("orders:import")
    async def import_orders(day: date, db: Connection = Depends(connection)) -> int: ...

A dependency is a function, a generator or their async kinds, and may depend on others. One attempt makes each at most
once, and ends it when the attempt is over, last made first: what the handler raised is raised at its `yield`, so what
must be let go of stands in a `with` or a `finally`. It cannot hide that; what it raises itself fails the attempt.
The fact to know: parameters filled here are no arguments of the task, so they are not in the published schema.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import Parameter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from service.errors import InvalidHandler
from workers.context import Context
from workers.signatures import is_context, resolved

if TYPE_CHECKING:
    from workers.around import Middleware

T = TypeVar("T")

OVERRIDES: dict[Callable[..., Any], Callable[..., Any]] = {}


class Dependency:
    """Marks a parameter that *function* fills."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __repr__(self) -> str:
        return f"Depends({getattr(self.function, '__name__', self.function)!s})"


def Depends(function: Callable[..., Any]) -> Any:  # noqa: N802 - reads as a type where it stands
    """
    As a default, `db: Connection = Depends(connection)`, or in `Annotated[Connection, Depends(connection)]`.

    `Depends(Context)` is the Context. Raises InvalidHandler when *function* cannot be called.
    """
    if not callable(function):
        raise InvalidHandler(f"Depends({function!r}): needs a function that makes it, not the thing itself")
    return Dependency(function)


class Resource(Generic[T]):
    """
    Made once in each process that runs handlers, before the first task; let go of at its end. `@lifespan` makes one.

    *value* is what it yielded, while *is_open*.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if not (inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)):
            raise InvalidHandler(
                f"lifespan {getattr(function, '__name__', function)!r}: needs a generator, `def` or `async def` with "
                "one `yield` between start and stop"
            )
        self.function = function
        self.__name__: str = function.__name__
        self.value: Any = None
        self.is_open = False

    def __call__(self) -> T:
        """The thing itself. Raises RuntimeError outside a process that runs handlers."""
        if not self.is_open:
            raise RuntimeError(f"{self.__name__} is open only in processes that run handlers")
        value: T = self.value
        return value

    def __repr__(self) -> str:
        return f"<lifespan {self.__name__}>"


@dataclass(slots=True)
class Surroundings:
    """What a registry puts around all its handlers; it may grow after they were declared."""

    layers: list[Middleware] = field(default_factory=list)
    resources: list[Resource[Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the parameters of one function are filled."""

    function: Callable[..., Any]
    needs: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    contexts: tuple[str, ...] = ()


@lru_cache(1024)
def plan_of(function: Callable[..., Any]) -> Plan:
    """
    The plan of a dependency.

    Raises:
        InvalidHandler: a parameter that nothing fills; the text names it.
    """
    function = function.function if isinstance(function, Resource) else function
    needs: dict[str, Callable[..., Any]] = {}
    contexts: list[str] = []
    for parameter in parameters_of(function):
        if (dependency := dependency_of(parameter, function)) is not None:
            needs[parameter.name] = dependency.function
        elif is_context(parameter.annotation, function):
            contexts.append(parameter.name)
        elif parameter.default is Parameter.empty and parameter.kind not in (
            Parameter.VAR_POSITIONAL,
            Parameter.VAR_KEYWORD,
        ):
            raise InvalidHandler(
                f"dependency {getattr(function, '__name__', function)!r}: nothing fills its parameter "
                f"{parameter.name!r}: give it a default, `= Depends(…)` or the type Context"
            )
    return Plan(function, needs, tuple(contexts))


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """The parameters of *function*; none where Python cannot tell, as for some classes written in C."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []


def dependency_of(parameter: Parameter, function: Callable[..., Any]) -> Dependency | None:
    """What *parameter* depends on, by its default or by `Annotated`."""
    if isinstance(parameter.default, Dependency):
        return parameter.default
    try:
        annotation = resolved(parameter.annotation, function)
    except Exception:  # a type that cannot be resolved is reported by who needs it
        return None
    if typing.get_origin(annotation) is typing.Annotated:
        return next((one for one in typing.get_args(annotation)[1:] if isinstance(one, Dependency)), None)
    return None


def functions_of(functions: Iterable[Callable[..., Any]]) -> Iterator[Callable[..., Any]]:
    """*functions* and all that they depend on, overridden ones replaced."""
    for given in functions:
        function = OVERRIDES.get(given, given)
        if function is Context:
            continue
        yield function
        yield from functions_of(plan_of(function).needs.values())


def check(function: Callable[..., Any]) -> None:
    """Raises InvalidHandler when *function*, or one that it depends on, has a parameter that nothing fills."""
    for _ in functions_of((function,)):
        pass


def is_async(function: Callable[..., Any]) -> bool:
    """Whether it takes an event loop to make what *function* makes."""
    if isinstance(function, Resource):
        return not function.is_open and inspect.isasyncgenfunction(function.function)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


class Attempt:
    """What one attempt depends on, made as it is asked for."""

    def __init__(self, ctx: Context | None, stack: AsyncExitStack) -> None:
        self.ctx, self.stack = ctx, stack
        self.made: dict[Callable[..., Any], Any] = {}

    async def make(self, function: Callable[..., Any]) -> Any:
        """What *function* makes, made once."""
        if function is Context:
            return self.ctx
        function = OVERRIDES.get(function, function)
        if isinstance(function, Resource) and function.is_open:
            return function.value
        if function not in self.made:
            plan = plan_of(function)
            kwargs = {name: await self.make(need) for name, need in plan.needs.items()}
            kwargs |= dict.fromkeys(plan.contexts, self.ctx)
            self.made[function] = await self.enter(plan.function, kwargs)
        return self.made[function]

    async def enter(self, function: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
        if inspect.isasyncgenfunction(function):
            return await self.stack.enter_async_context(asynccontextmanager(function)(**kwargs))
        if inspect.isgeneratorfunction(function):
            return self.stack.enter_context(contextmanager(function)(**kwargs))
        value = function(**kwargs)
        return await value if inspect.isawaitable(value) else value


async def call_with(
    needs: Mapping[str, Callable[..., Any]],
    kwargs: Mapping[str, Any],
    ctx: Context,
    call: Callable[[dict[str, Any]], Awaitable[Any]],
) -> Any:
    """The result of *call* with *kwargs* and everything that *needs* names, let go of before this returns."""
    fault: BaseException | None = None
    result: Any = None
    async with AsyncExitStack() as stack:
        attempt = Attempt(ctx, stack)
        full = {**kwargs, **{name: await attempt.make(need) for name, need in needs.items()}}
        try:
            result = await call(full)
        except BaseException as exc:
            fault = exc
            raise
    if fault is not None:  # a dependency has swallowed it; the outcome is still the handler's
        raise fault
    return result


@contextmanager
def override(function: Callable[..., Any], replacement: Callable[..., Any]) -> Iterator[None]:
    """
    For tests: while it lasts, *replacement* is called wherever *function* is depended on, in this process.

    It is a dependency itself: a plain function, a generator, with parameters of its own.
    """
    earlier = OVERRIDES.get(function)
    OVERRIDES[function] = replacement
    try:
        yield
    finally:
        if earlier is None:
            del OVERRIDES[function]
        else:
            OVERRIDES[function] = earlier
