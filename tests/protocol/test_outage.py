"""The outage as a pure machine: when it begins, whose look is the probe, and when it ends."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wiro_async.protocol.outage import FAILURES_IN_A_ROW, Outage
from wiro_async.protocol.retry import RetryPolicy

START = 1000.0
EVEN = 0.5


def begun(policy: RetryPolicy | None = None, asked_seconds: float = 0.0) -> Outage:
    """An outage that has just begun, at START."""
    outage = Outage(policy or RetryPolicy())
    for _ in range(FAILURES_IN_A_ROW):
        outage.on_failed("cut off", START, EVEN, asked_seconds)
    return outage


def fail_probe(outage: Outage, now: float) -> None:
    probe = outage.begin_look()
    outage.on_failed("cut off", now, EVEN)
    outage.end_look(probe, now, EVEN)


def test_it_begins_with_a_row_of_failures_and_no_sooner() -> None:
    outage = Outage(RetryPolicy())
    for _ in range(FAILURES_IN_A_ROW - 1):
        outage.on_failed("cut off", START, EVEN)
        assert not outage.is_on
        assert outage.next_look_at() == -math.inf
        assert outage.begin_look() is None
    outage.on_failed("reset", START, EVEN)
    assert (outage.is_on, outage.began_at, outage.reason) == (True, START, "reset")
    assert outage.seconds_so_far(START + 5) == 5


def test_an_answer_ends_the_row() -> None:
    outage = Outage(RetryPolicy())
    for _ in range(50):
        for _ in range(FAILURES_IN_A_ROW - 1):
            outage.on_failed("cut off", START, EVEN)
        assert not outage.on_answered()
    assert not outage.is_on


def test_an_answer_ends_the_outage_once_and_lets_all_looks_out() -> None:
    outage = begun()
    assert outage.next_look_at() > START
    assert outage.on_answered()
    assert not outage.on_answered()
    assert (outage.is_on, outage.next_look_at()) == (False, -math.inf)
    assert outage.patience_ends_at(START) == math.inf
    assert outage.seconds_so_far(START + 5) == 0


def test_one_probe_at_a_time_goes_out_with_growing_waits() -> None:
    outage = begun()
    waits = []
    now = START
    for _ in range(9):
        waits.append(outage.next_look_at() - now)
        now = outage.next_look_at()
        probe = outage.begin_look()
        assert outage.next_look_at() == math.inf
        outage.on_failed("cut off", now, EVEN)
        assert outage.next_look_at() == math.inf, "another one's failure is not the probe's end"
        outage.end_look(probe, now, EVEN)
    assert waits == pytest.approx([0.375, 0.75, 1.5, 3, 6, 12, 15, 15, 15])


def test_failures_of_others_put_no_probe_off() -> None:
    outage = begun()
    due = outage.next_look_at()
    for _ in range(100):
        outage.on_failed("cut off", due, EVEN, asked_seconds=60)
    assert outage.next_look_at() == due


@pytest.mark.parametrize(("asked", "wait"), [(0.1, 0.375), (30, 30), (1e9, 120)])
def test_a_503_that_asks_for_a_wait_gets_it_up_to_the_cap(asked: float, wait: float) -> None:
    assert begun(asked_seconds=asked).next_look_at() == START + wait


def test_a_probe_of_an_outage_that_is_over_says_nothing_of_the_next() -> None:
    outage = begun()
    old = outage.begin_look()
    outage.on_answered()
    for _ in range(FAILURES_IN_A_ROW):
        outage.on_failed("cut off", START + 9, EVEN)
    new = outage.begin_look()
    outage.end_look(old, START + 10, EVEN)
    assert outage.next_look_at() == math.inf
    outage.end_look(new, START + 10, EVEN)
    assert START + 10 < outage.next_look_at() < math.inf


def test_a_look_that_went_out_before_the_outage_is_no_probe() -> None:
    outage = Outage(RetryPolicy())
    early = outage.begin_look()
    for _ in range(FAILURES_IN_A_ROW):
        outage.on_failed("cut off", START, EVEN)
    probe = outage.begin_look()
    outage.end_look(early, START, EVEN)
    assert outage.next_look_at() == math.inf
    outage.end_look(probe, START, EVEN)
    assert outage.next_look_at() < math.inf


@pytest.mark.parametrize(("since", "ends"), [(START - 500, START + 60), (START + 50, START + 110)])
def test_patience_counts_from_the_later_of_both_beginnings(since: float, ends: float) -> None:
    assert begun(RetryPolicy(max_outage_seconds=60)).patience_ends_at(since) == ends


STEPS = st.lists(
    st.tuples(st.sampled_from(["answer", "failure", "begin", "end"]), st.floats(0, 30))
)


@given(STEPS)
def test_whatever_comes_no_wake_up_is_lost_and_no_second_probe_is_let_out(
    steps: list[tuple[str, float]],
) -> None:
    outage = Outage(RetryPolicy())
    now = START
    under_way: list[int | None] = []
    for action, later in steps:
        now += later
        if action == "answer":
            outage.on_answered()
        elif action == "failure":
            outage.on_failed("cut off", now, EVEN)
        elif action == "begin" and outage.next_look_at() <= now:
            under_way.append(outage.begin_look())
        elif action == "end" and under_way:
            outage.end_look(under_way.pop(0), now, EVEN)
        at = outage.next_look_at()
        is_probing = outage.is_on and outage._probe in under_way
        assert (at == math.inf) is is_probing, "what waits for ever waits for a probe's end"
        assert outage.is_on or at == -math.inf
        assert at in {math.inf, -math.inf} or at <= now + RetryPolicy().cap_seconds


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=60), st.integers(min_value=1, max_value=5))
def test_an_outage_costs_its_row_and_its_probes_however_many_wait(
    failures: list[bool], seconds: int
) -> None:
    """Each second everybody wants a look: what goes out is a row of failures and the probes."""
    outage = Outage(RetryPolicy())
    sent = probes = row = rows = 0
    for second, is_failure in enumerate(failures * seconds):
        now = START + second
        for _ in range(50):
            if outage.next_look_at() > now:
                break
            probe = outage.begin_look()
            sent += is_failure
            probes += is_failure and probe is not None
            if is_failure:
                row += 1
                outage.on_failed("cut off", now, EVEN)
            else:
                rows += row > 0
                row = 0
                outage.on_answered()
            outage.end_look(probe, now, EVEN)
    assert sent <= FAILURES_IN_A_ROW * (rows + 1) + probes


def test_a_failed_probe_waits_as_long_as_the_policy_says_at_most() -> None:
    outage = begun(RetryPolicy(cap_seconds=2))
    now = START
    for _ in range(20):
        now = max(now, outage.next_look_at())
        fail_probe(outage, now)
        assert 0 < outage.next_look_at() - now <= 2
