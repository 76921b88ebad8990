"""The experiments that train agents: their games, their claims, and each run small to its end."""

import json
from pathlib import Path

import deep_sea
import experiment
import numpy as np
import predicted_return
import pytest
import rainbow_ablation
import solve
from stable_baselines3.common.env_checker import check_env


@pytest.mark.parametrize("env", [deep_sea.DeepSea(4), rainbow_ablation.Catch()])
def test_games_are_gymnasium_environments(env) -> None:
    check_env(env, warn=True)


def test_only_going_right_all_the_way_finds_the_treasure() -> None:
    env, found = deep_sea.DeepSea(4, seed=3), {}
    for plan in np.ndindex(2, 2, 2, 2):  # all ways to go right (1) or left
        env.reset()
        total, over, step = 0.0, False, 0
        while not over:
            right = env.right[env.row, env.column]
            _, reward, over, _, _ = env.step(int(right if plan[step] else 1 - right))
            total, step = total + reward, step + 1
        found[plan] = total
        assert step == 4
    assert found[1, 1, 1, 1] == pytest.approx(1 - 0.01)
    assert all(value <= 0 for plan, value in found.items() if plan != (1, 1, 1, 1))


def test_a_ball_can_always_be_caught() -> None:
    env = rainbow_ablation.Catch()
    for seed in range(10):
        env.reset(seed=seed)
        over, reward = False, 0.0
        while not over:
            _, reward, over, _, _ = env.step(1 + np.sign(env.ball_column - env.paddle))
        assert reward == 1.0


def test_claims_of_the_deep_sea_can_fail() -> None:
    good, bad = [[0.0, 0.99]] * 6, [[0.0, 0.0]] * 6
    assert all(deep_sea.judge({"noisy": good, "epsilon-greedy": bad}).values())
    assert not any(deep_sea.judge({"noisy": bad, "epsilon-greedy": good}).values())
    # Fisher's exact test of 6 of 6 against 0 of 6: 1 of binomial(12, 6) = 924 splits
    assert deep_sea.p_value(6, 0, 6) == pytest.approx(1 / 924)


def test_claims_of_the_ablation_can_fail() -> None:
    fast, slow, never = [100, 120, 110], [900, 800, 950], [15_000] * 3
    variants = {name: fast for name in rainbow_ablation.VARIANTS}
    assert all(rainbow_ablation.judge({"Catch": variants | {"DQN": slow}}).values())
    claims = rainbow_ablation.judge({"Catch": variants | {"Rainbow": slow, "DQN": fast, "no noise": never}})
    assert [claim for claim, holds in claims.items() if not holds] == [
        "Catch: Rainbow needs fewer steps than DQN (95% interval of the difference below 0)",
        "Catch: no noise learns (most seeds solve it)",
    ]


def test_bootstrap_interval_of_a_known_mean() -> None:
    samples = np.random.default_rng(0).normal(5, 2, size=400)
    low, high = experiment.bootstrap_interval(samples)
    assert low < samples.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * 2 / 20, rel=0.15)  # the normal interval


def test_small_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in processes of their own."""
    status = deep_sea.main(
        ["--size", "3", "--episodes", "60", "--seeds", "2", "--jobs", "2", "--output", str(tmp_path / "sea")]
    )
    figures = json.loads((tmp_path / "sea.json").read_text())
    assert status == (0 if all(figures["claims"].values()) else 1)
    assert len(figures["greedy_returns"]["noisy"]) == 2

    task = rainbow_ablation.TASKS["Catch"]._replace(max_steps=900, target=-2.0)
    monkeypatch.setitem(rainbow_ablation.TASKS, "Catch", task)
    rainbow_ablation.main(["--env", "Catch", "--seeds", "1", "--jobs", "1", "--output", str(tmp_path / "rainbow")])
    steps = json.loads((tmp_path / "rainbow.json").read_text())["steps"]["Catch"]
    assert steps.keys() == {*rainbow_ablation.VARIANTS, "DQN"}
    assert all(0 < n < 900 for (n,) in steps.values())  # a target that everyone reaches ends the run


def test_overestimation_is_judged_on_the_second_half() -> None:
    curves = [
        [(1, 9.0, 0.0), (2, 9.0, 0.0), (3, 3.0, 1.0), (4, 5.0, 1.0)],
        [(1, 0.0, 0.0), (2, 0.0, 0.0), (3, 1.0, 2.0), (4, 1.0, 2.0)],
    ]
    assert predicted_return.overestimation(curves).tolist() == [3.0, -1.0]


def test_predicted_returns_of_a_small_run(tmp_path: Path) -> None:
    predicted_return.main(["--steps", "800", "--seeds", "1", "--jobs", "1", "--output", str(tmp_path / "returns")])
    result = json.loads((tmp_path / "returns.json").read_text())
    assert all(len(curves[0]) == 8 for curves in result["curves"].values())


def test_solve_adds_to_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model = solve.make_model
    monkeypatch.setattr(solve, "make_model", lambda *arguments: (make_model(*arguments)[0], 1200))
    arguments = ["--env", "CartPole-v1", "--algos", "composable_dqn", "--games", "2", "--jobs", "1"]
    for seed in ("0", "1"):
        status = solve.main([*arguments, "--seeds", seed, "--output", str(tmp_path / "solve")])
    result = json.loads((tmp_path / "solve.json").read_text())
    assert [row["seed"] for row in result["runs"]] == [0, 1]
    assert status == (0 if any(row["solved"] for row in result["runs"]) else 1)
    for file in ("solve.json", "solve.png"):
        assert (tmp_path / file).stat().st_size > 0
