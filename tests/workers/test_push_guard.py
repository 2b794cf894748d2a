"""The egress guard where connections are opened: real servers on loopback, and name servers that lie."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import respx

from service.egress import Egress
from service.egress_table import address_of
from tests.workers.test_push_answer import OPTIONS, leased
from workers.outcome import Failed, Outcome, Succeeded
from workers.push.client import PushClient
from workers.push.resolve import Resolver, is_this_machine, look_up

OURS, INNER = "127.0.0.2", "127.0.0.1"  # both are this machine; only the first is allowed
ONLY_OURS = Egress(OURS)


class Names:
    """A name server that gives each host's answers in turn, the last one for ever."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self.answers = {host.replace("_", "."): list(one) for host, one in answers.items()}
        self.asked: list[str] = []

    async def look_up(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        await asyncio.sleep(0)
        left = self.answers.get(host)
        if left is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return left.pop(0) if len(left) > 1 else left[0]


class Endpoint:
    """One port on both addresses; *heard* has the address and the Host header of each request."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.opened = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                host = next(line[6:] for line in head.split("\r\n") if line.lower().startswith("host:"))
                self.heard.append((writer.get_extra_info("sockname")[0], host))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


@asynccontextmanager
async def endpoint() -> AsyncIterator[tuple[Endpoint, int]]:
    held = Endpoint()
    first = await asyncio.start_server(held.serve, OURS, 0)
    port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(held.serve, INNER, port)
    try:
        yield held, port
    finally:
        first.close()
        second.close()


@asynccontextmanager
async def pushing(names: Names, egress: Egress = ONLY_OURS, **given: Any) -> AsyncIterator[PushClient]:
    client = PushClient(max_result_bytes=1000, egress=egress, resolver=Resolver(look_up=names.look_up, **given))
    try:
        yield client
    finally:
        await client.aclose()


async def call(client: PushClient, url: str, namespace: str = "default") -> Outcome:
    task = leased(url=url, method="GET")
    task.namespace = namespace
    return await client.call(task, OPTIONS, 1_795_305_630_500)


def denied(outcome: Outcome) -> str:
    """The text of a refusal by the guard, which no retry follows."""
    assert isinstance(outcome, Failed), outcome
    assert ("EgressDenied", False) == (outcome.error["type"], outcome.retry), outcome
    return str(outcome.error["message"])


async def test_the_checked_address_is_the_one_that_is_connected_to(monkeypatch):
    """A name server that answers a good address to the check and an inner one afterwards gains nothing."""
    names = Names(hook_test=[[OURS], [INNER], [INNER]])

    def flipped(*_args: Any, **_more: Any) -> Any:
        raise AssertionError("the name was resolved again, underneath the guard")

    async with endpoint() as (held, port), pushing(names) as client:
        monkeypatch.setattr(socket, "getaddrinfo", flipped)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", flipped)
        assert isinstance(await call(client, f"http://hook.test:{port}/"), Succeeded)
    assert [(OURS, f"hook.test:{port}")] == held.heard
    assert ["hook.test"] == names.asked


async def test_an_answer_that_flips_to_an_inner_address_is_refused(monkeypatch):
    """The next connection is checked again, however good the first was."""
    monkeypatch.setattr("workers.push.resolve.KEEP_SECONDS", 0)
    names = Names(hook_test=[[OURS], [INNER]])
    async with endpoint() as (held, port):
        async with pushing(names) as client:
            assert isinstance(await call(client, f"http://hook.test:{port}/"), Succeeded)
        async with pushing(names) as client:
            told = denied(await call(client, f"http://hook.test:{port}/x?token=s3cret"))
    assert [(OURS, f"hook.test:{port}")] == held.heard
    assert 1 == held.opened
    assert f"http://hook.test:{port}/x may not be called (loopback): hook.test, which is {INNER}," in told
    assert "TASKPOST_EGRESS_ALLOW=hook.test or TASKPOST_DEV=1" in told
    assert "s3cret" not in told


@pytest.mark.parametrize("answer", [[OURS, INNER], [INNER, OURS], [OURS, "::1"], [OURS, "::ffff:10.0.0.1"]])
async def test_every_address_of_a_host_must_be_allowed(answer):
    """One good address does not vouch for the others."""
    async with endpoint() as (held, port), pushing(Names(hook_test=[answer])) as client:
        denied(await call(client, f"http://hook.test:{port}/"))
    assert 0 == held.opened


@pytest.mark.parametrize("host", [INNER, "[::1]", "[::ffff:127.0.0.1]", "localhost", "metadata.google.internal"])
async def test_a_host_that_needs_no_name_server_is_refused_without_one(host):
    """Also when the submission was taken before the rules were tightened."""
    names = Names()
    async with endpoint() as (held, port), pushing(names, Egress()) as client:
        denied(await call(client, f"http://{host}:{port}/"))
    assert (0, []) == (held.opened, names.asked)


async def test_localhost_may_be_named_where_its_address_is_allowed():
    """An operator who allows 127.0.0.1 need not know how it is spelt."""
    names = Names(localhost=[[INNER]])
    async with endpoint() as (held, port), pushing(names, Egress(INNER)) as client:
        assert isinstance(await call(client, f"http://localhost:{port}/"), Succeeded)
    assert [(INNER, f"localhost:{port}")] == held.heard


async def test_our_own_redis_is_never_called(monkeypatch):
    """Not under another name, not where it has moved to, whatever is allowed; resolved when a call comes."""
    names = Names(cache_test=[[INNER]], hook_test=[[INNER]], moved_test=[[OURS]])
    async with endpoint() as (held, port):
        everything = Egress("*", dev=True, own=[("cache.test", port)])
        async with pushing(names, everything) as client:
            assert "(own-redis)" in denied(await call(client, f"http://cache.test:{port}/"))
            assert "(own-redis)" in denied(await call(client, f"http://hook.test:{port}/"))
            assert "(own-redis)" in denied(await call(client, f"http://{INNER}:{port}/"))
        async with pushing(names, Egress("*"), servers=lambda: {(OURS, port)}) as client:
            assert "(own-redis)" in denied(await call(client, f"http://moved.test:{port}/"))
    assert 0 == held.opened


async def test_a_call_waits_while_the_name_of_redis_does_not_resolve():
    """Nobody can tell then what is Redis; it is tried again."""
    egress = Egress(OURS, own=[("cache.test", 8080)])
    async with pushing(Names(hook_test=[[OURS]]), egress) as client:
        outcome = await call(client, "http://hook.test:8080/")
    assert isinstance(outcome, Failed)
    assert ("ResolveError", True) == (outcome.error["type"], outcome.retry)
    assert "cache.test" in outcome.error["message"]


async def test_a_name_that_cannot_be_resolved_now_is_tried_again():
    """And asked for again: a failure is not remembered."""
    names = Names()
    async with pushing(names) as client:
        for _ in range(2):
            outcome = await call(client, "http://hook.test/")
            assert isinstance(outcome, Failed)
            assert ("ResolveError", True) == (outcome.error["type"], outcome.retry)
            assert "the host name 'hook.test' does not resolve (Temporary failure" in outcome.error["message"]
            await asyncio.sleep(0)
    assert 2 == len(names.asked)


async def test_names_that_are_never_answered_hold_up_no_other(monkeypatch):
    """Nor do they take the threads on which the name of Redis is looked up."""
    slow, found = threading.Event(), [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (OURS, 0))]

    def looked_up(host: str, *_: Any) -> Any:
        if host.startswith("slow"):
            slow.wait(60)
        return found

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    waiting = [asyncio.create_task(look_up(f"slow{number}.test")) for number in range(40)]
    try:
        assert [OURS] == await look_up("fast.test")
        assert found == await asyncio.get_running_loop().getaddrinfo("redis.test", 6379)
    finally:
        slow.set()
        await asyncio.gather(*waiting)


async def test_a_name_without_addresses_does_not_resolve():
    """An empty answer is no permission."""
    async with pushing(Names(hook_test=[[]])) as client:
        outcome = await call(client, "http://hook.test/")
    assert isinstance(outcome, Failed)
    assert ("ResolveError", True) == (outcome.error["type"], outcome.retry)


async def test_many_calls_ask_the_name_server_once():
    """The guard costs a look-up for a host, not for a call."""
    names = Names(hook_test=[[OURS]])
    async with endpoint() as (held, port), pushing(names) as client:
        outcomes = await asyncio.gather(*(call(client, f"http://hook.test:{port}/") for _ in range(50)))
    assert all(isinstance(one, Succeeded) for one in outcomes)
    assert (50, ["hook.test"]) == (len(held.heard), names.asked)


async def test_a_namespace_never_gets_the_connection_of_another():
    """What one may call, its neighbour may not, though the connection is open."""
    egress = Egress(f"acme={OURS}")
    async with endpoint() as (held, port), pushing(Names(hook_test=[[OURS]]), egress) as client:
        assert isinstance(await call(client, f"http://hook.test:{port}/", "acme"), Succeeded)
        told = denied(await call(client, f"http://hook.test:{port}/"))
    assert 1 == len(held.heard)
    assert "(loopback)" in told


async def test_the_guard_stands_in_front_of_a_replaced_transport():
    """What can be told without resolving holds for mocked endpoints as well."""
    with respx.mock(using="httpx", assert_all_called=False) as router:
        route = router.route().mock(httpx.Response(200))
        client = PushClient(max_result_bytes=1000)
        assert isinstance(await call(client, "http://hook.test/"), Succeeded)
        denied(await call(client, "http://10.0.0.1/"))
        await client.aclose()
    assert 1 == route.call_count


def test_addresses_of_this_machine_are_known():
    """A Redis on this machine is reached by each of them."""
    for address in (INNER, "127.9.9.9", "::1", "0.0.0.0"):
        assert is_this_machine(address_of(address)), address
    assert not is_this_machine(address_of("192.0.2.1"))
