"""What the doctor says of facts: each thing that can be wrong, and that nothing is when nothing is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.checkup import Facts, Finding, ServerFacts, findings_of, hosts_of
from service.settings import Settings

GIB = 1 << 30
INFO: dict[str, Any] = {
    "redis_version": "7.2.4", "valkey_version": "9.0.1", "aof_enabled": 1, "maxmemory_policy": "noeviction",
    "used_memory": GIB // 4, "maxmemory": GIB, "role": "master", "connected_clients": 20, "maxclients": 10_000,
}  # fmt: skip
WORKER = {"queues": [], "state": "running"}
SETTINGS = ("redis_url", "redis_tls_verify", "public_url")
PUBLIC = "https://tasks.example.com"


def facts(server: dict[str, Any] | None = None, config: dict[str, str] | None = None, **given: Any) -> Facts:
    """A deployment in which all is well, but for what is *given*; settings by their names."""
    named = {name: given.pop(name) for name in list(given) if name in SETTINGS}
    settings = Settings(**{"public_url": PUBLIC, **named})
    one = ServerFacts("server", {**INFO, **(server or {})}, {"appendfsync": "everysec"} if config is None else config)
    known: dict[str, Any] = {"shards": 1, "format": 1, "reaped_seconds": 0.4, "schedulers": 1, "servers": [one]}
    known["workers"] = [WORKER]
    return replace(Facts(settings), **{**known, **given})


def wrong(found: Facts) -> list[Finding]:
    return [one for one in findings_of(found) if one.verdict != "ok"]


def test_nothing_is_wrong_with_a_healthy_deployment() -> None:
    """It says what it looked at all the same."""
    assert [] == wrong(facts())
    looked_at = {one.check for one in findings_of(facts())}
    assert {"redis", "clock", "server", "deployment", "scheduler", "workers", "api", "public url"} <= looked_at


SERVERS = [
    ({"redis_version": "6.2.1"}, "fault", "too old"),
    ({"aof_enabled": 0}, "fault", "no append-only file"),
    ({"aof_last_write_status": "err"}, "fault", "last write to the append-only file failed"),
    ({"rdb_last_bgsave_status": "err"}, "fault", "until one is, writes are refused"),
    ({"aof_last_bgrewrite_status": "err"}, "warning", "could not be rewritten"),
    ({"maxmemory_policy": "allkeys-lru"}, "fault", "drops tasks when it is full"),
    ({"evicted_keys": 3}, "warning", "dropped 3 keys"),
    ({"maxmemory": 0}, "warning", "no maxmemory"),
    ({"used_memory": int(GIB * 0.95)}, "fault", "submissions are refused"),
    ({"used_memory": int(GIB * 0.8)}, "warning", "from 90% on submissions are refused"),
    ({"role": "slave"}, "fault", "a replica"),
    ({"connected_clients": 9_000}, "warning", "9000 of 10000 connections"),
]


@pytest.mark.parametrize(("server", "verdict", "told"), SERVERS)
def test_each_fault_of_a_server_is_found_alone(server: dict[str, Any], verdict: str, told: str) -> None:
    """With what mends it."""
    [found] = wrong(facts(server))
    assert (verdict, "server") == (found.verdict, found.check)
    assert told in found.detail
    assert found.remedy


OTHERS: list[tuple[dict[str, Any], str, str, str]] = [
    ({"fault": "Redis does not answer: refused"}, "fault", "redis", "does not answer"),
    ({"round_trip_ms": 35.0}, "warning", "redis", "35.0 ms"),
    ({"skew_ms": 4000.0}, "warning", "clock", "4.0 s behind"),
    ({"skew_ms": -4000.0}, "warning", "clock", "4.0 s ahead"),
    ({"redis_url": "redis://10.0.0.5:6379/0"}, "warning", "tls", "in clear"),
    ({"redis_url": "rediss://h:1/0", "redis_tls_verify": False}, "warning", "tls", "not checked"),
    ({"cluster": {"cluster_state": "fail", "cluster_slots_ok": "10922"}}, "fault", "cluster", "10922 of 16384"),
    ({"reaped_seconds": None}, "fault", "scheduler", "nobody has looked for lost tasks ever"),
    ({"reaped_seconds": 90.0}, "fault", "scheduler", "for 90 s"),
    ({"schedulers": 0}, "fault", "scheduler", "schedules do not fire"),
    ({"workers": []}, "warning", "workers", "none lives"),
    ({"queues": {"a/b": {"queued": 4}}, "workers": [{"queues": ["x"]}]}, "fault", "queues", "4 tasks wait in a/b"),
    ({"api": "no answer.", "port": None}, "warning", "api", "no answer."),
    ({"api": "no answer.", "port": "Port 8080 is taken."}, "fault", "api", "taken"),
    ({"public_url": "http://127.0.0.1:8080"}, "warning", "public url", "only this machine"),
    ({"public": f"{PUBLIC} does not answer."}, "warning", "public url", "does not answer"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "verdict", "check", "told"), OTHERS)
def test_each_fault_around_it_is_found_alone(given: dict[str, Any], verdict: str, check: str, told: str) -> None:
    [found] = wrong(facts(**given))
    assert (verdict, check) == (found.verdict, found.check)
    assert told in found.detail
    assert found.remedy


def test_shards_that_do_not_fit_are_named_with_both_numbers() -> None:
    """No process would start."""
    found = facts(shards=4)
    found.settings = Settings(public_url=PUBLIC, shards=16)
    [one] = wrong(found)
    assert ("fault", "deployment", "TASKPOST_SHARDS=4, or leave it out") == (one.verdict, one.check, one.remedy)
    [one] = wrong(facts(key_fault="this deployment seals by version 2 of the key, and this process has 1"))
    assert ("fault", "encryption", True) == (one.verdict, one.check, one.blocks)


def test_where_config_is_blocked_the_rest_is_looked_at() -> None:
    found = facts(config={})
    found.servers[0].config = None
    assert any("CONFIG is blocked" in one.detail for one in findings_of(found))
    assert [] == wrong(found)


@pytest.mark.parametrize(("sync", "verdict", "loses"), [
    ("always", "ok", "loses nothing"), ("everysec", "ok", "loses the last second"), ("no", "warning", "half a minute"),
])  # fmt: skip
def test_what_a_crash_loses_is_said(sync: str, verdict: str, loses: str) -> None:
    [found] = [one for one in findings_of(facts(config={"appendfsync": sync})) if "appendfsync" in one.detail]
    assert verdict == found.verdict
    assert loses in found.detail


def test_the_hosts_of_a_url_are_found_whatever_its_kind() -> None:
    assert ["a", "b"] == hosts_of("redis+cluster://user:p@a:1,b:2")
    assert ["::1"] == hosts_of("redis://[::1]:6379/0")
    assert [""] == hosts_of("unix:///run/redis.sock")


def test_what_keeps_processes_from_starting_is_marked() -> None:
    """A release phase fails by it alone: not by what merely loses tasks some day."""
    blocking = {told for server, _, told in SERVERS if wrong(facts(server))[0].blocks}
    assert {"too old", "a replica"} == blocking
    assert ["redis"] == [one.check for one in findings_of(facts(fault="Redis does not answer")) if one.blocks]
