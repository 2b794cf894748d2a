"""
Every setting of Taskpost, in one frozen struct; the only reader of the environment.

A field `lease_ms` is the environment variable `TASKPOST_LEASE_MS`. Three names that hosting platforms
set are understood too: `REDIS_URL`, `PORT` and `WEB_CONCURRENCY` (processes of the API); the Taskpost name wins.
The README lists every setting; a test holds the list against this file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from service.apikeys import NAMESPACE
from service.egress_rules import read_rules
from service.errors import InvalidSetting
from service.served import served
from service.setting_values import (
    PREFIX,
    check_choice,
    check_origins,
    check_range,
    check_threshold,
    read_value,
    setting,
)

PLATFORM_NAMES = {"redis_url": "REDIS_URL", "port": "PORT", "web_processes": "WEB_CONCURRENCY"}
CHOICES = {
    "durability": ("memory", "fsync", "replica"), "log_format": ("text", "json"), "keep_attempts": ("failed", "all"),
}  # fmt: skip
MIB = 1024 * 1024
DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings with their defaults. Build one with `Settings.from_env()`."""

    redis_url: str = setting(
        "redis://127.0.0.1:6379/0",
        "Redis or Valkey: `redis://`, `rediss://`, `unix://`, `redis+sentinel://host:port,host:port/service/db`, "
        "`redis+cluster://host:port,host:port`",
    )
    redis_tls_verify: bool = setting(True, "check the certificate of a `rediss://` server (Heroku's is self-signed)")
    redis_connections: int = setting(
        64, "most connections to Redis (to each node of a cluster) that one process opens for its calls", 2, 1000
    )
    shards: int = setting(
        0,
        "shards of a new deployment, recorded in Redis at the first start; 0: as recorded, or 1 (16 on a cluster)",
        0,
        16,
    )
    host: str = setting("127.0.0.1", "address the API listens on")
    port: int = setting(8080, "port the API listens on", 0, 65535)
    public_url: str = setting(
        "",
        "where endpoints reach the API, for completion URLs and as issuer of identity tokens; empty: its own address",
    )
    web_processes: int = setting(1, "processes of the API", 1, 64)
    insecure: bool = setting(False, "allow an address beyond loopback without an API key")
    api_key: str = setting(
        "",
        "the operator's key, which may do everything: `Authorization: Bearer …`; others are made by `taskpost keys`",
        is_secret=True,
    )
    encryption_keys: str = setting(
        "",
        "keys that seal what tasks carry in Redis: `version:key` of `taskpost encryption-key` by comma, the one that "
        "seals first; `none` first: seal nothing more; empty: no encryption",
        is_secret=True,
    )
    require_keys: bool = setting(
        False, "every request needs an API key, also before there is one; allows addresses beyond loopback"
    )
    accept_unknown_handlers: bool = setting(
        False, "accept submissions for handlers that no worker has published"
    )
    durability: str = setting(
        "memory",
        "what a submission waits for that does not say: memory (Redis has it), fsync (it is on its disk) or replica "
        "(another server has it)",
    )
    strict_queues: bool = setting(
        False, "refuse submissions for queues that nobody declared by settings, a route or a handler"
    )
    egress_allow: str = setting(
        "",
        "what URL tasks may call besides the public Internet, by comma: addresses, networks (`10.0.0.0/8`), hosts, "
        "`*.example.com`; each with `:port` behind and `namespace=` before, if it is for those only",
    )
    egress_deny: str = setting(
        "", "what they may not call, in the same form; wins over what is allowed; `*`: everything that is not allowed"
    )
    dev: bool = setting(
        False, "development mode: URL tasks may call loopback addresses; `taskpost up` sets it on loopback"
    )
    cors_origins: str = setting(
        "",
        "pages that may use the API and its events from a browser, by comma: `https://app.example.com`; `*`: of every "
        "origin; empty: only those that it serves itself",
    )
    redact_headers: str = setting(
        "",
        "header fields whose values are not shown, besides those whose names tell that they are secrets, by comma; `*` "
        "stands for any characters: `x-tenant,x-internal-*`",
    )
    signatures: str = setting(
        "v1", "how calls are signed: v1 (by secret), v1a (by key pair, which costs 20 us more a call) or v1,v1a"
    )
    keep_attempts: str = setting(
        "failed", "which calls of URLs are kept in detail with their attempts: failed (and retried) or all"
    )
    timezone: str = setting("UTC", "zone of schedules that name none")
    log_level: str = setting("info", "debug, info, warning or error")
    log_format: str = setting("text", "how web, worker and scheduler log: text or json, a line each")
    access_log: bool = setting(
        False, "the API logs each request: what was asked for, by which key, how it was answered, in which time"
    )
    slow_after: str = setting(
        "0.5",
        "from when on an attempt is slow, of handlers that say nothing and of calls: seconds, or a multiple of a "
        "name's own p95, such as `3x`; 0: never",
    )
    telemetry: str = setting(
        "", "traces by OpenTelemetry: otlp (sent to where OTEL_* variables say) or console; empty: none"
    )

    max_body_bytes: int = setting(MIB, "largest body of one request", 1024)
    max_batch_bytes: int = setting(16 * MIB, "largest body of a batch", 1024)
    max_line_bytes: int = setting(MIB, "longest line of a stream", 1024)
    max_batch_tasks: int = setting(1000, "most tasks of a batch", 1, 10_000)
    max_result_bytes: int = setting(MIB, "largest result of a task, and of an answer read from a URL", 1024)
    max_depth: int = setting(64, "deepest nesting of a JSON body", 4, 512)
    max_headers_bytes: int = setting(16 * 1024, "size of a request's headers altogether", 1024, 64 * 1024)
    max_target_bytes: int = setting(8192, "longest path and query of a request", 1024, 64 * 1024)
    max_url_length: int = setting(2048, "longest URL of a task or callback, in characters", 64, 8192)
    max_tags: int = setting(32, "most tags of a task", 0, 256)
    max_tag_length: int = setting(128, "longest tag, in characters", 1, 1024)
    max_pending_bytes: int = setting(
        256 * MIB, "most bytes of bodies that are on their way to one process of the API", MIB
    )
    max_connections: int = setting(
        0, "most connections of one process of the API; 0: as many as it may open files, less some for itself", 0
    )
    head_timeout_seconds: float = setting(
        10, "how long a client may take to send a request's head, on a new connection or from its first byte", 0.1, 3600
    )
    body_timeout_seconds: float = setting(
        30,
        "how long it may take to send the body, and a second more for each 8 KiB that came; a stream has no such limit",
        0.1,
        3600,
    )
    unread_timeout_seconds: float = setting(
        60, "how long it may leave an answer unread, and a second more for each 8 KiB of it", 0.1, 3600
    )
    max_memory_ratio: float = setting(
        0.9,
        "share of Redis' `maxmemory` from which submissions are refused, so that running work can finish",
        0.1,
        1,
    )

    max_memory_bytes: int = setting(
        0,
        "memory of Redis from which submissions are refused, where it has no `maxmemory` or a larger one; 0: none",
        0,
    )

    retries: int = setting(3, "retries of a task that says nothing", 0, 1000)
    timeout_seconds: float = setting(1800, "time limit of an attempt of a handler", 0.001, 7 * DAY)
    url_timeout_seconds: float = setting(30, "time limit of an attempt of a URL task", 0.001, 7 * DAY)
    retry_for_seconds: float = setting(7 * DAY, "total time in which a task may be retried or deferred", 0)
    gone_seconds: float = setting(
        DAY, "how long a URL that answered 410 is disabled, without its query; 0: not at all", 0
    )
    endpoint_share: float = setting(
        0.5,
        "share of a process' URL slots that one slow endpoint may take; several leave a part free together; "
        "1: no bound",
        0.01,
        1,
    )
    breaker_failures: int = setting(
        10,
        "failures in a row after which an endpoint's circuit opens; or half (`breaker_ratio`) of twice as many calls "
        "within a minute; 0: never",
        0,
        10_000,
    )
    breaker_ratio: float = setting(0.5, "share of failures within a minute above which a circuit opens", 0, 1)
    breaker_seconds: float = setting(
        5.0, "how long an open circuit lets no call through; doubled by each probe that fails, up to 60 times", 0.1, DAY
    )
    endpoint_disable_seconds: float = setting(
        5.0 * DAY, "how long all calls of an endpoint may fail before it is disabled; 0: for ever", 0
    )
    alert_url: str = setting(
        "",
        "URL that is told, by a signed call, when an endpoint was disabled, work comes late, nobody does it, or much "
        "of it fails; empty: none",
    )
    alert_queue_seconds: float = setting(300, "age of a queue's oldest ready task from which that is told; 0: never", 0)
    alert_failure_ratio: float = setting(
        0.5, "share of the tasks that ended in the last five minutes above which that they fail is told; 0: never", 0, 1
    )
    max_crashes: int = setting(
        3, "lost workers a task may outlive; one more, and it fails as `worker_lost` (0: never run again)", 0, 100
    )
    result_ttl_seconds: float = setting(DAY, "how long succeeded, cancelled and expired tasks are kept", 0)
    failure_ttl_seconds: float = setting(7 * DAY, "how long failed tasks are kept", 0)
    max_finished: int = setting(1_000_000, "most ended tasks listed in a shard, failed ones apart", 100)
    max_failed: int = setting(1_000_000, "most failed tasks listed in a shard", 100)

    handlers: str = setting("", "where a worker finds its handlers: `module[:attr]`, several by comma")
    schedules: str = setting("", "a YAML file of schedules, name by name, which a worker publishes when it starts")
    app: str = setting(
        "",
        "name of your application: it owns the schedules that its code and file declare; "
        "empty: what TASKPOST_HANDLERS says",
    )
    app_version: str = setting(
        "",
        "version of your application, shown with its workers; a newer one replaces the schedules of those before",
    )
    reload: bool = setting(
        False, "while you write handlers: when a Python file changes, new attempts run the new code"
    )
    namespace: str = setting(
        "",
        "the one namespace that a worker serves, and that its handlers and schedules are for; empty: it serves all, "
        "its handlers are for all, and its schedules and `TASKPOST_QUEUES` those of `default`",
    )
    queues: str = setting(
        "", "queues a worker serves, by comma, with weights or without: `mail`, `high:5,low:1`; empty means all of them"
    )
    queue_order: str = setting(
        "weighted",
        "which queue goes first: weighted (by their weights; in turn without any) or strict (in the order they stand)",
    )
    processes: int = setting(1, "processes of a worker", 1, 256)
    concurrency: int = setting(100, "async handlers a worker process runs at once", 0, 10_000)
    threads: int = setting(16, "handlers on threads a worker process runs at once", 0, 1000)
    children: int = setting(4, "handlers in child processes a worker process runs at once", 0, 1000)
    max_tasks: int = setting(0, "tasks after which a child process is replaced; 0: never", 0)
    max_memory_mb: int = setting(
        0, "resident memory in MiB above which a child process is replaced after its task; 0: never", 0
    )
    kill_grace_seconds: float = setting(
        5.0, "how long a handler in a child process may clean up before it is killed", 0, 3600
    )
    url_concurrency: int = setting(100, "URLs a worker process calls at once", 0, 10_000)
    lease_ms: int = setting(15_000, "how long a task stays with a silent worker", 2000, 600_000)
    heartbeat_ms: int = setting(5_000, "how often a worker says what it holds", 500, 200_000)
    drain_seconds: float = setting(20, "how long a stopping worker lets its tasks run", 0, 3600)

    def __post_init__(self) -> None:
        for one in fields(self):
            check_range(one.name, getattr(self, one.name), one.metadata["least"], one.metadata["most"])
        if self.heartbeat_ms * 2 > self.lease_ms:
            raise InvalidSetting(
                f"TASKPOST_HEARTBEAT_MS={self.heartbeat_ms}: needs at most half of TASKPOST_LEASE_MS={self.lease_ms}, "
                "because a lease must survive one lost heartbeat"
            )
        if self.log_level.lower() not in ("debug", "info", "warning", "error"):
            raise InvalidSetting(f"TASKPOST_LOG_LEVEL={self.log_level}: needs debug, info, warning or error")
        served(self.queues, self.queue_order)
        if self.namespace and not re.fullmatch(NAMESPACE, self.namespace):
            raise InvalidSetting(
                f"TASKPOST_NAMESPACE={self.namespace}: needs 1 to 31 of a-z 0-9 _ . -, the first one a-z 0-9"
            )
        # Frozen for everybody else; what is derived stands where it would have been given.
        object.__setattr__(self, "public_url", self.public_url.rstrip("/") or own_url(self.host, self.port))
        if not self.public_url.startswith(("http://", "https://")):
            raise InvalidSetting(f"TASKPOST_PUBLIC_URL={self.public_url}: needs http://… or https://…")
        if self.alert_url and not self.alert_url.startswith(("http://", "https://")):
            raise InvalidSetting(f"TASKPOST_ALERT_URL={self.alert_url}: needs http://… or https://…")
        for name, choices in CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        if not set(self.signatures.split(",")) <= {"v1", "v1a"}:
            raise InvalidSetting(f"TASKPOST_SIGNATURES={self.signatures}: needs v1, v1a or v1,v1a")
        if self.telemetry not in ("", "otlp", "console"):
            raise InvalidSetting(f"TASKPOST_TELEMETRY={self.telemetry}: needs otlp or console, or to be left out")
        if self.encryption_keys:
            from service.sealing import keyring_of  # who has no key needs no ciphers, which take a while to load

            keyring_of(self.encryption_keys)
        check_threshold(self.slow_after)
        check_origins(self.cors_origins)
        read_rules("TASKPOST_EGRESS_ALLOW", self.egress_allow)
        read_rules("TASKPOST_EGRESS_DENY", self.egress_deny)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """
        The settings of *env* (this process' environment when None); *given* values that are not None win.

        Raises:
            InvalidSetting: a value that cannot be read or is out of range; the text names variable, value and need.
        """
        return cls(**chosen_values(cls, env, given))


def own_url(host: str, port: int) -> str:
    """Where who runs beside an API that listens on *host* reaches it."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Where the Python client and the command line find the API. Build it with `ClientSettings.from_env()`."""

    url: str = setting("http://127.0.0.1:8080", "where clients, the command line and handlers that submit find the API")
    api_key: str = setting("", "key that they bring as `Authorization: Bearer …`; the same that the API asks for")
    eager: bool = setting(False, "handlers submitted from Python run at once in the submitting process: for tests")

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **given: Any) -> ClientSettings:
        """The settings of *env* (this process' environment when None); *given* values that are not None win."""
        return cls(**chosen_values(cls, env, given))


def chosen_values(
    cls: type[Settings | ClientSettings], env: Mapping[str, str] | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """The fields of *cls* that *env* or *given* names. Raises InvalidSetting for a value that cannot be read."""
    env = os.environ if env is None else env
    chosen: dict[str, Any] = {}
    for one in fields(cls):
        own = PREFIX + one.name.upper()
        variable = own if env.get(own) else PLATFORM_NAMES.get(one.name, own)
        if text := env.get(variable):
            chosen[one.name] = read_value(variable, text, type(one.default))
    return chosen | {name: value for name, value in given.items() if value is not None}
