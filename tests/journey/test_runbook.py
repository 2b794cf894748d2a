"""
docs/runbook.md: every symptom is brought about on a running system, and cured by exactly what its text says.

A symptom is a generator here: it makes the fault, yields what its reader sees and looks for, whereupon the blocks of
the section are run as they stand, and then claims that all is well. A section without one fails.
"""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

from tests import servers
from tests.journey.receiver import Receiver, receiver
from tests.pages import ROOT, SHOWN_ID, Block, Desk, blocks, unlike
from tests.parts import System, system
from tests.servers import Server, until

pytestmark = pytest.mark.full
PAGE = ROOT / "docs/runbook.md"
KEY = "the-key-of-these-pages"
DOCTOR = re.compile(r"^taskpost doctor$", re.MULTILINE)


@dataclass
class Ward:
    """A system that falls ill, and a reader of the page at a desk before it. *printed*: by the last block."""

    system: System
    server: Server
    desk: Desk
    receiver: Receiver
    printed: str = ""

    @property
    def folder(self) -> Path:
        return self.desk.folder

    def told(self, words: str) -> str:
        """What a line of shell prints."""
        return self.desk.entered(words)

    def asked(self, method: str, path: str, **body: Any) -> Any:
        """What the API answers, which is not refused."""
        answer = until(
            lambda: (found := self.system.api.request(method, f"/v1/{path}", json=body or None)).status_code != 503
            and found,
            f"an answer of {path}",
        )
        assert answer.status_code < 400, answer.text
        return answer.json() if answer.content else None

    def key(self, **of: Any) -> dict[str, str]:
        """Headers with a new API key."""
        return {"authorization": f"Bearer {self.asked('POST', 'keys', name='looker', **of)['key']}"}

    def submit(self, **submission: Any) -> Any:
        return self.system.api.post("/v1/tasks", json=submission)

    def taken(self, **submission: Any) -> str:
        """The id of a task that was taken in."""
        return str(self.asked("POST", "tasks", **submission)["id"])

    def ended(self, id_: str) -> str:
        return str(self.system.ended(id_)["state"])


@dataclass
class Seen:
    """What the reader of a section has before them: the id of a task, a worker, and what was answered or logged."""

    id: str = ""
    worker: str = ""
    printed: str = ""


Symptom = Callable[[Ward], Iterator[Seen]]
OF_TASKS: dict[str, Symptom] = {}
OF_WORKERS: dict[str, Symptom] = {}
OF_REDIS: dict[str, Symptom] = {}


def symptom(title: str, of: dict[str, Symptom] = OF_TASKS) -> Callable[[Symptom], Symptom]:
    def noted(make: Symptom) -> Symptom:
        of[title] = make
        return make

    return noted


# ---------------------------------------------------------------- the page


def sections() -> dict[str, list[Block]]:
    """The blocks of each section of the page."""
    lines = PAGE.read_text().splitlines()
    titles = {number: line[3:] for number, line in enumerate(lines, 1) if line.startswith("## ")}
    found: dict[str, list[Block]] = {title: [] for title in titles.values()}
    for block in blocks(PAGE):
        found[titles[max(number for number in titles if number < block.line)]].append(block)
    return found


def test_every_symptom_of_the_page_is_brought_about() -> None:
    """None is only written."""
    assert [*sections()] == [title for title in sections() if title in OF_TASKS | OF_WORKERS | OF_REDIS]


def cured(ward: Ward, title: str, make: Symptom) -> None:
    """Bring it about, do what the section says, and see that it is gone."""
    illness = make(ward)
    seen = next(illness)
    ward.printed, ward.desk.worker = seen.printed, seen.worker
    for block in sections()[title]:
        place = f"docs/runbook.md:{block.line}"
        if block.is_run:
            ward.printed = ward.told(f"id={seen.id}\n{ready(ward, block.text)}")
        elif block.word == "printed":
            assert [] == unlike(block.text, ward.printed), f"{place}: printed was\n{ward.printed}"
    assert next(illness, None) is None


def ready(ward: Ward, text: str) -> str:
    """A block as the desk can enter it; a doctor who finds something says so by its exit status."""
    text = SHOWN_ID.sub("$id", ward.desk.real(text)).replace("https://api.example.com", ward.receiver.url)
    return DOCTOR.sub("taskpost doctor || test $? = 1", text)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    config: dict[str, str] = {"appendonly": "yes", "maxmemory": "1gb"}
    with (
        servers.single("valkey", **config) as server,
        receiver() as endpoint,
        system(server.url, api_key=KEY) as running,
    ):
        running.api.headers["authorization"] = f"Bearer {KEY}"
        running.start_worker("workers.demo", queues="default,mail,callbacks")
        env = {"TASKPOST_API_KEY": KEY, "REDIS_URL": server.url, "TASKPOST_DEV": "1"}
        desk = Desk(tmp_path, running.url, "", **env)
        shutil.copy(Path(__file__).with_name("shop.py"), tmp_path)
        try:
            yield Ward(running, server, desk, endpoint)
        finally:
            desk.leave()


@pytest.mark.parametrize("symptoms", [OF_TASKS, OF_WORKERS, OF_REDIS], ids=["of tasks", "of workers", "of Redis"])
def test_each_symptom_is_cured_by_what_its_text_says(ward: Ward, symptoms: dict[str, Symptom]) -> None:
    """One after the other on one system, in the order of the page."""
    faults = []
    for title in sections():
        if title in symptoms:
            try:
                cured(ward, title, symptoms[title])
            except (AssertionError, TimeoutError, Empty) as exc:
                faults.append(f"{title}: {exc!r}")
    if faults:
        pytest.fail("\n\n".join(faults), pytrace=False)


# ---------------------------------------------------------------- tasks and workers


@symptom("Tasks wait, and nothing runs")
def paused(ward: Ward) -> Iterator[Seen]:
    ward.asked("POST", "queues/mail/pause", by="ada", reason="the provider is down")
    id_ = ward.taken(name="demo.add", args={"a": 1, "b": 2}, queue="mail")
    yield Seen(id_)
    assert "succeeded" == ward.ended(id_)


@symptom("422 `unknown-handler`")
def unknown(ward: Ward) -> Iterator[Seen]:
    refused = ward.submit(name="order:pack", args={})
    assert (422, "/problems/unknown-handler") == (refused.status_code, refused.json()["type"])
    yield Seen()
    assert "order:pack" in ward.printed
    assert 201 == ward.submit(name="order:pack", args={}).status_code


@symptom("A task waits for a handler that no worker has", OF_WORKERS)
def unserved(ward: Ward) -> Iterator[Seen]:
    ward.told("taskpost worker --handlers shop")  # which publishes it
    rolled_back(ward)
    id_ = ward.taken(name="order:pack", args={})
    yield Seen(id_)
    assert "succeeded" == ward.ended(id_)


def shop_of(ward: Ward) -> None:
    """A worker of the shop, if there is none."""
    if not any("order:pack" in worker["handlers"] for worker in ward.system.workers()):
        ward.told("taskpost worker --handlers shop")


def rolled_back(ward: Ward) -> None:
    """No worker has the handlers of the shop any more."""
    for worker in ward.system.workers():
        if "order:pack" in worker["handlers"]:
            ward.asked("POST", f"workers/{worker['id']}/stop")
    until(lambda: not [one for one in ward.system.workers() if "order:pack" in one["handlers"]], "an end of the shop")


@symptom("A worker ends right after its start, again and again", OF_WORKERS)
def unimportable(ward: Ward) -> Iterator[Seen]:
    rolled_back(ward)
    whole = (ward.folder / "shop.py").read_text()
    (ward.folder / "shop.py").write_text("import lamps\n")
    id_ = ward.taken(name="order:pack", args={})
    with pytest.raises(AssertionError) as failed:
        ward.told("taskpost worker --handlers shop")
    (ward.folder / "shop.py").write_text(whole)
    yield Seen(printed=str(failed.value))
    assert "succeeded" == ward.ended(id_)
    assert 1 == ward.system.ended(id_)["attempt"]


@symptom("A task fails as `worker_lost`", OF_WORKERS)
def lost(ward: Ward) -> Iterator[Seen]:
    (ward.folder / "deadly").write_text("always")
    id_ = ward.taken(name="order:die", args={}, max_crashes=0)
    assert "failed" == ward.ended(id_)
    assert "worker_lost" == ward.system.ended(id_)["error"]["type"]
    (ward.folder / "deadly").unlink()
    yield Seen(id_)
    [new] = re.findall(r"\b01[0-9A-Z]{24}\b", ward.printed.replace(id_, ""))
    assert "succeeded" == ward.ended(new)


@symptom("A task runs twice", OF_WORKERS)
def twice(ward: Ward) -> Iterator[Seen]:
    (ward.folder / "deadly").write_text("once")
    id_ = ward.taken(name="order:charge", args={})
    assert "succeeded" == ward.ended(id_)
    assert 1 == ward.system.ended(id_)["crashes"]
    assert 2 == len((ward.folder / "charged").read_text().splitlines())
    (ward.folder / "deadly").write_text("once")
    yield Seen(id_)
    assert "worker_lost" in ward.printed
    assert 3 == len((ward.folder / "charged").read_text().splitlines()), "it ran once"


@symptom("Tasks start late", OF_WORKERS)
def late(ward: Ward) -> Iterator[Seen]:
    rolled_back(ward)
    worker = alone(ward, "slow", "--concurrency 1")
    ids = [ward.taken(name="order:slow", args={"many": 3}) for _ in range(3)]
    until(lambda: "running" == ward.asked("GET", f"tasks/{ids[0]}")["state"], "the first to run")
    yield Seen(worker=worker)
    assert ["succeeded"] * 3 == [ward.ended(one) for one in ids]


@symptom("A task runs and does not end", OF_WORKERS)
def endless(ward: Ward) -> Iterator[Seen]:
    shop_of(ward)
    id_ = ward.taken(name="order:slow", args={"many": 1000})
    until(lambda: "running" == ward.asked("GET", f"tasks/{id_}")["state"], "that it runs")
    yield Seen(id_)
    assert "cancelled" == ward.ended(id_)


def alone(ward: Ward, queue: str, options: str) -> str:
    """A worker of the shop for one queue; its id."""
    before = {one["id"] for one in ward.system.workers()}
    ward.told(f"taskpost worker --handlers shop -Q {queue} {options}")
    [found] = until(lambda: {one["id"] for one in ward.system.workers()} - before, "a worker")
    return str(found)


@symptom("Calls of a URL fail at once, or wait")
def gone(ward: Ward) -> Iterator[Seen]:
    hook = f"{ward.receiver.url}/hook"
    ward.receiver.answers.append((410, b""))
    assert "failed" == ward.ended(ward.taken(url=hook))
    until(lambda: ward.submit(url=hook).status_code == 422, "a refusal")
    yield Seen()
    again = until(lambda: (found := ward.submit(url=hook)).status_code == 201 and found, "that it is taken in")
    assert "succeeded" == ward.ended(again.json()["id"])


@symptom("Callbacks do not arrive")
def silent(ward: Ward) -> Iterator[Seen]:
    ward.receiver.answers.extend([(404, b"no such path")] * 20)
    id_ = ward.taken(name="demo.add", args={"a": 1, "b": 2}, callback={"url": f"{ward.receiver.url}/done"})
    failed = "tasks?queue=callbacks&state=failed"
    callback, *_ = until(lambda: ward.asked("GET", failed)["items"], "a callback that failed")
    ward.receiver.answers.clear()
    while not ward.receiver.received.empty():
        ward.receiver.received.get()
    yield Seen(callback["id"])
    until(lambda: (found := ward.receiver.next())[0] == "/done" and id_ == found[2]["data"]["id"], "a callback")


@symptom("Thousands have failed, and the reason is mended")
def many(ward: Ward) -> Iterator[Seen]:
    shop_of(ward)
    (ward.folder / "broken").touch()
    ids = [ward.taken(name="order:pack", args={}) for _ in range(15)]
    assert {"failed"} == {ward.ended(one) for one in ids}
    (ward.folder / "broken").unlink()
    yield Seen()
    succeeded = "/v1/tasks?state=succeeded&name=order:pack&limit=200"
    until(lambda: 15 <= sum("replay_of" in one for one in ward.system.api.get(succeeded).json()["items"]), "15 replays")


@symptom("A schedule did not fire")
def unscheduled(ward: Ward) -> Iterator[Seen]:
    assert 0 == ward.system.scheduler.end()
    every_second = {"name": "nightly", "every_seconds": 1, "task": {"name": "demo.add", "args": {"a": 1, "b": 2}}}
    ward.asked("POST", "schedules", **every_second)
    yield Seen()
    runs = "/v1/schedules/nightly/runs"
    until(lambda: any(one.get("task_id") for one in ward.system.api.get(runs).json()["items"]), "a run")
    ward.asked("DELETE", "schedules/nightly")


@symptom("401 or 403")
def refused(ward: Ward) -> Iterator[Seen]:
    key, submission = ward.key(role="reader"), {"name": "demo.add", "args": {"a": 1, "b": 2}}
    forbidden = ward.system.api.post("/v1/tasks", json=submission, headers=key)
    assert (403, "tasks:write") == (forbidden.status_code, forbidden.json()["scope"])
    cut = {"authorization": key["authorization"][:-1]}
    assert 401 == ward.system.api.post("/v1/tasks", json=submission, headers=cut).status_code
    yield Seen()
    headers = {"authorization": f"Bearer {ward.printed.split()[-1]}"}
    assert 201 == ward.system.api.post("/v1/tasks", json=submission, headers=headers).status_code


@symptom("429")
def full(ward: Ward) -> Iterator[Seen]:
    ward.asked("POST", "queues/mail/pause")
    ward.asked("PATCH", "queues/mail", max_length=2)
    submission: dict[str, Any] = {"name": "demo.add", "args": {"a": 1, "b": 2}, "queue": "mail"}
    refused = until(lambda: (found := ward.submit(**submission)).status_code == 429 and found, "a full queue")
    assert "/problems/queue-full" == refused.json()["type"]
    slow = ward.key(role="operator", rate_limit={"requests": 1, "window_seconds": 3600})
    assert [200, 429] == [ward.system.api.get("/v1/queues", headers=slow).status_code for _ in range(2)]
    yield Seen()
    until(lambda: ward.submit(**submission).status_code == 201, "room in the queue")
    quick = {"authorization": f"Bearer {ward.printed.split()[-1]}"}
    assert [201, 201] == [ward.system.api.post("/v1/tasks", json=submission, headers=quick).status_code for _ in "ab"]


@symptom("The memory of a worker grows", OF_WORKERS)
def leaking(ward: Ward) -> Iterator[Seen]:
    rolled_back(ward)
    worker = alone(ward, "leaks", "--children 1")

    def processes() -> set[int]:
        ids = [ward.taken(name="order:leak", args={}) for _ in range(4)]
        return {ward.system.ended(one)["result"] for one in ids}

    assert 1 == len(processes()), "all in one process, which grows"
    yield Seen(worker=worker)
    until(lambda: not [one for one in ward.system.workers() if worker == one["id"]], "the end of the old worker")
    assert 1 < len(processes())


@symptom("Redis grows")
def stuffed(ward: Ward) -> Iterator[Seen]:
    shop_of(ward)
    ids = [ward.taken(name="order:export", args={}) for _ in range(15)]
    assert {"succeeded"} == {ward.ended(one) for one in ids}
    before = ward.server.admin.info("memory")["used_memory"]
    yield Seen()
    until(lambda: ward.server.admin.info("memory")["used_memory"] < before - 500_000, "less memory in use")


@symptom("Times do not fit")
def skewed(ward: Ward) -> Iterator[Seen]:
    ahead = "import time\nreal = time.time\ntime.time = lambda: real() + 60\n"
    (ward.folder / "sitecustomize.py").write_text(ahead)
    ward.desk.env["PYTHONPATH"] = f"{ward.folder}:{ROOT}"
    yield Seen()
    (ward.folder / "sitecustomize.py").unlink()  # what chronyc does
    assert "ms from Redis'" in ward.told("taskpost doctor || test $? = 1")


# ---------------------------------------------------------------- Redis


def refusal(ward: Ward, words: str) -> str:
    """What a submission is answered with 503, once *words* are in it; on a slow machine none in time may come first."""
    submission = {"name": "demo.add", "args": {"a": 1, "b": 2}}

    def refused() -> str:
        answer = ward.submit(**submission)
        detail = str(answer.json().get("detail"))
        return detail if answer.status_code == 503 and words in detail else ""

    return str(until(refused, f"a 503 that says {words}"))


def is_well(ward: Ward) -> None:
    """Tasks are taken in and done, by the processes that there were."""
    submission = {"name": "demo.add", "args": {"a": 1, "b": 2}}
    assert "succeeded" == ward.ended(ward.taken(**submission))


@symptom("503: Redis did not answer", OF_REDIS)
def down(ward: Ward) -> Iterator[Seen]:
    is_well(ward)
    ward.server.kill()
    detail = refusal(ward, "did not answer")
    assert 200 == ward.system.api.get("/livez").status_code
    ward.server.restart()
    until(ward.system.ready, "an API that is ready again")
    yield Seen(printed=detail)
    is_well(ward)


@symptom("503: Redis is full", OF_REDIS)
def brimful(ward: Ward) -> Iterator[Seen]:
    ward.server.admin.config_set("maxmemory", ward.server.admin.info("memory")["used_memory"] + 50_000)
    yield Seen(printed=refusal(ward, "Redis uses"))
    is_well(ward)


@symptom("503: Redis cannot write to its disk", OF_REDIS)
def unwritable(ward: Ward) -> Iterator[Seen]:
    process = ward.server._held()
    [file] = (ward.server.folder / "appendonlydir").glob("*.incr.aof")
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (file.stat().st_size + 200, hard))
    detail = refusal(ward, "cannot write")
    assert "append-only file failed" in ward.told("taskpost doctor || test $? = 1")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    is_well(ward)
    snapshot = ward.server.folder / "dump.rdb"
    snapshot.mkdir()  # nothing can take its place
    ward.server.admin.config_set("save", "3600 1")
    ward.server.admin.bgsave()
    until(lambda: "ok" != ward.server.admin.info("persistence")["rdb_last_bgsave_status"], "a snapshot that fails")
    assert detail == refusal(ward, "cannot write")
    assert "snapshot could not be written" in ward.told("taskpost doctor || test $? = 1")
    snapshot.rmdir()
    yield Seen(printed=detail)
    is_well(ward)
    ward.server.admin.config_set("save", "")


@symptom("503: Redis is a replica", OF_REDIS)
def demoted(ward: Ward) -> Iterator[Seen]:
    with servers.single("valkey", appendonly="yes") as other:
        other.admin.replicaof("127.0.0.1", str(ward.server.port))
        until(lambda: "up" == other.admin.info("replication").get("master_link_status"), "a replica that follows")
        other.admin.replicaof("NO", "ONE")
        ward.server.admin.replicaof("127.0.0.1", str(other.port))
        detail = refusal(ward, "is a replica")
        assert "a replica, which takes no writes" in ward.told("taskpost doctor || test $? = 1")
        yield Seen(printed=detail)
        is_well(ward)
