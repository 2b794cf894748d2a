"""The settings that say which queues a worker serves, and which goes first."""

from __future__ import annotations

import pytest

from service.errors import InvalidSetting
from service.served import Served, served
from service.settings import Settings


@pytest.mark.parametrize(
    ("queues", "order", "expected"),
    [
        ("", "weighted", Served()),
        ("one, two", "weighted", Served(("one", "two"))),
        ("high:5,low:1", "weighted", Served(("high", "low"), {"high": 5, "low": 1})),
        (" high : 5 ,low,", "weighted", Served(("high", "low"), {"high": 5, "low": 1})),
        ("b,a", "strict", Served(("b", "a"), {}, True)),
    ],
)
def test_queues_are_read_with_their_weights_and_order(queues: str, order: str, expected: Served) -> None:
    """A queue without a weight beside one that has some counts as 1; without any they take turns."""
    assert expected == served(queues, order)


@pytest.mark.parametrize(
    ("queues", "order", "said"),
    [
        ("high:0", "weighted", "TASKPOST_QUEUES=high:0: high:0 needs a whole number from 1 to 1000 as its weight"),
        ("high:", "weighted", "needs a whole number from 1 to 1000"),
        ("high:x", "weighted", "needs a whole number from 1 to 1000"),
        ("high:2.5", "weighted", "needs a whole number from 1 to 1000"),
        ("high:²", "weighted", "needs a whole number from 1 to 1000"),
        ("high:1001", "weighted", "needs a whole number from 1 to 1000"),
        ("my queue", "weighted", "'my queue' is no queue; needs 1 to 64 of A-Z a-z 0-9 . _ -"),
        (":5", "weighted", "'' is no queue"),
        ("a:1,b,a", "weighted", "names a twice"),
        ("a,b", "random", "TASKPOST_QUEUE_ORDER=random: needs weighted or strict"),
        ("", "strict", "TASKPOST_QUEUE_ORDER=strict: needs TASKPOST_QUEUES"),
        ("a:5,b", "strict", "needs TASKPOST_QUEUES without weights, and was given a:5,b"),
    ],
)
def test_what_cannot_be_served_is_refused_with_what_is_needed(queues: str, order: str, said: str) -> None:
    """At start, and not when the first task waits."""
    with pytest.raises(InvalidSetting) as caught:
        Settings.from_env({"TASKPOST_QUEUES": queues, "TASKPOST_QUEUE_ORDER": order})
    assert said in str(caught.value)
