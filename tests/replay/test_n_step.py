"""n-step windows against a slow loop and against SB3's buffer."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_dqn_ext.replay.n_step import CONTINUES, TERMINAL, TRUNCATED, n_step_window


def slow_window(rewards: list[float], ends: list[int], gamma: float) -> tuple[float, float, int]:
    """The definition, one reward at a time."""
    total, discount = 0.0, 1.0
    for length, (reward, end) in enumerate(zip(rewards, ends, strict=True), 1):
        total += discount * reward
        discount *= gamma
        if end == TERMINAL:
            return total, 0.0, length
        if end == TRUNCATED:
            return total, discount, length
    return total, discount, len(rewards)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_agrees_with_a_slow_loop(data: st.DataObject) -> None:
    horizon = data.draw(st.integers(1, 6))
    row = st.lists(
        st.tuples(st.integers(-80, 80).map(lambda n: n / 8), st.sampled_from([0, 0, 0, 1, 2])),
        min_size=horizon,
        max_size=horizon,
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=8))
    gamma = data.draw(st.sampled_from([0.0, 0.5, 0.99, 1.0]))
    rewards = np.array([[reward for reward, _ in r] for r in rows], dtype=np.float32)
    ends = np.array([[end for _, end in r] for r in rows], dtype=np.uint8)
    window = n_step_window(rewards, ends, gamma)
    expected = [slow_window(r.tolist(), e.tolist(), gamma) for r, e in zip(rewards, ends, strict=True)]
    np.testing.assert_allclose(window.returns, [e[0] for e in expected], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(window.discounts, [e[1] for e in expected], rtol=1e-6)
    assert window.lengths.tolist() == [e[2] for e in expected]
    assert window.returns.dtype == window.discounts.dtype == np.float32


def test_literal_values() -> None:
    rewards = np.array([[1, 2, 4]] * 4, dtype=np.float32)
    ends = np.array(
        [
            [CONTINUES, CONTINUES, CONTINUES],
            [CONTINUES, TRUNCATED, CONTINUES],
            [CONTINUES, TERMINAL, TRUNCATED],
            [TERMINAL, CONTINUES, CONTINUES],
        ]
    )
    window = n_step_window(rewards, ends, 0.5)
    assert window.returns.tolist() == [3.0, 2.0, 2.0, 1.0]
    assert window.discounts.tolist() == [0.125, 0.25, 0.0, 0.0]
    assert window.lengths.tolist() == [3, 2, 2, 1]
    assert window.terminal.tolist() == [False, False, True, True]
