"""Handlers in child processes: real processes and real signals, without Redis."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.faults import child_handlers
from tests.workers.crews import DEADLINE_SECONDS, is_alive, noted, until
from workers.context import Context
from workers.outcome import Cancelled, Crashed, Failed, Succeeded

# ---------------------------------------------------------------- what handlers do


async def test_a_def_runs_in_a_process_of_its_own(hire):
    """Neither the tests' process nor the one that forks executors."""
    crew = hire(1)
    outcome = await crew.call("child.pid")
    assert isinstance(outcome, Succeeded)
    assert int(outcome.result_json) in crew.pool.pids
    assert os.getpid() not in crew.pool.pids


async def test_an_idle_executor_is_used_again(hire):
    """Nothing is forked for a second task."""
    crew = hire(4)
    assert await crew.call("child.pid") == await crew.call("child.pid")
    assert 1 == len(crew.pool.pids)


async def test_calls_run_beside_each_other_up_to_the_size(hire, tmp_path):
    """Two sleep at the same time, in two processes."""
    crew = hire(2)
    calls = [crew.start("child.sleep", seconds=600, started=str(tmp_path / name)) for name in "ab"]
    [one], [other] = await noted(tmp_path / "a"), await noted(tmp_path / "b")
    assert one != other
    assert (2, 0) == (crew.pool.busy, crew.pool.free)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await until(lambda: not is_alive(one) and not is_alive(other), "given up calls end with their processes")


async def test_progress_is_heard_in_order_and_the_context_is_whole(hire):
    """ctx.progress works as in the other lanes, and ctx.attempt says which attempt it is."""
    said: list[Any] = []
    ctx = Context(id="1" * 26, attempt=4, report_progress=lambda *what: said.append(what))
    assert Succeeded(b"4") == await hire(1).call("child.progress", steps=3, ctx=ctx)
    assert [(step, 3, f"step {step}") for step in (1, 2, 3)] == said


async def test_arguments_are_bound_in_the_child(hire):
    """A wrong argument fails for good, naming it."""
    outcome = await hire(1).call("child.sleep", seconds="long")
    assert isinstance(outcome, Failed)
    assert ("InvalidArguments", False) == (outcome.error["type"], outcome.retry)
    assert "/args/seconds" in outcome.error["message"]


async def test_sys_exit_fails_the_attempt_and_spares_the_executor(hire):
    """A library that thinks it owns the process ends no more than its task."""
    crew = hire(1)
    before = await crew.call("child.pid")
    outcome = await crew.call("child.sys_exit")
    assert isinstance(outcome, Failed)
    assert "SystemExit" == outcome.error["type"]
    assert before == await crew.call("child.pid")


async def test_a_handler_may_use_multiprocessing(hire):
    """Executors are no daemons: they may have children."""
    assert Succeeded(b"[1,2,3]") == await hire(1).call("child.multiprocessing", numbers=[-1, 2, -3])


async def test_a_large_result_and_large_arguments_arrive_whole(hire):
    """Larger than what a socket takes at once."""
    outcome = await hire(1).call("child.echo", text="x" * 1_000_000)
    assert isinstance(outcome, Succeeded)
    assert 1_000_002 == len(outcome.result_json)


# ---------------------------------------------------------------- limits


async def test_the_soft_limit_interrupts_a_loop_in_python(hire):
    """SoftTimeLimitExceeded is raised where the handler computes; it can tidy up and return."""
    assert Succeeded(b'"tidied up"') == await hire(1).call("child.soft", soft=0.05)


async def test_the_soft_limit_interrupts_a_sleep(hire):
    """Unhandled, it fails the attempt, with the line that was interrupted."""
    outcome = await hire(1).call("child.sleep", soft=1.0, seconds=600)  # by then it sleeps
    assert isinstance(outcome, Failed)
    assert "SoftTimeLimitExceeded" == outcome.error["type"]
    assert "time.sleep" in outcome.error["traceback"]


async def test_a_soft_limit_that_comes_too_late_leaves_the_next_call_alone(hire):
    """Its signal and its word may arrive when another task runs already."""
    crew = hire(1)
    for _ in range(200):
        await crew.call("child.nothing", soft=0.00001)
    assert isinstance(await crew.call("child.pid"), Succeeded)


async def test_the_hard_limit_ends_the_process(hire, tmp_path):
    """An endless loop ends, another process takes the next call."""
    crew = hire(1)
    outcome = await crew.call("child.spin", timeout=0.3, started=str(tmp_path / "pid"))
    assert isinstance(outcome, Failed)
    assert ("TimeLimitExceeded", True) == (outcome.error["type"], outcome.retry)
    stack = outcome.error["traceback"].splitlines()
    assert "Stack (most recent call last):" == stack[0]
    assert f'File "{child_handlers.__file__}"' in stack[1], "nothing of the worker's"
    assert stack[1].endswith("in spin")
    assert not is_alive((await noted(tmp_path / "pid"))[0])
    assert isinstance(await crew.call("child.pid"), Succeeded)


async def test_a_hang_in_c_with_signals_blocked_is_killed_after_the_grace(hire, tmp_path):
    """SIGTERM cannot reach it; SIGKILL does. Where it was is not known then."""
    outcome = await hire(1).call("child.deaf", timeout=0.3, started=str(tmp_path / "pid"))
    assert isinstance(outcome, Failed)
    assert ("TimeLimitExceeded", None) == (outcome.error["type"], outcome.error["traceback"])
    assert not is_alive((await noted(tmp_path / "pid"))[0])


async def test_a_regular_expression_that_never_ends_is_ended(hire):
    """It runs in C all the time; the error shows the line all the same."""
    outcome = await hire(1).call("child.regex", timeout=0.3)
    assert isinstance(outcome, Failed)
    assert "TimeLimitExceeded" == outcome.error["type"]
    assert "re.match(" in outcome.error["traceback"]


async def test_a_signal_of_somebody_elses_is_not_taken_for_where_a_handler_was_killed(hire, tmp_path):
    """Platforms send SIGTERM to all processes; what the stack was then says nothing of the limit that passes later."""
    crew = hire(1)
    call = crew.start("child.sleep", seconds=600, timeout=1.5, started=str(tmp_path / "pid"))
    [pid] = await noted(tmp_path / "pid")
    for _ in range(20):
        os.kill(pid, signal.SIGTERM)
    outcome = await call
    assert isinstance(outcome, Failed)
    assert 1 == outcome.error["traceback"].count("in sleep\n")


async def test_a_cancelled_handler_is_interrupted_and_may_clean_up(hire, tmp_path):
    """`finally` runs, the context says that it was cancelled, and the executor goes on to the next call."""
    crew = hire(1)
    ctx = Context(id="0" * 26)
    call = crew.start("child.cancelled", ctx=ctx, started=str(tmp_path / "pid"), ended=str(tmp_path / "ended"))
    [pid] = await noted(tmp_path / "pid")
    ctx.stop(Cancelled("asked for"))
    assert Cancelled("asked for") == await call
    assert "True" == (tmp_path / "ended").read_text()
    assert Succeeded(str(pid).encode()) == await crew.call("child.pid")


async def test_a_handler_that_refuses_to_be_cancelled_is_killed_after_the_grace(hire, tmp_path):
    """The attempt is cancelled only when it is true."""
    ctx = Context(id="0" * 26)
    call = hire(1).start("child.stubborn", ctx=ctx, started=str(tmp_path / "pid"))
    [pid] = await noted(tmp_path / "pid")
    ctx.stop(Cancelled("asked for"))
    assert Cancelled("asked for") == await call
    assert not is_alive(pid)


# ---------------------------------------------------------------- deaths


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        ("child.signal", {"number": int(signal.SIGKILL)}, "SIGKILL"),
        ("child.segfault", {}, "SIGSEGV"),
        ("child.exit", {"code": 3}, "exit code 3"),
        ("child.exit", {"code": 0}, "exit code 0"),
    ],
)
async def test_a_child_that_dies_costs_its_task_only(hire, tmp_path, name, args, said):
    """The outcome says how it died and how much memory it had; a call beside it goes on."""
    crew = hire(2)
    beside = crew.start("child.sleep", seconds=600, started=str(tmp_path / "pid"))
    [pid] = await noted(tmp_path / "pid")
    outcome = await crew.call(name, **args)
    assert isinstance(outcome, Crashed)
    assert said in outcome.reason
    assert "MiB" in outcome.reason
    assert is_alive(pid)
    assert not beside.done()
    assert isinstance(await crew.call("child.pid"), Succeeded)
    beside.cancel()


async def test_what_a_crashed_handler_started_is_killed_with_it(hire, tmp_path):
    """No orphans, though they ignore SIGTERM."""
    crew = hire(1)
    call = crew.start("child.offspring", many=3, noted=str(tmp_path / "pids"), seconds=600)
    offspring = await noted(tmp_path / "pids")
    os.kill(crew.pool.pids[0], signal.SIGKILL)
    assert isinstance(await call, Crashed)
    await until(lambda: not any(map(is_alive, offspring)), "its offspring is gone")


async def test_fifty_processes_that_outlive_a_hard_limit_are_killed(hire, tmp_path):
    """They get SIGTERM with their executor, and SIGKILL after the grace."""
    call = hire(1).start("child.offspring", timeout=5, many=50, noted=str(tmp_path / "pids"), seconds=600)
    offspring = await noted(tmp_path / "pids")
    assert isinstance(await call, Failed)
    assert 50 == len(offspring)
    await until(lambda: not any(map(is_alive, offspring)), "its offspring is gone")


async def test_what_a_handler_leaves_behind_lives_until_its_executor_ends(hire, tmp_path):
    """A process started for good reason is not killed behind the handler's back, and never outlives the worker."""
    crew = hire(1)
    await crew.call("child.offspring", many=2, noted=str(tmp_path / "pids"), seconds=0)
    offspring = await noted(tmp_path / "pids")
    await crew.call("child.pid")
    assert all(map(is_alive, offspring))
    await crew.pool.close(5)
    await until(lambda: not any(map(is_alive, offspring)), "its offspring is gone")


async def test_a_lost_nursery_ends_the_executors_and_is_told(hire, tmp_path):
    """The pool says that it is beyond help; nothing stays behind."""
    crew = hire(1)
    call = crew.start("child.sleep", seconds=600, started=str(tmp_path / "pid"))
    [pid] = await noted(tmp_path / "pid")
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(Exception, match="nursery"):
        await asyncio.wait_for(crew.pool.failed, DEADLINE_SECONDS)
    await until(lambda: not is_alive(pid), "the executor is gone")
    call.cancel()
    os.waitpid(parent, 0)


async def test_deaths_in_a_row_pause_the_next_fork_only(hire):
    """Room is taken away while it pauses, and given back; what lives is not held up."""
    crew = hire(1, backoff_seconds=0.05)
    freed = asyncio.Event()
    crew.pool.on_free = freed.set
    for _ in range(4):
        assert isinstance(await crew.call("child.exit", code=1), Crashed)
    await until(lambda: crew.pool.free == 1, "there is room again")
    assert freed.is_set()
    assert isinstance(await crew.call("child.pid"), Succeeded)


@pytest.mark.full
async def test_a_thousand_crashes_in_a_row_leak_nothing(hire):
    """No process, no descriptor, no memory of them."""
    crew = hire(2, backoff_seconds=0)
    for _ in range(20):
        await crew.call("child.exit", code=1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(1000):
        assert isinstance(await crew.call("child.exit", code=1), Crashed)
    await until(lambda: not crew.pool.pids, "all are buried")
    assert before >= len(list(Path("/proc/self/fd").iterdir()))
    assert isinstance(await crew.call("child.pid"), Succeeded)
    assert 1 == len(crew.pool.brood.lines)


# ---------------------------------------------------------------- recycling


async def test_an_executor_is_replaced_after_its_tasks_and_the_next_is_ready_before(hire):
    """No task is held up by it; each process runs two."""
    crew = hire(1, max_tasks=2)
    pids = [outcome.result_json for outcome in [await crew.call("child.pid") for _ in range(6)]]
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] == pids[5]


async def test_an_executor_with_too_much_memory_is_replaced(hire):
    """After its task, which still succeeds."""
    # What this process of tests has used counts for the executor, too, which is its copy.
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    crew = hire(1, max_memory_mb=ours + 200)
    first = await crew.call("child.pid")
    assert first == await crew.call("child.memory", mib=1)
    assert first == await crew.call("child.memory", mib=ours + 300)
    assert first != await crew.call("child.pid")
    await until(lambda: len(crew.pool.pids) == 1, "the old one is gone")


async def test_a_smaller_pool_lets_idle_executors_go(hire):
    """And a larger one takes more calls at once."""
    crew = hire(3)
    await asyncio.gather(*(crew.call("child.sleep", seconds=0.1) for _ in range(3)))
    crew.pool.resize(1)
    await until(lambda: len(crew.pool.pids) == 1, "two have gone")
    assert 1 == crew.pool.free
    crew.pool.resize(2)
    assert 2 == crew.pool.free


async def test_no_call_waits_for_a_pool_that_has_no_place_left(hire):
    """What has not begun goes back to its queue, what has begun ends; and the pool can be larger again."""
    crew = hire(2)
    calls = [asyncio.create_task(crew.call("child.nothing")) for _ in range(2)]
    await asyncio.sleep(0)  # they wait for executors that are being forked
    crew.pool.resize(0)
    assert {type(one) for one in await asyncio.gather(*calls)} <= {Succeeded, Cancelled}
    await until(lambda: not crew.pool.pids, "the executors have gone")
    crew.pool.resize(1)
    assert isinstance(await crew.call("child.nothing"), Succeeded)
