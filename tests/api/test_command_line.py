"""The command line against a live API: what is printed, where, and with which exit status."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service import cli
from service.client import Taskpost
from service.signing import Signer
from tests.running import taskpost

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost(api_key="s3cret") as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)
    monkeypatch.setenv("TASKPOST_API_KEY", "s3cret")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        return status, *capsys.readouterr()

    return run


def test_a_submission_that_waits_shows_its_result(run: Run) -> None:
    """Exit status 0, everything on standard output."""
    status, out, err = run("submit", "demo.add", "a=2", "b=3", "--wait")
    assert (0, "") == (status, err)
    assert "✓ succeeded" in out.splitlines()[0]
    assert out.splitlines()[-1].split() == ["result", "5"]


def test_scripts_get_the_id_the_result_or_json(run: Run) -> None:
    """--quiet and --json print nothing else."""
    _, id_, _ = run("submit", "demo.add", "a=2", "b=3", "--quiet")
    assert (0, "5\n", "") == run("wait", id_.strip(), "--quiet")
    _, out, _ = run("get", id_.strip(), "--json")
    assert (id_.strip(), 5) == (json.loads(out)["id"], json.loads(out)["result"])


def test_attempts_show_how_each_went_and_what_it_logged(run: Run) -> None:
    """Oldest first; as JSON an attempt a line. One that has not been tried yet has none."""
    _, id_, _ = run("submit", "demo.flaky", "fail_times=1", "--retries", "1", "--backoff", "0", "--quiet")
    run("wait", id_.strip())
    status, out, err = run("attempts", id_.strip())
    assert (0, "") == (status, err)
    first, second = out.split("\n\n")
    assert first.startswith("↻ retried  attempt 1\n")
    assert "RuntimeError: attempt 1 fails" in first
    assert "info      attempt 1; 1 are to fail" in first
    assert second.startswith("✓ succeeded  attempt 2\n")
    rows = [json.loads(line) for line in run("attempts", id_.strip(), "--json")[1].splitlines()]
    assert ["attempt 1; 1 are to fail", "attempt 2; 1 are to fail"] == [row["log"][0]["message"] for row in rows]
    _, later, _ = run("submit", "demo.add", "a=1", "b=2", "--delay", "1h", "--quiet")
    assert (0, "", f"task {later.strip()} has not been tried yet\n") == run("attempts", later.strip())
    assert 2 == run("attempts", "nobody")[0]


def test_exit_statuses_tell_the_ends_apart(run: Run) -> None:
    """0 succeeded, 1 ended otherwise, 124 not ended in time, 2 anything else."""
    assert 1 == run("submit", "demo.flaky", "fail_times=9", "--retries", "0", "--wait")[0]
    status, out, err = run("submit", "demo.sleep", "seconds=600", "--wait", "0.1", "--json")
    assert 124 == status
    assert "after 0.1 s of waiting" in err
    id_ = json.loads(out)["id"]
    assert 124 == run("wait", id_, "--timeout", "0.1")[0]
    assert 0 == run("cancel", id_)[0]
    assert 1 == run("wait", id_)[0]
    assert 0 == run("delete", id_)[0]
    assert 2 == run("get", id_)[0]


def test_a_waiting_task_is_put_off_and_run_now(run: Run) -> None:
    """Each says how the task stands then."""
    id_ = run("submit", "demo.add", "a=1", "b=2", "--delay", "1h", "--quiet")[1].strip()
    status, out, _ = run("reschedule", id_, "--delay", "2h", "--priority", "9")
    assert (0, True) == (status, out.startswith(f"○ scheduled  {id_}  priority 9  due "))
    status, out, _ = run("run", id_, "--json")
    assert (0, True) == (status, json.loads(out)["state"] != "scheduled")
    assert 0 == run("wait", id_)[0]
    assert 2 == run("run", id_)[0]


def test_each_fault_has_a_line(run: Run) -> None:
    """A sentence, then every fault; nothing on standard output."""
    status, out, err = run("submit", "demo.add", "a=one", "b=two")
    assert (2, "") == (status, out)
    assert [True, True] == [any(f"  /args/{name}: " in line for line in err.splitlines()) for name in "ab"]
    assert err.startswith("taskpost submit: ")
    assert "Traceback" not in err


def test_a_wrong_key_and_nobody_there_are_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it."""
    monkeypatch.setenv("TASKPOST_API_KEY", "wrong")
    assert "TASKPOST_API_KEY" in run("queues")[2]
    status, _, err = run("queues", "--api", "http://127.0.0.1:1")
    assert 2 == status
    assert "nobody answers at http://127.0.0.1:1" in err
    assert "taskpost up" in err


def test_lists_are_tables_or_lines_of_json(run: Run) -> None:
    """Filtered and limited; that there are more is said beside the answer."""
    for number in range(3):
        run("submit", "demo.add", f"a={number}", "b=1", "--tag", "mine", "--wait")
    status, out, err = run("list", "--tag", "mine", "--limit", "2")
    assert (0, 3) == (status, len(out.splitlines()))
    assert "There are more" in err
    _, out, err = run("list", "--tag", "mine", "--all", "--json")
    assert [2, 1, 0] == [json.loads(line)["args"]["a"] for line in out.splitlines()]
    assert (0, "", "no tasks match\n") == run("list", "--tag", "nobody's")


@pytest.mark.parametrize(
    ("command", "word"), [("queues", "default"), ("workers", "async"), ("handlers", "demo.add(a: int")]
)
def test_the_other_lists_are_tables_too(run: Run, command: str, word: str) -> None:
    status, out, _ = run(command)
    assert 0 == status
    assert word in out
    assert json.loads(run(command, "--json")[1].splitlines()[0])


def test_a_worker_is_shown_and_told_what_to_do(run: Run) -> None:
    """By its id, or a part of it."""
    id_ = json.loads(run("workers", "--json")[1])["id"]
    status, out, _ = run("workers", "show", id_[-6:])
    assert 0 == status
    assert id_ in out.splitlines()[0]
    assert "PROCESS  STATE" in out
    assert id_ == json.loads(run("workers", "show", id_, "--json")[1])["id"]
    assert (0, f"told to be quiet  {id_}\n", "") == run("workers", "quiet", id_)
    assert (0, f"told to resume  {id_}\n", "") == run("workers", "resume", id_)
    wanted = ("--threads", "7", "--url-concurrency", "9")
    assert (0, f"told to resize: threads 7, url concurrency 9  {id_}\n", "") == run("workers", "resize", id_, *wanted)
    told = json.loads(run("workers", "resize", id_, "--threads", "8", "--json")[1])
    assert "resize" == told["command"]
    deadline = time.monotonic() + 30
    while "told to resize: threads 8 (" not in (out := run("workers", "show", id_)[1]):
        assert time.monotonic() < deadline, out


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        (("show",), "which worker?"),
        (("stop", "nobody", "--drain", "5m"), 'there is no live worker "nobody"'),
        (("quiet", "nobody", "--drain", "5m"), "--drain goes with stop"),
        (("stop", "nobody", "--threads", "5"), "--threads goes with resize"),
        (("resize", "nobody"), "Give at least one of --processes"),
        (("resize", "nobody", "--children", "5000"), "/children: 5000 is greater than the maximum of 1000"),
    ],
)
def test_what_workers_cannot_be_told_is_explained(run: Run, given: tuple[str, ...], needs: str) -> None:
    """With the way to say it."""
    status, out, err = run("workers", *given)
    assert (2, "") == (status, out)
    assert needs in err


def test_progress_is_drawn_for_people_and_gone_at_the_end(url: str) -> None:
    """On a terminal a bar moves while waiting; what is left is the answer."""
    with Taskpost(url, "s3cret") as api:
        task = api.submit("demo.progress", {"steps": 12})
    leader, follower = pty.openpty()
    env = os.environ | {"TASKPOST_URL": url, "TASKPOST_API_KEY": "s3cret", "TERM": "xterm", "PYTHONUTF8": "1"}
    command = [sys.executable, "-m", "service.cli", "wait", task.id]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=follower, stderr=follower, stdin=follower) as waiting:
        os.close(follower)
        shown = b""
        try:
            while part := os.read(leader, 4096):
                shown += part
        except OSError:  # the other side is closed
            pass
        os.close(leader)
        assert 0 == waiting.wait(60)
    bars, _, answer = shown.decode().rpartition("\033[K")
    assert " of 12" in bars
    assert "█" in bars
    assert "succeeded" in answer
    assert "█" not in answer


def test_a_script_gets_the_secret_of_its_receiver(run: Run, tmp_path: Path) -> None:
    """Alone on standard output; the list masks it; rotated, the new one."""
    status, secret, err = run("secrets", "show")
    assert (0, True, "") == (status, secret.startswith("whsec_"), err)
    assert run("secrets", "show", "--public")[1].startswith("whpk_")
    assert secret.strip() not in run("secrets")[1]
    status, new, note = run("secrets", "rotate", "--overlap", "1h")
    assert (0, True) == (status, new.startswith("whsec_") and new != secret)
    assert "signs along and ends in 1 h" in note or "ends in 59 min" in note
    assert 2 == len(run("secrets", "--json")[1].splitlines())
    assert 2 == run("secrets", "--overlap", "1h")[0]
    assert 2 == run("secrets", "rotate", "--public")[0]


def test_a_request_is_checked_with_the_secrets_of_the_api(run: Run, tmp_path: Path) -> None:
    """Nothing need be copied to try a receiver."""
    secret, now = run("secrets", "show")[1].strip(), int(time.time())
    body = tmp_path / "body"
    body.write_bytes(b"{}")
    signed = Signer([secret]).sign("a", now, b"{}")
    given = ("-H", "webhook-id: a", "-H", f"webhook-timestamp: {now}", "-H", f"webhook-signature: {signed}")
    assert (0, "valid: task a\n", "") == run("verify", str(body), *given)
    body.write_bytes(b"[]")
    assert 1 == run("verify", str(body), *given)[0]


def test_credentials_are_set_shown_and_removed(run: Run, tmp_path: Path) -> None:
    """From files, for an endpoint that a URL names; their secrets are not printed."""
    (tmp_path / "token").write_text("t0ken-of-42\n")
    where = "https://API.example.com/hook?a=b"
    status, out, err = run("credentials", "set", where, "kind=bearer", f"token=@{tmp_path / 'token'}")
    assert (0, "") == (status, err)
    assert [["endpoint", "https:api.example.com"], ["kind", "bearer"], ["token", "…"]] == [
        line.split() for line in out.splitlines()
    ]
    headers = 'headers={"X-Api-Key": "s3cret-of-42"}'
    assert 0 == run("credentials", "set", "https:api.example.com", "kind=headers", headers)[0]
    shown = json.loads(run("credentials", "show", where, "--json")[1])
    assert {"kind": "headers", "headers": {"X-Api-Key": "…"}} == shown
    assert (0, "removed  https:api.example.com\n", "") == run("credentials", "remove", where)
    assert 2 == run("credentials", "show", where)[0]


def test_credentials_with_faults_are_refused_without_quoting_them(run: Run) -> None:
    """A sentence each, exit status 2; a secret in a slip stays on the command line."""
    for words, said in (
        (("kind=bearer", "s3cret-of-42"), "needs field=value"),
        (("kind=bearer", "tokn=s3cret-of-42"), 'did you mean "token"?'),
        (("kind=headers", "headers=s3cret-of-42"), "is not JSON"),
        (("kind=basic", "password=s3cret-of-42\u00e4"), "/password: is not what the contract says"),
        ((), "set needs kind="),
    ):
        status, out, err = run("credentials", "set", "https:a.example", *words)
        assert (2, "", True) == (status, out, said in err), err
        assert "s3cret-of-42" not in err
    assert 2 == run("credentials", "show", "https:a.example", "kind=basic")[0]
