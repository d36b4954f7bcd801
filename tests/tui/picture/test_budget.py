"""Previews take at most a third of the line, whatever it carries."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdterm.tui.picture.budget import SHARE, Budget, Frame


@dataclass
class Line:
    """A line of so many bytes a second and so many seconds to the terminal and back; the clock is ours."""

    rate: float
    latency: float
    sent: list[tuple[float, int]] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def generate(self, budget: Budget, seconds: float, steps: int, fill: float = 1.0, begin: float = 0.0) -> float:
        """One picture whose steps come evenly; returns when the last frame was read. `fill`: bytes of a frame by its
        limit."""
        now, step, shown = begin, 0, 0
        answer = float("inf")
        while shown < steps or budget.waiting:
            next_step = begin + seconds * (step + 1) / steps if step < steps else float("inf")
            now = min(next_step, answer)
            if now == answer:
                budget.acked(now)
                answer = float("inf")
            else:
                step += 1
            if step > shown and (frame := budget.offer(now, step, steps)):
                nbytes = round(frame.limit * fill)
                budget.sent(now, nbytes)
                self.sent.append((now, nbytes))
                self.frames.append(frame)
                shown = step
                answer = now + nbytes / self.rate + self.latency
        return now


lines = st.builds(
    Line,
    rate=st.floats(16_000, 10_000_000),
    latency=st.floats(0, 0.3),
)


@given(lines, st.integers(4, 150), st.floats(5, 600), st.floats(0.1, 1))
def test_previews_take_at_most_a_third_of_any_line(line: Line, steps: int, seconds: float, fill: float) -> None:
    line.generate(Budget(), seconds, steps, fill)
    paced, last = line.sent[:-1], line.sent[-1]
    # Every frame but the last (always shown) pays for the time until the next.
    for (at, nbytes), (following, _) in pairwise(paced):
        assert nbytes <= SHARE * line.rate * (following - at) * 1.001
    assert last[1] <= 64 * 32 * 27


@given(lines, st.integers(1, 150), st.floats(0.05, 600))
def test_the_last_state_is_always_shown_and_the_first_quarter_never(line: Line, steps: int, seconds: float) -> None:
    line.generate(Budget(), seconds, steps)
    assert line.sent[0][0] >= seconds * 0.25 - seconds * 1e-9


@given(lines, st.integers(1, 60))
def test_there_is_never_more_than_one_frame_under_way(line: Line, steps: int) -> None:
    budget = Budget()
    assert budget.offer(0.0, steps, steps) == Frame(32, 16)
    budget.sent(0.0, 14_000)
    assert budget.offer(1000.0, steps, steps) is None
    budget.acked(1000.0)
    assert budget.offer(1000.0, steps, steps) is not None


def test_frames_grow_on_a_fast_line_and_shrink_on_a_slow_one() -> None:
    fast, slow = Line(10_000_000, 0.001), Line(16_000, 0.05)
    fast.generate(Budget(), 60, 600)
    slow.generate(Budget(), 60, 600)
    assert fast.frames[0] == slow.frames[0] == Frame(32, 16)
    assert fast.frames[-1] == Frame(64, 32)
    assert slow.frames[-1].columns < 32


def test_a_key_waits_behind_a_frame_for_no_longer_than_a_quarter_of_a_second_once_the_line_is_known() -> None:
    for rate in (16_000, 32_000, 64_000, 250_000, 1_000_000):
        line = Line(rate, 0.0)
        line.generate(Budget(), 120, 1200)
        assert all(nbytes / rate <= 0.25 for _, nbytes in line.sent[8:])


def test_a_line_that_gets_slower_is_noticed_at_the_next_frame() -> None:
    budget, line = Budget(), Line(10_000_000, 0.001)
    end = line.generate(budget, 60, 600)
    line.rate = 16_000
    count = len(line.sent)
    line.generate(budget, 120, 1200, begin=end)
    after = line.sent[count:]
    assert all(nbytes / (SHARE * 16_000) <= 1.001 * (b - a) for (a, nbytes), (b, _) in pairwise(after[:-1]))
    assert line.frames[-1].columns <= 24


def test_several_pictures_in_quick_succession_stay_within_the_share() -> None:
    """Every picture's last frame is shown at once; what it costs is waited for afterwards."""
    budget, line, now = Budget(), Line(64_000, 0.02), 0.0
    for _ in range(20):
        now = line.generate(budget, 3.0, 20, begin=now)
    assert sum(nbytes for _, nbytes in line.sent[:-1]) <= 0.35 * line.rate * now


def test_frames_stay_as_they_begin_where_the_answer_is_not_the_terminals() -> None:
    line = Line(10_000_000, 0.0)
    line.generate(Budget(may_grow=False), 60, 600)
    assert set(line.frames) == {Frame(32, 16)}
    assert max(len([at for at, _ in line.sent[:-1] if begin <= at < begin + 10]) for begin in range(50)) <= 11


@pytest.mark.parametrize("nonsense", [0.0, -5.0])
def test_an_answer_at_once_or_from_the_past_is_no_endless_line(nonsense: float) -> None:
    budget = Budget()
    budget.sent(10.0, 14_000)
    budget.acked(10.0 + nonsense)
    assert budget.rate is not None and budget.rate < 100_000_000
    budget.acked(11.0)  # nothing was under way
    assert not budget.waiting


@pytest.mark.parametrize(
    ("rate", "latency", "may_grow", "is_slow"),
    [
        (8_000, 0.3, True, True),
        (8_000, 0.0, True, True),
        (16_000, 0.3, True, False),
        (64_000, 0.3, True, False),
        (64_000, 1.5, True, False),
        (8_000, 0.3, False, False),  # the answer is not the terminal's
    ],
)
def test_a_line_is_slow_that_carries_little_not_one_that_is_long(
    rate: int, latency: float, may_grow: bool, is_slow: bool
) -> None:
    budget = Budget(may_grow=may_grow, round_trip=latency)
    Line(rate, latency).generate(budget, 60, 600)
    assert budget.line_is_slow is is_slow


def test_one_frame_that_takes_long_makes_no_slow_line() -> None:
    budget = Budget()
    budget.sent(0.0, 14_000)
    budget.acked(3.0)
    assert not budget.line_is_slow
    budget.sent(10.0, 14_000)
    budget.acked(10.1)
    budget.sent(20.0, 14_000)
    budget.acked(23.0)
    assert not budget.line_is_slow


def test_a_key_waits_60_ms_at_most_over_64_kb_a_second_and_150_ms_each_way() -> None:
    line = Line(64_000, 0.3)
    line.generate(Budget(round_trip=0.3), 120, 1200)
    assert len(line.sent) > 10
    assert all(nbytes / line.rate <= 0.06 for _, nbytes in line.sent[2:])
