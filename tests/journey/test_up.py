"""`taskpost up` as its user meets it: ready, a pasted curl, lines as tasks move, an orderly end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from service.client import AsyncTaskpost
from service.ports import free_port
from tests.servers import until

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 90


class Running:
    """One run of the command, and what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def line(self, wanted: Callable[[str], bool]) -> str:
        """The next line that is wanted; fails with everything printed when there is none."""
        assert self.process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                async for line in self.process.stdout:
                    self.lines.append(line.decode().rstrip())
                    if wanted(self.lines[-1]):
                        return self.lines[-1]
        except TimeoutError:
            pass
        pytest.fail("not printed; what was:\n" + "\n".join(self.lines))

    async def end(self, sent: signal.Signals) -> int:
        self.process.send_signal(sent)
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()


async def start_up(tmp_path: Path, *options: str, folder: Path = ROOT) -> Running:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "service.cli", "up", "--data", str(tmp_path / "data"), *options),
        cwd=folder,
        env=env | {"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return Running(process)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    up = await start_up(tmp_path, "--port", str(free_port("127.0.0.1")))
    try:
        await up.line(lambda line: line.startswith("Taskpost") and line.endswith("is ready."))
        yield up
    finally:
        if up.process.returncode is None:
            up.process.kill()
            await up.process.wait()


async def test_the_printed_curl_runs_a_task_that_is_seen_moving(running: Running) -> None:
    """Started, pasted, answered with the result; and a line says that it succeeded."""
    curl = (await running.line(lambda line: "curl -s" in line)).strip()
    assert any("demo.add(a: int, b: int)" in line for line in running.lines)
    pasted = await asyncio.create_subprocess_shell(curl, stdout=asyncio.subprocess.PIPE)
    answer, _ = await asyncio.wait_for(pasted.communicate(), DEADLINE_SECONDS)
    task = json.loads(answer)
    assert (task["state"], task["result"]) == ("succeeded", 5)
    line = await running.line(lambda line: task["id"] in line and "succeeded" in line)
    assert "demo.add" in line
    assert "attempt 1" in line
    here = curl.partition("/v1/")[0].rpartition(" ")[2]
    with urllib.request.urlopen(f"{here}/.well-known/openid-configuration", timeout=DEADLINE_SECONDS) as told:
        assert here == json.load(told)["issuer"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_in_order_and_leaves_nothing_running(running: Running, sent: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: status 0, the last line says so, and no process of it is left."""
    group = children_of(running.process.pid)
    assert len(group) == 4  # the server, the API, the worker, the scheduler
    assert await running.end(sent) == 0
    await running.line(lambda line: line == "Stopped.")
    until(lambda: not [pid for pid in group if Path(f"/proc/{pid}").exists()], "every part has ended")


async def test_a_second_one_on_the_same_data_is_refused(running: Running, tmp_path: Path) -> None:
    """Told who has the folder and what to do; the first goes on."""
    second = await start_up(tmp_path, "--port", str(free_port("127.0.0.1")))
    assert "--data" in await second.line(lambda line: "is in use by another" in line)
    assert await second.process.wait() == 1
    assert running.process.returncode is None


async def test_a_worker_that_dies_is_started_again(running: Running) -> None:
    """A SIGKILL of the worker is said on the terminal, and tasks run again without anybody's help."""
    curl = (await running.line(lambda line: "curl -s" in line)).strip()
    os.kill(next(pid for pid in children_of(running.process.pid) if "workers" in words_of(pid)), signal.SIGKILL)
    await running.line(lambda line: line.startswith("worker") and "unexpectedly (SIGKILL)" in line)
    pasted = await asyncio.create_subprocess_shell(curl, stdout=asyncio.subprocess.PIPE)
    answer, _ = await asyncio.wait_for(pasted.communicate(), DEADLINE_SECONDS)
    task = json.loads(answer)
    await running.line(lambda line: task["id"] in line and "succeeded" in line)


async def test_a_wrong_handlers_module_ends_it_with_the_reason(tmp_path: Path) -> None:
    """The worker's own words are shown, and `up` does not wait for what cannot come."""
    up = await start_up(tmp_path, "--port", str(free_port("127.0.0.1")), "--handlers", "no_such_module")
    assert "no_such_module" in await up.line(lambda line: line.startswith("worker") and "no_such_module" in line)
    await up.line(lambda line: line.startswith("taskpost up: worker ended before it was ready"))
    assert await up.process.wait() == 1


async def test_with_reload_a_saved_change_counts_for_the_next_task(tmp_path: Path) -> None:
    """What happens is said on the terminal; code that cannot be loaded is, too, and changes nothing."""
    code = "from workers import task\n\n@task('say')\nasync def say() -> str:\n    return 'old'\n"
    module = tmp_path / "words.py"
    module.write_text(code)
    port = free_port("127.0.0.1")
    up = await start_up(tmp_path, "--port", str(port), "--handlers", "words", "--reload", folder=tmp_path)
    client = AsyncTaskpost(f"http://127.0.0.1:{port}")
    try:
        await up.line(lambda line: line.startswith("Taskpost") and line.endswith("is ready."))
        assert "old" == (await client.submit(name="say", wait=10)).result
        module.write_text(code.replace("'old'", "'new'"))
        await up.line(lambda line: line.startswith("worker") and "reload: done" in line)
        assert any("reload: words.py changed" in line for line in up.lines)
        assert "new" == (await client.submit(name="say", wait=10)).result
        module.write_text(code.replace("'old'", "'"))
        await up.line(lambda line: line.startswith("worker") and "the code from before goes on" in line)
        assert any("SyntaxError" in line for line in up.lines)
        assert "new" == (await client.submit(name="say", wait=10)).result
        assert await up.end(signal.SIGTERM) == 0
    finally:
        await client.close()
        if up.process.returncode is None:
            up.process.kill()
            await up.process.wait()
        print("\n".join(up.lines))


async def test_a_handler_submits_to_the_api_that_runs_it(tmp_path: Path) -> None:
    """Whatever the port: nobody has to tell the worker of `up` where its API is."""
    (tmp_path / "parts.py").write_text(
        "from workers import Context, task\n\n"
        "@task('part')\nasync def part() -> int:\n    return 17\n\n"
        "@task('whole')\nasync def whole(ctx: Context) -> int:\n    return await (await ctx.submit(part)).get(30)\n"
    )
    port = free_port("127.0.0.1")
    up = await start_up(tmp_path, "--port", str(port), "--handlers", "parts", folder=tmp_path)
    client = AsyncTaskpost(f"http://127.0.0.1:{port}")
    try:
        await up.line(lambda line: line.startswith("Taskpost") and line.endswith("is ready."))
        whole = await client.submit(name="whole", wait=25)
        assert 17 == whole.result
        assert ["part"] == [one.name async for one in client.list(parent=whole.id)]
        assert await up.end(signal.SIGTERM) == 0
    finally:
        await client.close()
        if up.process.returncode is None:
            up.process.kill()
            await up.process.wait()
        print("\n".join(up.lines))


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def words_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
