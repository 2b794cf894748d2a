"""
The ASGI application: which path and method leads where.

Submitting goes past Starlette, straight to raw endpoints; everything else is a function of what was `Asked`.
The fact to know: a test holds `ROUTES` and `Api.raw` to the paths and methods of the contract.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from difflib import get_close_matches
from functools import partial

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import (
    api_keys,
    audit,
    backfills,
    bulk,
    completions,
    docs,
    endpoint_auth,
    endpoints,
    events,
    explain,
    flows,
    health,
    metrics,
    queues,
    read_tokens,
    replay,
    results,
    routes,
    schedules,
    secrets,
    sessions,
    stats,
    tasks,
    workers,
)
from service.api.access_log import AccessLog, NotingGate
from service.api.auth import Gate, scope_of
from service.api.callers import Caller
from service.api.cors import Cors, Origins
from service.api.dashboard import Dashboard, is_dashboard
from service.api.echo import PLACE as ECHO
from service.api.echo import Echo
from service.api.events import EventStream
from service.api.handler_tasks import PATH as HANDLER_PATH
from service.api.handler_tasks import HandlerTasks, leads_here
from service.api.intakes import Intakes
from service.api.problems import response_of, send_problem, unexpected
from service.api.queries import check_query
from service.api.runtime import Asked, Runtime
from service.api.send import METHODS, PATH, PLACE, Passthrough
from service.api.sockets import Sockets
from service.api.streams import Stream
from service.api.submit import Submit
from service.api.timing import ROUTE, Timing
from service.errors import MethodNotAllowed, NotFound, Problem, TargetTooLong
from service.settings import Settings
from service.submission import shortened

Endpoint = Callable[[Asked], Awaitable[Response]]

ROUTES: dict[str, dict[str, Endpoint]] = {
    "/v1/tasks": {"GET": tasks.list_tasks},
    "/v1/tasks/batch": {},
    "/v1/tasks/stream": {},
    "/v1/tasks/{id}": {"GET": tasks.get_task, "DELETE": tasks.delete_task},
    "/v1/tasks/{id}/result": {"GET": results.get_result},
    "/v1/tasks/{id}/attempts": {"GET": tasks.list_attempts},
    "/v1/tasks/{id}/events": {"GET": events.stream_task_events},
    "/v1/tasks/{id}/read-token": {"POST": read_tokens.create_read_token},
    "/v1/tasks/{id}/cancel": {"POST": tasks.cancel_task},
    "/v1/tasks/{id}/explain": {"GET": explain.explain_task},
    "/v1/tasks/{id}/replay": {"POST": replay.replay_task},
    "/v1/tasks/{id}/run": {"POST": tasks.run_task},
    "/v1/tasks/{id}/reschedule": {"POST": tasks.reschedule_task},
    PATH: {},
    "/v1/events": {"GET": events.stream_events},
    "/v1/schedules": {"GET": schedules.list_schedules, "POST": schedules.create_schedule},
    "/v1/schedules/preview": {"POST": schedules.preview_new_schedule},
    "/v1/schedules/{name}": {
        "GET": schedules.get_schedule,
        "PUT": schedules.put_schedule,
        "PATCH": schedules.update_schedule,
        "DELETE": schedules.delete_schedule,
    },
    "/v1/schedules/{name}/pause": {"POST": schedules.pause_schedule},
    "/v1/schedules/{name}/resume": {"POST": schedules.resume_schedule},
    "/v1/schedules/{name}/run": {"POST": schedules.run_schedule},
    "/v1/schedules/{name}/preview": {"GET": schedules.preview_schedule},
    "/v1/schedules/{name}/runs": {"GET": schedules.list_schedule_runs},
    "/v1/schedules/{name}/backfill": {"POST": backfills.backfill_schedule},
    "/v1/schedules/{name}/backfills": {"GET": backfills.list_backfills},
    "/v1/schedules/{name}/backfills/{id}": {"GET": backfills.get_backfill, "DELETE": backfills.abort_backfill},
    "/v1/bulk": {"GET": bulk.list_bulk},
    **{f"/v1/bulk/{action}": {"POST": bulk.begin(action)} for action in bulk.REQUESTS},
    "/v1/bulk/{id}": {"GET": bulk.get_bulk, "DELETE": bulk.abort_bulk},
    "/v1/routes": {"GET": routes.list_routes, "PUT": routes.put_routes},
    "/v1/queues": {"GET": queues.list_queues},
    "/v1/queues/{queue}": {"GET": queues.get_queue, "PATCH": queues.update_queue, "DELETE": queues.delete_queue},
    "/v1/queues/{queue}/scale": {"GET": queues.scale_queue},
    "/v1/queues/{queue}/purge": {"POST": bulk.purge_queue},
    "/v1/queues/{queue}/pause": {"POST": queues.pause_queue},
    "/v1/queues/{queue}/drain": {"POST": queues.drain_queue},
    "/v1/queues/{queue}/resume": {"POST": queues.resume_queue},
    "/v1/queues/{queue}/groups": {"GET": flows.list_groups},
    "/v1/queues/{queue}/groups/{group}": {"PATCH": flows.update_group},
    "/v1/flows": {"GET": flows.list_flows},
    "/v1/flows/{key}": {"GET": flows.get_flow, "PATCH": flows.update_flow},
    "/v1/flows/{key}/reset": {"POST": flows.reset_flow},
    "/v1/workers": {"GET": workers.list_workers},
    "/v1/workers/{id}": {"GET": workers.get_worker},
    "/v1/workers/{id}/quiet": {"POST": workers.quiet_worker},
    "/v1/workers/{id}/resume": {"POST": workers.resume_worker},
    "/v1/workers/{id}/stop": {"POST": workers.stop_worker},
    "/v1/workers/{id}/resize": {"POST": workers.resize_worker},
    "/v1/handlers": {"GET": workers.list_handlers},
    HANDLER_PATH: {},
    "/v1/stats": {"GET": stats.get_stats},
    "/v1/stats/slow": {"GET": stats.list_slow},
    "/v1/overview": {"GET": stats.get_overview},
    "/v1/audit": {"GET": audit.list_audit},
    "/v1/session": {
        "POST": sessions.create_session,
        "GET": sessions.get_session,
        "DELETE": sessions.delete_session,
    },
    "/v1/keys": {"GET": api_keys.list_keys, "POST": api_keys.create_key},
    "/v1/keys/{id}": {"GET": api_keys.get_key, "DELETE": api_keys.revoke_key},
    "/v1/secrets": {"GET": secrets.list_secrets},
    "/v1/secrets/rotate": {"POST": secrets.rotate_secrets},
    "/v1/endpoints": {"GET": endpoints.list_endpoints},
    "/v1/endpoints/{endpoint}": {"GET": endpoints.get_endpoint, "PATCH": endpoints.update_endpoint},
    "/v1/endpoints/{endpoint}/enable": {"POST": endpoints.enable_endpoint},
    "/v1/endpoints/{endpoint}/disable": {"POST": endpoints.disable_endpoint},
    "/v1/endpoints/{endpoint}/test": {"POST": endpoints.try_endpoint},
    "/v1/endpoints/{endpoint}/auth": {
        "GET": endpoint_auth.get_auth,
        "PUT": endpoint_auth.put_auth,
        "DELETE": endpoint_auth.delete_auth,
    },
    "/.well-known/openid-configuration": {"GET": endpoint_auth.get_openid_configuration},
    "/.well-known/jwks.json": {"GET": endpoint_auth.get_key_set},
    "/v1/completions/{token}/complete": {"POST": completions.complete_attempt},
    "/v1/completions/{token}/fail": {"POST": completions.fail_attempt},
    "/v1/completions/{token}/defer": {"POST": completions.defer_attempt},
    "/v1/completions/{token}/heartbeat": {"POST": completions.beat_attempt},
    "/v1/completions/{token}/progress": {"POST": completions.note_progress},
    "/v1/completions/{token}/log": {"POST": completions.log_lines},
    "/metrics": {"GET": metrics.get_metrics},
    "/livez": {"GET": health.get_liveness},
    "/readyz": {"GET": health.get_readiness},
    "/openapi.json": {"GET": health.get_contract_json},
    "/openapi.yaml": {"GET": health.get_contract_yaml},
    "/docs": {"GET": docs.get_docs},
    "/docs/{file}": {"GET": docs.get_docs_file},
    "/problems": {"GET": docs.list_problem_types},
    "/problems/{type}": {"GET": docs.get_problem_type},
}


class Api:
    """One API process."""

    def __init__(self, settings: Settings) -> None:
        self.runtime = Runtime(settings)
        self.most_target_bytes = settings.max_target_bytes
        gate = (NotingGate if settings.access_log else Gate)(self.runtime)
        intakes = Intakes(self.runtime)
        submit = Submit(intakes, gate)
        self.echo = Echo(settings.max_body_bytes) if settings.dev else None
        self.dashboard = Dashboard(is_fresh=settings.dev)
        self.raw: dict[tuple[str, str], ASGIApp] = {
            ("POST", "/v1/tasks"): submit.one,
            ("POST", "/v1/tasks/batch"): submit.batch,
            ("POST", "/v1/tasks/stream"): Stream(intakes, gate),
            ("POST", HANDLER_PATH): HandlerTasks(submit, gate),
            **dict.fromkeys(((method, PATH) for method in METHODS), Passthrough(submit, gate)),
        }
        routes = [
            Route(pattern_of(path), Resource(self.runtime, gate, path, endpoints, self.methods(path)))
            for path, endpoints in ROUTES.items()
        ]
        self.router = Router(routes, redirect_slashes=False, default=nothing_here)
        origins = Origins(settings.cors_origins)
        self.sockets: ASGIApp = Sockets(self.runtime, gate, origins)
        self.http: ASGIApp = Timing(Cors(self.answer, origins) if origins.allowed else self.answer, self.runtime)
        if settings.access_log:
            self.http, self.sockets = AccessLog(self.http), AccessLog(self.sockets)

    def methods(self, path: str) -> list[str]:
        """The methods that *path* has, in the order in which Allow names them."""
        offered = {*ROUTES[path], *(method for method, one in self.raw if one == path)}
        return sorted(offered | ({"HEAD"} if "GET" in offered else set()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.http(scope, receive, send)
            # It holds the exchange, which holds the scope: with this tie every request would be left to the collector.
            scope.pop("extensions", None)
        elif scope["type"] == "websocket":
            await self.sockets(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.live(receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lead a request where its path and method lead."""
        path = scope["path"]
        if (length := len(scope["raw_path"]) + len(scope["query_string"])) > self.most_target_bytes:
            problem = TargetTooLong(f"path and query have {length} bytes; at most {self.most_target_bytes} are read")
            await send_problem(send, problem, scope)
            return
        route = place_of(path)
        raw = self.raw.get((scope["method"], route))
        scope[ROUTE] = route if raw is not None else ""
        await (raw or self.beside(path))(scope, receive, send)

    def beside(self, path: str) -> ASGIApp:
        """What answers *path* where no raw endpoint does: dashboard, echo of development mode, or a resource."""
        if is_dashboard(path):
            return self.dashboard
        return self.echo if self.echo is not None and path.startswith(ECHO) else self.router

    async def live(self, receive: Receive, send: Send) -> None:
        """The ASGI lifespan: connect, and close in the end."""
        await receive()
        await self.runtime.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.runtime.close()
        await send({"type": "lifespan.shutdown.complete"})


class Resource:
    """All methods of one path."""

    def __init__(
        self, runtime: Runtime, gate: Gate, path: str, endpoints: dict[str, Endpoint], methods: list[str]
    ) -> None:
        self.runtime, self.gate, self.path = runtime, gate, path
        self.endpoints, self.methods = endpoints, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        scope[ROUTE] = self.path
        caller = None
        try:
            method = self.method(request)
            headers = dict(scope["headers"])
            caller = await self.caller(request, method, headers)
            send = self.gate.rates.announced(caller, scope, send)
            response = await self.answer(request, method, headers, caller)
            if isinstance(response, EventStream) and caller.may_be_shut_out:
                response.until_shut = partial(self.gate.until_shut, caller, headers)
        except Problem as problem:
            response = response_of(problem, scope)
        except ClientDisconnect:
            return
        except Exception as exc:
            response = response_of(unexpected(exc, scope), scope)
        if caller is not None and audit.is_noted(self.path, method):
            await audit.note(self.runtime, scope, self.path, method, caller, response.status_code)
        await response(scope, receive, send)

    def method(self, request: Request) -> str:
        """The method of the contract that is asked for. Raises MethodNotAllowed."""
        method = "GET" if request.method == "HEAD" else request.method
        if method not in self.endpoints:
            allowed = ", ".join(self.methods)
            raise MethodNotAllowed(
                f"{shortened(request.method)} is not offered by {self.path}, only {allowed}", headers={"Allow": allowed}
            )
        return method

    async def caller(self, request: Request, method: str, headers: Mapping[bytes, bytes]) -> Caller:
        """Who asks: by key, or by a read token of the task that the path names."""
        raw, query = request.scope["headers"], request.scope["query_string"]
        scope = scope_of(self.path, method)
        if scope is None and b"handlers=" in query:  # which handlers there are is not for everybody
            scope = "workers:read"
        if method != "GET" or (token := read_tokens.token_in(query, self.path)) is None:
            return await self.gate.admit(raw, headers, scope)
        self.gate.check_size(raw)
        return await read_tokens.reader(self.runtime, token, request.path_params["id"])

    async def answer(self, request: Request, method: str, headers: Mapping[bytes, bytes], caller: Caller) -> Response:
        query = check_query(request.scope, self.path, method)
        runtime = self.runtime.of(caller.namespace)
        asked = Asked(runtime, request.path_params, query, request.receive, headers, caller, self.gate, request.scope)
        return await self.endpoints[method](asked)


def place_of(path: str) -> str:
    """The path of the contract that *path* is of, if it has parameters and its endpoint is a raw one; else itself."""
    if path.startswith(PLACE):
        return PATH
    return HANDLER_PATH if leads_here(path) else path


def pattern_of(path: str) -> str:
    """The pattern of a *path* of the contract; a URL has slashes."""
    return path.replace("{url}", "{url:path}")


async def nothing_here(scope: Scope, _: Receive, send: Send) -> None:
    """The answer where no route leads."""
    if scope["type"] != "http":
        return
    near = get_close_matches(scope["path"][:200].rstrip("/"), ROUTES, 1)
    hint = f"; did you mean {near[0]}?" if near else "; /openapi.json lists what there is"
    await send_problem(send, NotFound(f"there is nothing at {shortened(scope['path'])}{hint}"), scope)
