"""Every preset learns, from vectors and from pixels, and comes back from a file as it was."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env

import sb3_dqn_ext
from sb3_dqn_ext import BTR, C51, IQN, ComposableDQN, MunchausenDQN, NoisyDQN, Rainbow
from sb3_dqn_ext.returns import discounted_returns

PRESETS = [name for name in sb3_dqn_ext.__all__ if isinstance(getattr(sb3_dqn_ext, name), type)
           and issubclass(getattr(sb3_dqn_ext, name), ComposableDQN)]  # fmt: skip


class Signpost(gym.Env):
    """
    A sign shows one of three directions; following it is worth 1, and eight signs make an episode. Random play scores
    8 / 3. As a vector or as a picture with a bright third.

    :param pixels: whether observations are pictures
    """

    n_signs = 8

    def __init__(self, pixels: bool) -> None:
        self.pixels = pixels
        self.action_space = spaces.Discrete(3)
        self.observation_space = spaces.Box(0, 255, (1, 36, 36), np.uint8) if pixels else spaces.Box(0, 1, (3,), np.float32)

    def _show(self) -> np.ndarray:
        self.sign = int(self.np_random.integers(3))
        if not self.pixels:
            return np.eye(3, dtype=np.float32)[self.sign]
        picture = np.zeros((1, 36, 36), np.uint8)
        picture[:, :, 12 * self.sign : 12 * self.sign + 12] = 255
        return picture

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.left = self.n_signs
        return self._show(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(action == self.sign)
        self.left -= 1
        return self._show(), reward, self.left == 0, False, {}


def score(model: ComposableDQN, pixels: bool) -> float:
    env = make_vec_env(lambda: Signpost(pixels), 1, seed=100)
    observations, total = env.reset(), 0.0
    for _ in range(25 * Signpost.n_signs):
        actions, _ = model.predict(observations, deterministic=True)
        observations, rewards, _, _ = env.step(actions)
        total += float(rewards[0])
    return total / 25


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("policy", ["MlpPolicy", "CnnPolicy"])
@pytest.mark.parametrize("name", PRESETS)
def test_learns_saves_loads_and_predicts_the_same(name: str, policy: str, tmp_path: Path) -> None:
    cls, pixels = getattr(sb3_dqn_ext, name), policy == "CnnPolicy"
    th.set_num_threads(1)
    model = cls(
        policy, make_vec_env(lambda: Signpost(pixels), 2, seed=0), learning_rate=1e-3, buffer_size=2000, learning_starts=60,
        batch_size=32, gamma=0.5, train_freq=1, target_update_interval=40, exploration_fraction=0.5, seed=0, device="cpu",
    )  # fmt: skip
    model.learn(1000)
    learned = score(model, pixels)
    assert learned >= 6.5, f"random play scores {8 / 3:.1f}, a perfect one 8"

    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", device="cpu")
    observations = np.array([model.observation_space.sample() for _ in range(20)])
    assert np.array_equal(*(m.predict(observations, deterministic=True)[0] for m in (model, loaded)))
    tensor, _ = model.policy.obs_to_tensor(observations)
    assert th.equal(model.q_net(tensor), loaded.q_net(tensor))
    assert {key: getattr(loaded, key) for key in ("n_steps", "gamma", "munchausen", "double_q", "prioritized_replay")} == {
        key: getattr(model, key) for key in ("n_steps", "gamma", "munchausen", "double_q", "prioritized_replay")
    }
    assert loaded.policy_kwargs == model.policy_kwargs
    loaded.set_env(make_vec_env(lambda: Signpost(pixels), 2, seed=0))
    loaded.learn(200, reset_num_timesteps=False)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("head", ["scalar", "categorical", "quantile", "implicit_quantile"])
def test_every_part_goes_with_every_head(head: str, noisy: bool, dueling: bool) -> None:
    exploration = {"exploration_initial_eps": 0.0, "exploration_final_eps": 0.0} if noisy else {}
    for munchausen in (False, True):
        if munchausen and head == "categorical":
            continue
        model = ComposableDQN(
            "MlpPolicy", "CartPole-v1", learning_starts=20, batch_size=8, seed=0, device="cpu", n_steps=3, buffer_size=200,
            prioritized_replay=True, double_q=not munchausen, munchausen=munchausen, train_freq=1, mixed_precision="bf16",
            policy_kwargs={"head": head, "dueling": dueling, "noisy": noisy}, **exploration,
        )  # fmt: skip
        before = [value.clone() for value in model.q_net.parameters()]
        model.learn(60)
        assert all(np.isfinite(list(model.training_figures().values())))
        # Everything learns: no part is left without a gradient
        assert not any(th.equal(a, b) for a, b in zip(before, model.q_net.parameters(), strict=True))


def test_noise_explores_when_acting_and_not_when_deterministic() -> None:
    model = NoisyDQN("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"sigma0": 20.0})
    observations = np.zeros((400, 4), dtype=np.float32)
    actions, _ = model.predict(observations, deterministic=False)
    assert 0.2 < actions.mean() < 0.8  # each environment its own noise
    deterministic = [model.predict(observations, deterministic=True)[0] for _ in range(2)]
    assert np.array_equal(*deterministic)
    assert len(set(deterministic[0].tolist())) == 1


def test_an_explicit_argument_wins_over_the_preset() -> None:
    model = Rainbow("MlpPolicy", "CartPole-v1", n_steps=5, policy_kwargs={"noisy": False, "v_max": 100.0}, device="cpu")
    assert model.n_steps == 5
    assert model.policy.head == "categorical" and not model.policy.noisy and model.policy.dueling
    assert model.q_net.head.v_max == 100.0


def test_without_its_noise_a_preset_explores_by_epsilon() -> None:
    noiseless = {"policy_kwargs": {"noisy": False}}
    for cls in (NoisyDQN, Rainbow):
        assert cls("MlpPolicy", "CartPole-v1", device="cpu").exploration_initial_eps == 0.0
        model = cls("MlpPolicy", "CartPole-v1", device="cpu", **noiseless)
        assert (model.exploration_initial_eps, model.exploration_final_eps) == (1.0, 0.05)


def test_another_head_takes_the_presets_head_arguments_away() -> None:
    for head in ("scalar", "quantile"):
        model = BTR("MlpPolicy", "CartPole-v1", policy_kwargs={"head": head, "optimizer_class": th.optim.SGD}, device="cpu")
        assert model.policy.head == head and model.policy.dueling and model.policy.noisy
    assert BTR("MlpPolicy", "CartPole-v1", device="cpu").q_net.head.n_acting_fractions == 8


def test_munchausen_iqn_is_a_flag_away() -> None:
    model = MunchausenDQN("MlpPolicy", "CartPole-v1", policy_kwargs={"head": "implicit_quantile"}, device="cpu")
    assert model.munchausen and model.policy.head == "implicit_quantile"
    assert issubclass(IQN, ComposableDQN)


# Bad input


@pytest.mark.parametrize(
    ("cls", "kwargs", "message"),
    [
        (C51, {"policy_kwargs": {"v_min": 5.0, "v_max": -5.0}}, "v_min=5.0 must be less than v_max=-5.0"),
        (C51, {"policy_kwargs": {"n_atoms": 1}}, "n_atoms=1"),
        (C51, {"munchausen": True}, "munchausen=True with head='categorical' is not possible"),
        (MunchausenDQN, {"double_q": True}, "munchausen=True with double_q=True is not possible"),
        (BTR, {"policy_kwargs": {"n_target_fractions": 0}}, "n_target_fractions=0"),
        (NoisyDQN, {"policy_kwargs": {"sigma0": -1.0}}, "sigma0=-1.0"),
        (ComposableDQN, {"policy_kwargs": {"duelling": True}}, "'duelling' is not an argument of the policy"),
    ],
)
def test_impossible_combinations_are_refused_with_the_reason(cls: type[ComposableDQN], kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls("MlpPolicy", "CartPole-v1", device="cpu", **kwargs)


def test_noise_and_epsilon_at_full_strength_warn() -> None:
    with pytest.warns(UserWarning, match="exploration_final_eps=0.05"):
        ComposableDQN("MlpPolicy", "CartPole-v1", policy_kwargs={"noisy": True}, device="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ComposableDQN("MlpPolicy", "CartPole-v1", policy_kwargs={"noisy": True}, exploration_final_eps=0.01, device="cpu")


def test_returns_far_outside_the_support_warn_once() -> None:
    model = C51("MlpPolicy", "CartPole-v1", seed=0, device="cpu", policy_kwargs={"v_min": -1.0, "v_max": 1.0})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(100)
    (warning,) = [w for w in caught if "Discounted returns" in str(w.message)]
    assert "Discounted returns from 1 to " in str(warning.message) and "v_min=-1 and v_max=1" in str(warning.message)


def test_episodes_cut_off_by_a_reset_are_not_joined() -> None:
    class Thirty(Signpost):
        n_signs = 30

        def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
            observation, _, *rest = super().step(action)
            return observation, 1.0, *rest

    env = make_vec_env(lambda: Thirty(False), 1)
    model = C51("MlpPolicy", env, gamma=1.0, seed=0, device="cpu", policy_kwargs={"v_min": 0.0, "v_max": 31.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for steps in (25, 25, 31):
            model.learn(steps)
    assert model._support_check is not None and model._support_check.highest == 30.0


def test_discounted_returns_against_a_slow_loop() -> None:
    rewards = np.random.default_rng(0).normal(size=7)
    expected = [sum(0.9 ** (k - t) * rewards[k] for k in range(t, 7)) for t in range(7)]
    np.testing.assert_allclose(discounted_returns(rewards, 0.9), expected)


def test_runs_without_any_warning_in_a_fresh_process() -> None:
    """Also what is warned at import."""
    code = (
        "from sb3_dqn_ext import Rainbow, BTR\n"
        "for cls in (Rainbow, BTR):\n"
        "    cls('MlpPolicy', 'CartPole-v1', learning_starts=10, batch_size=8, buffer_size=100, seed=0, device='cpu',\n"
        "        policy_kwargs=dict(v_max=100.0) if cls is Rainbow else None).learn(40)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
