"""The Blind Cliffwalk: the walk and its values by slow loops, the replay against them, and claims that can fail."""

import itertools
import json
from collections import Counter
from pathlib import Path

import blind_cliffwalk as cliffwalk
import numpy as np
import pytest


def walk(state: int, action: int, n_states: int) -> tuple[float, int | None]:
    """Reward and next state, None at the end; the right actions are 0, 1, 0, 1, ..."""
    if action != (0, 1)[state % 2]:
        return 0.0, None
    return (1.0, None) if state + 1 == n_states else (0.0, state + 1)


def all_transitions(n_states: int) -> Counter[tuple[int, int]]:
    """How often each state and action occur when every sequence of actions is executed to its end."""
    counts: Counter[tuple[int, int]] = Counter()
    for actions in itertools.product((0, 1), repeat=n_states):
        state: int | None = 0
        for action in actions:
            if state is None:
                break
            counts[state, action] += 1
            _, state = walk(state, action, n_states)
    return counts


@pytest.mark.parametrize("n_states", [2, 3, 7])
def test_the_replay_holds_every_sequence(n_states: int) -> None:
    expected = all_transitions(n_states)
    assert expected.total() == 2 ** (n_states + 1) - 2
    memory = cliffwalk.Memory.fill(n_states, np.random.default_rng(0))
    assert len(set(memory.slots.tolist())) == memory.buffer.storage.tree.n_positive == expected.total()
    assert Counter(memory.kinds[memory.slots].tolist()) == {2 * s + a: count for (s, a), count in expected.items()}
    for state, action in expected:
        reward, next_state = walk(state, action, n_states)
        kind = 2 * state + action
        assert memory.rewards[kind] == reward
        assert memory.discounts[kind] == pytest.approx(0.0 if next_state is None else 1 - 1 / n_states)
        assert next_state is None or memory.next_states[kind] == next_state


@pytest.mark.parametrize("n_states", [2, 3, 16])
def test_true_values_are_the_fixed_point(n_states: int) -> None:
    values = {(state, action): 0.0 for state in range(n_states) for action in (0, 1)}
    for _, (state, action) in itertools.product(range(n_states), values):
        reward, after = walk(state, action, n_states)
        future = 0.0 if after is None else max(values[after, 0], values[after, 1])
        values[state, action] = reward + (1 - 1 / n_states) * future
    np.testing.assert_allclose(cliffwalk.true_values(n_states), list(values.values()))


@pytest.mark.parametrize("sampler", cliffwalk.SAMPLERS)
def test_learning_ends_at_the_true_values(sampler: object) -> None:
    rng = np.random.default_rng(0)
    memory = cliffwalk.Memory.fill(5, rng)
    learner = cliffwalk.Learner(memory, rng.normal(0.0, 0.1, 10))
    picks = sampler(memory, learner, rng)  # type: ignore[operator]
    kind = next(picks)
    for _ in range(100_000):
        if learner.converged:
            break
        q_values, change = list(learner.q_values), learner.preview(kind)[1]
        error = learner.update(kind)
        after = np.square(np.subtract(learner.q_values, learner.truth)).sum()
        assert after - np.square(np.subtract(q_values, learner.truth)).sum() == pytest.approx(change)
        assert learner.squares == pytest.approx(after)
        assert error == pytest.approx(4 * abs(learner.q_values[kind] - q_values[kind]))
        kind = picks.send(error)
    assert np.square(np.subtract(learner.q_values, cliffwalk.true_values(5))).mean() < 1e-3


def test_samplers_choose_as_they_say() -> None:
    rng = np.random.default_rng(0)
    memory = cliffwalk.Memory.fill(3, rng)
    learner = cliffwalk.Learner(memory, np.zeros(6))
    assert next(cliffwalk.oracle(memory, learner, rng)) == 4  # only the last state's right action, 0, can teach anything

    greedy = cliffwalk.greedy(memory, learner, rng)
    kinds = [next(greedy), *(greedy.send(0.1 if i == 5 else 0.0) for i in range(13))]
    assert Counter(kinds) == Counter(memory.kinds[memory.slots].tolist())  # each once before any comes again
    assert greedy.send(0.0) == kinds[5]

    prioritized = cliffwalk.prioritized(memory, learner, rng)
    late = [next(prioritized), *(prioritized.send(0.0) for _ in range(199))][-50:]
    assert len(set(late)) > 1  # eps: nothing is forgotten
    assert any(prioritized.send(0.0) == 4 for _ in range(1000))
    assert [prioritized.send(1.0) for _ in range(20)].count(4) > 15

    uniform = cliffwalk.uniform(memory, learner, rng)
    draws = Counter([next(uniform), *(uniform.send(1.0 if i % 2 else 0.0) for i in range(13_999))])
    for kind, count in Counter(memory.kinds[memory.slots].tolist()).items():
        assert draws[kind] == pytest.approx(1000 * count, abs=5 * np.sqrt(1000 * count))


def test_claims_fail_where_the_figures_do() -> None:
    states = (6, 8, 10)
    rng = np.random.default_rng(0)
    updates = (
        np.array([1.0, 2.0, 4.0, 8.0])[:, None, None] * np.array([1, 4, 16])[:, None] * rng.uniform(0.95, 1.05, (4, 3, 10))
    )
    updates[3] *= np.array([1, 2, 4])[:, None]
    assert list(cliffwalk.judge(states, updates).values()) == [True] * 4
    assert list(cliffwalk.judge(states, updates[::-1]).values()) == [False] * 4
    for pair in range(3):
        equal = updates.copy()
        equal[pair, 1] = equal[pair + 1, 1]  # at one size only
        assert list(cliffwalk.judge(states, equal).values())[:3] == [i != pair for i in range(3)]
    updates[3] = 2 * updates[2]
    assert list(cliffwalk.judge(states, updates).values()) == [True, True, True, False]
    assert not any(list(cliffwalk.judge((2, 3, 4), updates).values())[:3])  # too short to say


def test_sign_test_and_growth_by_hand() -> None:
    one, two = np.ones(10), np.full(10, 2)
    assert cliffwalk.sign_test(one, two) == 1 / 1024
    assert cliffwalk.sign_test(np.r_[two[:1], one[1:]], one + 0.5) == 11 / 1024
    assert cliffwalk.sign_test(one, one) == 1
    ratios = 3.0 ** np.array([[2], [4], [5]]) * np.ones(10)
    assert cliffwalk.growth((2, 4, 5), np.ones((3, 10)), ratios) == pytest.approx((3, 3))


def test_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--runs", "5", "--output", str(tmp_path / "walk"), "--states", "2", "6"]
    assert cliffwalk.main([*arguments, "8"]) == 0
    figures = json.loads((tmp_path / "walk.json").read_text())
    assert figures["transitions"] == [6, 126, 510]
    assert np.shape([figures["updates"][name] for name in ("oracle", "greedy", "prioritized", "uniform")]) == (4, 3, 5)
    assert (tmp_path / "walk.png").stat().st_size > 10_000
    assert capsys.readouterr().out.count("PASS") == len(figures["claims"]) == 4

    monkeypatch.setattr(cliffwalk, "ALPHA", 0.0)  # prioritized replay that doesn't prioritize
    assert cliffwalk.main(arguments) == 1
    claims = json.loads((tmp_path / "walk.json").read_text())["claims"]
    assert list(claims.values()) == [True, True, False, False]
