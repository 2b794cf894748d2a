"""Who goes first among queues: against a model of `step`, which fills a lane in the order of the wants."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.served import served
from workers.turns import ByWeight, Turns, turns_of

ENDLESS = 10**9


def call(turns: Turns, waiting: dict[str, int], room: int, number: int = 0, most: int = 128) -> Counter[str]:
    """What one call brings of what is *waiting* by queue, as step.lua gives it out; *most* cuts it short."""
    taken: Counter[str] = Counter()
    left, is_cut = room, False
    for queue, _, many in turns.wants(list(waiting), {"async": room}, number):
        part = min(many, left, waiting[queue], most - taken.total())
        is_cut |= part < min(many, left, waiting[queue])
        taken[queue] += part
        waiting[queue] -= part
        left -= part
    leased: Any = [
        SimpleNamespace(lane="async", namespace="default", queue=queue, is_suspect=False) for queue in taken.elements()
    ]
    turns.hear(leased, is_cut_short=is_cut)
    return taken


@pytest.mark.parametrize("room", [1, 3, 6, 100])
@pytest.mark.parametrize("most", [7, 128])
def test_while_all_have_work_each_gets_its_part(room: int, most: int) -> None:
    """Five to one, whether a call brings one task or a hundred, also when records are large and calls end early."""
    turns = turns_of(served("high:5,low:1", "weighted"))
    waiting = {"high": ENDLESS, "low": ENDLESS}
    total: Counter[str] = Counter()
    for _ in range(600):
        total += call(turns, waiting, room, most=most)
    assert abs(total["high"] - 5 * total["low"]) <= 5 * max(room, 6), total


def test_tasks_of_both_come_within_one_round() -> None:
    """Not five hundred of one and then a hundred of the other."""
    turns = turns_of(served("high:5,low:1", "weighted"))
    waiting = {"high": ENDLESS, "low": ENDLESS}
    order = "".join(next(iter(call(turns, waiting, 1)))[0] for _ in range(60))
    assert {5} == {len(run) for run in order.split("l")[1:-1]}, order


def test_the_share_of_an_empty_queue_goes_to_the_others_in_the_same_call() -> None:
    """No slot stays free for a queue that has nothing."""
    turns = turns_of(served("a:8,b:1,c:1", "weighted"))
    waiting = {"a": 0, "b": ENDLESS, "c": ENDLESS}
    total: Counter[str] = Counter()
    for _ in range(50):
        taken = call(turns, waiting, 10)
        assert 10 == taken.total()
        total += taken
    assert abs(total["b"] - total["c"]) <= 10, total


def test_a_queue_that_was_empty_saves_nothing_up() -> None:
    """When its work comes, it gets its part from then on, not all that it never asked for."""
    turns = turns_of(served("high:5,low:1", "weighted"))
    waiting = {"high": 0, "low": ENDLESS}
    for _ in range(1000):
        call(turns, waiting, 1)
    waiting["high"] = ENDLESS
    assert 50 == pytest.approx(sum((call(turns, waiting, 1) for _ in range(60)), Counter())["high"], abs=5)
    waiting["low"] = 0
    for _ in range(1000):
        call(turns, waiting, 1)
    waiting["low"] = ENDLESS
    assert 10 == pytest.approx(sum((call(turns, waiting, 1) for _ in range(60)), Counter())["low"], abs=2)


def test_a_single_task_of_a_quiet_queue_does_not_wait_for_a_round() -> None:
    """A queue below its part is served at once."""
    turns = turns_of(served("high:100,low:1", "weighted"))
    waiting = {"high": ENDLESS, "low": 0}
    for _ in range(30):
        call(turns, waiting, 4)
    waiting["low"] = 1
    assert 1 == call(turns, waiting, 4)["low"]


def test_each_lane_is_shared_by_itself() -> None:
    """What one queue takes of the threads costs it nothing of the loop."""
    turns = ByWeight({"high": 5, "low": 1})
    for number in range(12):
        turns.wants(["high", "low"], {"thread": 1}, number)
        task: Any = SimpleNamespace(lane="thread", namespace="default", queue="high", is_suspect=False)
        turns.hear([task], is_cut_short=False)
    assert ("low", "thread", 1) == turns.wants(["high", "low"], {"thread": 1}, 0)[0]
    turns.wants(["high", "low"], {"async": 6}, 0)
    assert (6, {"high": 5, "low": 1}) == turns.asked["async"]


@given(
    weights=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    rooms=st.lists(st.integers(1, 40), min_size=60, max_size=60),
    bursts=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 50)), min_size=60, max_size=60),
)
def test_whatever_comes_no_slot_stays_free_and_no_queue_starves(
    weights: list[int], rooms: list[int], bursts: list[tuple[int, int]]
) -> None:
    """Random work in random queues: a call brings all it has room for, and whoever has work is served in a round."""
    names = [f"q{n}" for n in range(len(weights))]
    setting = ",".join(f"{name}:{weight}" for name, weight in zip(names, weights, strict=True))
    turns = turns_of(served(setting, "weighted"))
    waiting = dict.fromkeys(names, 0)
    passed_over: Counter[str] = Counter()
    for room, (queue, many) in zip(rooms, bursts, strict=True):
        waiting[names[queue % len(names)]] += many
        had = dict(waiting)
        taken = call(turns, waiting, room)
        assert min(room, sum(had.values())) == taken.total()
        for name in names:
            passed_over[name] = passed_over[name] + taken.total() if had[name] and not taken[name] else 0
            assert passed_over[name] <= 2 * (sum(weights) + max(rooms)) * max(weights)


def test_in_strict_order_the_first_queue_is_always_first() -> None:
    """The next one gets the slots that it leaves free."""
    turns = turns_of(served("a,b", "strict"))
    waiting = {"a": 25, "b": ENDLESS}
    assert [{"a": 10}, {"a": 10}, {"a": 5, "b": 5}, {"b": 10}] == [dict(+call(turns, waiting, 10, n)) for n in range(4)]


def test_without_weights_queues_take_turns() -> None:
    """Each comes first in its call."""
    turns = turns_of(served("a,b", "weighted"))
    waiting = {"a": ENDLESS, "b": ENDLESS}
    assert [{"a": 9}, {"b": 9}, {"a": 9}] == [dict(+call(turns, waiting, 9, n)) for n in range(3)]
