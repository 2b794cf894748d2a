"""Records: whatever is submitted comes back as it was."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from service.task import pack_header, pack_submission, parse_record, unpack_submission
from service.ties import NO_TIES, Ties

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.dictionaries(st.sampled_from(["name", "args", "url", "tags", "metadata"]), VALUES, max_size=4)


@given(FIELDS | st.fixed_dictionaries({"name": st.text(max_size=20), "args": VALUES}))
def test_a_packed_submission_is_read_as_it_was_written(submission: dict[str, Any]) -> None:
    """Whatever its fields, their order and what is in them."""
    packed = pack_submission(submission)
    assert submission == unpack_submission(packed)
    assert list(submission) == list(unpack_submission(packed))
    assert b"\n" not in packed
    assert len(packed) <= len(orjson.dumps(submission))


@given(FIELDS, VALUES)
def test_a_record_with_its_outcome_is_taken_apart(submission: dict[str, Any], result: Any) -> None:
    """Header, submission and outcome stand in one value."""
    header = pack_header(state=b"S", priority=9, lane="pull", time_ms=2**48 - 1, max_crashes=100, queue="shop/mail")
    record = parse_record(header + pack_submission(submission) + b"\n" + orjson.dumps({"result": result}))
    assert (submission, {"result": result}) == (record.submission, record.outcome)
    assert ("shop", "mail", 9, "pull", 2**48 - 1, 100, True) == (
        record.namespace, record.queue, record.priority, record.lane, record.time_ms, record.max_crashes,
        record.has_ended,
    )  # fmt: skip


HASHES = st.sampled_from([b"", b"\0" * 16, b"\n" * 16, b"FUG\0" * 4]) | st.binary(min_size=16, max_size=16)
CLAIMS = st.just(b"") | st.binary(min_size=14, max_size=14)
TIES = st.builds(Ties, HASHES, HASHES, st.text("aZ09._:@/-", max_size=64), CLAIMS, st.integers(0, 2**48 - 1))


@given(TIES, st.sampled_from(["default", "mail", "shop/mail", "n" * 64 + "/" + "q" * 64]))
def test_ties_stand_behind_the_queue(ties: Ties, queue: str) -> None:
    """Whatever bytes the hashes have; a task without ties has no byte for them."""
    given_ = {"state": b"W", "priority": 5, "lane": "async", "time_ms": 0, "max_crashes": 3, "queue": queue}
    header = pack_header(**given_, ties=ties)  # type: ignore[arg-type]
    record = parse_record(header + pack_submission({"name": "n"}))
    assert (ties, {"name": "n"}) == (record.ties, record.submission)
    assert queue.rpartition("/")[2] == record.queue
    if ties == NO_TIES:
        assert pack_header(**given_) == header  # type: ignore[arg-type]


def test_the_commonest_submission_is_short() -> None:
    """A handler's name and arguments cost sixteen bytes less than their JSON."""
    submission = {"name": "demo.add", "args": {"a": 2, "b": 3}}
    assert len(orjson.dumps(submission)) - 16 == len(pack_submission(submission))
