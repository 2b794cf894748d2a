"""What one lease call brings when several lanes have work: bounded altogether, and nothing is left in silence."""

from __future__ import annotations

from service.store import Store
from tests.store.acting import Worker, new
from tests.store.deployments import Deployment

ALL = [("default", "url", 100), ("default", "async", 100), ("default", "thread", 100)]


async def test_a_call_brings_128_tasks_from_all_lanes_together(store: Store, worker: Worker) -> None:
    """However many slots a worker has, a call holds Redis for a moment only."""
    for lane in ("url", "async"):
        await store.tasks.submit_call(0, [new(lane=lane) for _ in range(100)])
    stepped = await worker.step(0, wants=ALL)
    assert 128 == len(stepped.leased)
    assert stepped.is_work_left


async def test_a_lane_that_a_full_call_did_not_reach_wakes_another_worker(
    store: Store, worker: Worker, deployment: Deployment
) -> None:
    """Work that is left behind is announced, also when it was not looked at."""
    for lane, many in (("url", 100), ("async", 100), ("thread", 1)):
        await store.tasks.submit_call(0, [new(lane=lane) for _ in range(many)])
    node, marker = deployment.node(0), "tp:{0}:wake:default:t"
    node.delete(marker)
    await worker.step(0, wants=ALL)
    assert 1 == node.zcard(marker)
