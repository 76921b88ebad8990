"""The sum tree against a plain list."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sb3_dqn_ext.replay.sum_tree import FAN_OUT, SumTree


def slow_find(priorities: list[float], mass: float) -> int:
    """The first index whose running sum exceeds the mass."""
    running = 0.0
    for index, priority in enumerate(priorities):
        running += priority
        if running > mass:
            return index
    raise AssertionError("mass beyond the total")


# Integers, so that every order of summation gives the same float and the answers must agree exactly.
@settings(max_examples=60, deadline=None)
@given(
    capacity=st.sampled_from([1, 2, FAN_OUT - 1, FAN_OUT, FAN_OUT + 1, 5 * FAN_OUT, FAN_OUT**2 + 3]),
    seed=st.integers(0, 2**20),
    n_updates=st.integers(1, 6),
)
def test_find_agrees_with_a_list(capacity: int, seed: int, n_updates: int) -> None:
    rng = np.random.default_rng(seed)
    tree, model = SumTree(capacity), np.zeros(capacity)
    for _ in range(n_updates):
        indices = rng.choice(capacity, size=rng.integers(1, min(capacity, 300) + 1), replace=False)
        priorities = rng.integers(0, 4, size=len(indices)).astype(float)
        tree.set(indices, priorities)
        model[indices] = priorities
    assert tree.total == model.sum()
    assert tree.n_positive == np.count_nonzero(model)
    np.testing.assert_array_equal(tree.get(np.arange(capacity)), model)
    if model.any():
        masses = rng.random(20) * model.sum()
        assert tree.find(masses).tolist() == [slow_find(model.tolist(), mass) for mass in masses]


def test_zero_priorities_are_never_found_despite_rounding() -> None:
    rng = np.random.default_rng(0)
    tree = SumTree(1000)
    tree.set(np.arange(1000), np.where(rng.random(1000) < 0.5, 0.0, rng.random(1000) * 10.0 ** rng.integers(-12, 12, 1000)))
    # The very end of the range is where rounding bites.
    masses = np.concatenate([[0.0, np.nextafter(tree.total, 0), tree.total], rng.random(5000) * tree.total])
    assert (tree.get(tree.find(masses)) > 0).all()


def test_samples_follow_the_priorities() -> None:
    tree, priorities = SumTree(5), np.array([1.0, 0.0, 2.0, 3.0, 4.0])
    tree.set(np.arange(5), priorities)
    rng = np.random.default_rng(1)
    counts = np.bincount(np.concatenate([tree.sample(10, rng) for _ in range(4000)]), minlength=5)
    # Stratified draws vary less than independent ones, whose standard deviation is 98 at most here.
    np.testing.assert_allclose(counts, 40_000 * priorities / 10, atol=4 * 98)


def test_one_draw_from_each_range() -> None:
    tree = SumTree(64)
    tree.set(np.arange(64), np.ones(64))
    assert tree.sample(64, np.random.default_rng(0)).tolist() == list(range(64))


def test_repeated_index_keeps_the_last_priority_and_the_count() -> None:
    tree = SumTree(300)
    tree.set(np.array([7, 200]), np.array([1.0, 1.0]))
    tree.set(np.array([7, 7, 200]), np.array([5.0, 2.0, 3.0]))
    assert tree.total == 5.0
    assert tree.n_positive == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_bad_priority_is_refused(bad: float) -> None:
    tree = SumTree(4)
    with pytest.raises(ValueError, match="diverged"):
        tree.set(np.array([0, 1]), np.array([1.0, bad]))
    assert tree.total == 0
