"""What a user of SB3 expects of ComposableDQN and the presets, beyond the learning rule."""

import inspect
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN, PPO
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import BitFlippingEnv, FakeImageEnv, IdentityEnv, SimpleMultiObsEnv
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper, VecFrameStack, VecNormalize
from stable_baselines3.her import HerReplayBuffer

from sb3_dqn_ext import ComposableDQN, DoubleDQN, DuelingDQN, FrameReplayBuffer, PrioritizedDQN, Rainbow
from sb3_dqn_ext.replay.n_step import CONTINUES, TRUNCATED

PRESETS = [ComposableDQN, DoubleDQN, DuelingDQN, PrioritizedDQN]
SMALL: dict[str, Any] = {"learning_starts": 20, "buffer_size": 500, "batch_size": 8, "device": "cpu"}


def image_env(n_envs: int = 1) -> DummyVecEnv:
    return make_vec_env(lambda: FakeImageEnv(screen_height=40, screen_width=40, n_channels=1, discrete=True), n_envs=n_envs)


# The contract with SB3


@pytest.mark.parametrize("cls", PRESETS)
def test_every_sb3_argument_keeps_name_position_and_default(cls: type[ComposableDQN]) -> None:
    theirs, ours = (list(inspect.signature(c).parameters.values()) for c in (DQN, cls))
    for position, parameter in enumerate(theirs):
        assert (ours[position].name, ours[position].kind) == (parameter.name, parameter.kind)
        assert ours[position].default == parameter.default
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in ours[len(theirs) :])


@pytest.mark.parametrize("cls", PRESETS)
def test_presets_accept_positional_arguments_and_let_explicit_ones_win(cls: type[ComposableDQN]) -> None:
    model = cls("MlpPolicy", "CartPole-v1", 1e-3, 300, double_q=False, policy_kwargs={"net_arch": [8]}, device="cpu")
    assert (model.learning_rate, model.buffer_size, model.double_q) == (1e-3, 300, False)
    assert model.policy.dueling == (cls is DuelingDQN)
    assert model.prioritized_replay == (cls is PrioritizedDQN)
    off = DuelingDQN("MlpPolicy", "CartPole-v1", policy_kwargs={"dueling": False}, device="cpu")
    assert not off.policy.dueling


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("cls", PRESETS)
@pytest.mark.parametrize("n_envs, n_steps", [(1, 1), (3, 3)])
def test_learns_saves_loads_and_predicts_the_same(cls: type[ComposableDQN], n_envs: int, n_steps: int, tmp_path: Path) -> None:
    env = make_vec_env("CartPole-v1", n_envs=n_envs, seed=0)
    model = cls("MlpPolicy", env, n_steps=n_steps, train_freq=1, target_update_interval=50, seed=0, **SMALL)
    before = [value.clone() for value in model.q_net.parameters()]
    assert model.learn(200).num_timesteps >= 200
    assert any(not th.equal(a, b) for a, b in zip(before, model.q_net.parameters(), strict=True))
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", env=env)
    obs = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert (model.predict(obs, deterministic=True)[0] == loaded.predict(obs, deterministic=True)[0]).all()
    for name in ("double_q", "prioritized_replay", "n_steps", "policy_kwargs", "num_timesteps", "exploration_rate"):
        assert getattr(loaded, name) == getattr(model, name)
    loaded.learn(100, reset_num_timesteps=False)
    assert loaded.num_timesteps >= model.num_timesteps + 100
    assert len(loaded.policy.optimizer.state) > 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("policy", ["CnnPolicy", "DataEfficientCnnPolicy"])
@pytest.mark.parametrize("cls", PRESETS)
def test_pixel_policies_with_a_frame_stack(cls: type[ComposableDQN], policy: str, tmp_path: Path) -> None:
    env = VecFrameStack(image_env(2), 4)
    model = cls(policy, env, n_steps=2, train_freq=1, seed=0, **SMALL)
    model.learn(150)
    assert isinstance(model.replay_buffer, FrameReplayBuffer)
    assert model.replay_buffer.frame_stack == (4, 0)
    assert model.replay_buffer.storage.ring.frames.shape[1:] == (1, 40, 40)
    model.save(tmp_path / "model.zip")
    obs = np.random.default_rng(0).integers(0, 256, size=(5, 4, 40, 40), dtype=np.uint8)
    loaded = cls.load(tmp_path / "model.zip")
    assert (model.predict(obs, deterministic=True)[0] == loaded.predict(obs, deterministic=True)[0]).all()


def test_dueling_streams_start_after_the_convolutions() -> None:
    space = spaces.Box(0, 255, (4, 84, 84), np.uint8)
    env = FakeImageEnv(screen_height=84, screen_width=84, n_channels=4, discrete=True, channel_first=True)
    assert env.observation_space == space
    network = DuelingDQN("CnnPolicy", env, device="cpu", buffer_size=10).q_net
    assert network.features_dim == 64 * 7 * 7
    for stream, outputs in ((network.q_net.value, 1), (network.q_net.advantage, env.action_space.n)):
        assert [(m.in_features, m.out_features) for m in stream if isinstance(m, th.nn.Linear)] == [
            (3136, 512),
            (512, outputs),
        ]
    small = DuelingDQN("DataEfficientCnnPolicy", env, device="cpu", buffer_size=10).q_net
    assert (small.features_dim, small.q_net.value[0].out_features) == (576, 256)
    q_values, advantages = network(th.zeros(2, *space.shape)), network.q_net.advantage(th.zeros(2, 3136))
    assert q_values.shape == advantages.shape == (2, env.action_space.n)


def test_dict_observations_and_hindsight_replay() -> None:
    model = ComposableDQN("MultiInputPolicy", SimpleMultiObsEnv(discrete_actions=True), double_q=True, **SMALL)
    model.learn(60)
    assert isinstance(model.replay_buffer, DictReplayBuffer)
    env = BitFlippingEnv(n_bits=3)
    her = DoubleDQN("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, policy_kwargs={"dueling": True}, **SMALL)
    her.learn(60)
    assert isinstance(her.replay_buffer, HerReplayBuffer)
    assert her._n_updates > 0


def test_users_buffer_class_is_honoured() -> None:
    class Mine(ReplayBuffer):
        pass

    model = DoubleDQN("MlpPolicy", "CartPole-v1", replay_buffer_class=Mine, **SMALL)
    model.learn(60)
    assert type(model.replay_buffer) is Mine

    class MyFrames(FrameReplayBuffer):
        pass

    framed = PrioritizedDQN("MlpPolicy", "CartPole-v1", replay_buffer_class=MyFrames, n_steps=3, **SMALL)
    assert type(framed.replay_buffer) is MyFrames
    assert (framed.replay_buffer.n_steps, framed.replay_buffer.alpha) == (3, 0.6)
    with pytest.warns(UserWarning, match="n_steps=3"):
        DoubleDQN("MlpPolicy", "CartPole-v1", replay_buffer_class=ReplayBuffer, n_steps=3, **SMALL)


def test_buffer_passes_for_sb3s() -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", n_steps=3, gamma=0.9, **SMALL)
    assert isinstance(model.replay_buffer, NStepReplayBuffer)
    model.learn(100)
    buffer = model.replay_buffer
    assert (buffer.pos, buffer.full, buffer.size()) == (100, False, 100)
    assert buffer.observations.shape == buffer.next_observations.shape == (500, 1, 4)
    assert buffer.actions.shape == (500, 1, 1)
    ends = np.flatnonzero(buffer.dones[:, 0])
    assert len(ends) == model._episode_num
    going_on = np.setdiff1d(np.arange(99), ends)
    np.testing.assert_array_equal(buffer.next_observations[going_on], buffer.observations[going_on + 1])
    assert not buffer.observations[100:].any()
    assert (buffer.rewards[:100] == 1).all()


@pytest.mark.parametrize("n_steps", [1, 3])
def test_vec_normalize_is_applied_to_what_is_sampled(n_steps: int) -> None:
    env = VecNormalize(make_vec_env("CartPole-v1", n_envs=2, seed=0))
    model = ComposableDQN("MlpPolicy", env, n_steps=n_steps, **SMALL)
    model.learn(200)
    raw, normalized = model.replay_buffer, env
    slots = raw._draw(16)
    window, observations, _ = raw._gather(slots, None)
    scaled_window, scaled, _ = raw._gather(slots, normalized)
    np.testing.assert_allclose(scaled, env.normalize_obs(observations), rtol=1e-5)
    one = env.normalize_reward(np.ones(1, np.float32))[0]
    np.testing.assert_allclose(scaled_window.returns, window.returns * one, rtol=1e-4)
    assert np.abs(observations).max() <= 5 and (window.returns >= 1).all()


def test_same_seed_same_run() -> None:
    def run(seed: int) -> tuple[list[float], list[int]]:
        model = PrioritizedDQN("MlpPolicy", "CartPole-v1", n_steps=3, seed=seed, train_freq=1, **SMALL)
        model.learn(150)
        rewards = [float(value.detach().sum()) for value in model.q_net.parameters()]
        obs = np.zeros((20, 4), dtype=np.float32)
        return rewards, model.predict(obs)[0].tolist()

    assert run(1) == run(1) != run(2)


def test_each_environment_draws_its_own_epsilon() -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", seed=0, **SMALL)
    model.exploration_rate = 0.5
    obs = np.zeros((2000, 4), dtype=np.float32)
    greedy = model.predict(obs, deterministic=True)[0][0]
    # Half explore, and half of those hit the other action: 25% with a standard deviation of 1%.
    assert np.mean(model.predict(obs)[0] != greedy) == pytest.approx(0.25, abs=0.04)
    action, _ = model.predict(obs[0])
    assert np.shape(action) == ()
    assert model.action_space.contains(int(action))


def test_exponential_epsilon_decay() -> None:
    seen = {}

    class Record(BaseCallback):
        def _on_step(self) -> bool:
            seen[self.num_timesteps] = self.model.exploration_rate
            return True

    model = ComposableDQN("MlpPolicy", "CartPole-v1", exploration_decay=50, exploration_final_eps=0.1, **SMALL)
    model.learn(120, callback=Record())
    # A callback sees the rate that the step before it left.
    for step in (2, 51, 120):
        assert seen[step] == pytest.approx(0.1 + 0.9 * np.exp(-(step - 1) / 50))


def test_beta_is_annealed_over_the_training_or_the_given_steps() -> None:
    model = PrioritizedDQN("MlpPolicy", "CartPole-v1", **SMALL)
    model.learn(100)
    assert model._beta() == 1.0
    model._current_progress_remaining = 0.75
    assert model._beta() == pytest.approx(0.4 + 0.25 * 0.6)
    model = PrioritizedDQN("MlpPolicy", "CartPole-v1", prioritized_replay_beta_iters=200, **SMALL)
    model.learn(100)
    assert model._beta() == pytest.approx(0.7)
    model = PrioritizedDQN("MlpPolicy", "CartPole-v1", **(SMALL | {"train_freq": (1, "episode"), "learning_starts": 0}))
    model.learn(5)  # a whole episode, beyond the total
    assert model.num_timesteps > 5
    assert model._beta() == 1.0


def test_alpha_zero_equals_uniform() -> None:
    def run(**kwargs: Any) -> list[th.Tensor]:
        model = ComposableDQN("MlpPolicy", "CartPole-v1", seed=4, train_freq=1, **SMALL, **kwargs)
        return [value.clone() for value in model.learn(150).q_net.parameters()]

    uniform, prioritized = run(), run(prioritized_replay=True, prioritized_replay_alpha=0.0)
    assert all(th.equal(a, b) for a, b in zip(uniform, prioritized, strict=True))
    assert not all(th.equal(a, b) for a, b in zip(uniform, run(prioritized_replay=True), strict=True))


def test_target_copies_parameters_and_every_buffer() -> None:
    class Normed(BaseFeaturesExtractor):
        """Spectral norm's vectors are buffers that SB3 leaves behind; batch norm counts in an integer."""

        def __init__(self, space: spaces.Box) -> None:
            super().__init__(space, 8)
            self.net = th.nn.Sequential(
                th.nn.utils.parametrizations.spectral_norm(th.nn.Linear(4, 8)), th.nn.BatchNorm1d(8), th.nn.ReLU()
            )

        def forward(self, obs: th.Tensor) -> th.Tensor:
            return self.net(obs)

    model = ComposableDQN(
        "MlpPolicy", "CartPole-v1", target_update_interval=10, train_freq=1, seed=0,
        policy_kwargs={"features_extractor_class": Normed}, **SMALL,
    )  # fmt: skip
    model.learn(100)
    model._on_step()
    while model._n_calls % 10:
        model._on_step()
    ours, target = model.q_net.state_dict(), model.q_net_target.state_dict()
    assert all(th.equal(ours[name], target[name]) for name in ours)
    assert int(ours["features_extractor.net.1.num_batches_tracked"]) > 0


def test_a_second_learn_resets_the_environment_and_cuts_the_window() -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", n_steps=3, seed=0, **SMALL)
    model.learn(25)
    buffer = model.replay_buffer
    last = int(buffer._newest[0])
    assert buffer._open[0], "pick another seed: the episode ended just here"
    model.learn(3)
    assert buffer.storage.ends[last] == TRUNCATED
    last = int(buffer._newest[0])
    assert buffer._open[0], "pick another seed: the episode ended just here"
    model.learn(3, reset_num_timesteps=False)
    assert buffer.storage.ends[last] == CONTINUES


@pytest.mark.parametrize("depth", [1, 4])
def test_learning_goes_on_after_a_callback_stopped_it(depth: int) -> None:
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 30

    env = make_vec_env("CartPole-v1", n_envs=1, seed=0)
    model = ComposableDQN("MlpPolicy", VecFrameStack(env, depth) if depth > 1 else env, seed=0, **SMALL)
    model.learn(100, callback=Stop())
    assert model.num_timesteps == 30
    model.learn(50, reset_num_timesteps=False)  # SB3 lost the step in which it was stopped
    stored = model.replay_buffer.size()
    assert stored == model.num_timesteps - 1
    observations = model.replay_buffer.observations[:stored, 0, -4:]
    following = model.replay_buffer.next_observations[:stored, 0, -4:]
    goes_on = model.replay_buffer.dones[:stored, 0] == 0
    # CartPole moves by 0.02 s times its velocity in one step; across a lost step it would move by twice that.
    np.testing.assert_allclose((following - observations)[goes_on, 0], 0.02 * observations[goes_on, 1], atol=1e-6)


def test_callbacks_evaluation_and_tensorboard(tmp_path: Path) -> None:
    env = make_vec_env("CartPole-v1", n_envs=1)
    callbacks = [
        EvalCallback(make_vec_env("CartPole-v1"), n_eval_episodes=2, eval_freq=50, log_path=str(tmp_path), verbose=0),
        CheckpointCallback(50, str(tmp_path), save_replay_buffer=True),
    ]
    model = PrioritizedDQN("MlpPolicy", env, tensorboard_log=str(tmp_path), **SMALL)
    model.learn(150, callback=callbacks, log_interval=1)
    assert (tmp_path / "PrioritizedDQN_1").is_dir()
    assert len(np.load(tmp_path / "evaluations.npz")["timesteps"]) == 3
    mean, _ = evaluate_policy(model, env, n_eval_episodes=3)
    assert mean > 0
    loaded = PrioritizedDQN.load(tmp_path / "rl_model_100_steps.zip", env=env)
    loaded.load_replay_buffer(tmp_path / "rl_model_replay_buffer_100_steps.pkl")
    # A checkpoint is taken before its own step is stored.
    assert loaded.replay_buffer.size() == 99
    assert not loaded.replay_buffer._open.any()
    loaded.learn(50, reset_num_timesteps=False)


def test_log_carries_the_means_since_the_last_dump() -> None:
    model = PrioritizedDQN("MlpPolicy", "CartPole-v1", train_freq=1, **SMALL)
    rows: list[dict[str, Any]] = []
    losses: list[float] = []

    class Record(BaseCallback):
        def _on_training_start(self) -> None:
            dump = self.logger.dump
            self.logger.dump = lambda step=0: (rows.append(dict(self.logger.name_to_value)), dump(step))[1]
            step = self.model._update
            self.model._update = lambda batch_size: (lambda out: (losses.append(float(out.loss)), out)[1])(step(batch_size))

        def _on_step(self) -> bool:
            return True

    model.learn(120, callback=Record(), log_interval=1)
    logged = [row for row in rows if "train/loss" in row]
    assert len(logged) > 1
    count = logged[0]["train/n_updates"]
    assert logged[0]["train/loss"] == pytest.approx(np.mean(losses[:count]), rel=1e-4)
    assert {"train/td_error", "train/q_mean", "train/beta", "rollout/exploration_rate"} <= logged[0].keys()


@pytest.mark.parametrize("flags", [{}, {"double_q": True, "prioritized_replay": True, "n_steps": 2}])
def test_learns_the_identity(flags: dict[str, Any]) -> None:
    env = make_vec_env(lambda: IdentityEnv(4))
    model = ComposableDQN(
        "MlpPolicy", env, learning_rate=5e-3, gamma=0.0, exploration_fraction=0.3, seed=0, learning_starts=50,
        buffer_size=1000, target_update_interval=50, device="cpu", **flags,
    )  # fmt: skip
    model.learn(1500)
    assert evaluate_policy(model, env, n_eval_episodes=5)[0] > 90


# Bad input


def test_wrong_argument_names_get_a_hint() -> None:
    with pytest.raises(TypeError, match=r"DoubleDQN: .*'n_step'; did you mean 'n_steps'\?"):
        DoubleDQN("MlpPolicy", "CartPole-v1", n_step=3)
    with pytest.raises(TypeError, match=r"PrioritizedDQN: .*policy_kwargs=dict\(dueling=...\)"):
        PrioritizedDQN("MlpPolicy", "CartPole-v1", dueling=True)
    with pytest.raises(TypeError, match=r"Rainbow: .*policy_kwargs=dict\(v_max=...\)"):
        Rainbow("MlpPolicy", "CartPole-v1", v_max=100.0)


@pytest.mark.parametrize(
    "kwargs",
    [{"gamma": 1.01}, {"n_steps": 0}, {"buffer_size": 0}, {"batch_size": 0}, {"tau": 2.0}, {"exploration_initial_eps": 1.5},
     {"exploration_final_eps": -0.1}, {"prioritized_replay_alpha": 1.5}, {"prioritized_replay_beta0": -1.0},
     {"prioritized_replay_beta_iters": 0}, {"prioritized_replay_eps": 0.0}, {"exploration_decay": 0.0},
     {"munchausen_alpha": 1.1}, {"munchausen_tau": 0.0}, {"munchausen_clip": 0.5}, {"execution": "jit"},
     {"mixed_precision": "fp8"}, {"buffer_size": 1e4}, {"n_steps": 2.5}, {"n_steps": True}, {"batch_size": 32.0}],
)  # fmt: skip
def test_arguments_out_of_range_are_named(kwargs: dict[str, Any]) -> None:
    ((name, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        ComposableDQN("MlpPolicy", "CartPole-v1", **kwargs)


@pytest.mark.parametrize("space", [spaces.Box(-1, 1, (2,)), spaces.MultiDiscrete([2, 3])])
def test_only_discrete_actions(space: spaces.Space) -> None:
    env = IdentityEnv(space=space)
    with pytest.raises(AssertionError, match=rf"{type(space).__name__}.* was provided. Wrap the environment"):
        ComposableDQN("MlpPolicy", env)


def test_batch_larger_than_the_buffer_is_found_when_learning_starts(tmp_path: Path) -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", buffer_size=1)  # what RL Zoo does to play a model
    with pytest.raises(ValueError, match="batch_size=32 is larger than buffer_size=1"):
        model.learn(10)


def test_prioritized_with_dict_or_foreign_buffer_is_refused_with_the_reason() -> None:
    env = SimpleMultiObsEnv(discrete_actions=True)
    with pytest.raises(ValueError, match=r"DictReplayBuffer holds no priorities and .* no Dict"):
        PrioritizedDQN("MultiInputPolicy", env)
    with pytest.raises(ValueError, match="ReplayBuffer holds no priorities"):
        PrioritizedDQN("MlpPolicy", "CartPole-v1", replay_buffer_class=ReplayBuffer)
    with pytest.raises((ValueError, AssertionError), match="Dict observation"):
        ComposableDQN("MultiInputPolicy", env, n_steps=3)


def test_policy_of_sb3_is_refused() -> None:
    from stable_baselines3.dqn import MlpPolicy

    with pytest.raises(ValueError, match="subclass of DQNExtPolicy"):
        ComposableDQN(MlpPolicy, "CartPole-v1")


def test_frame_stack_that_contradicts_the_environment() -> None:
    with pytest.raises(ValueError, match="contradicts the environment"):
        ComposableDQN("CnnPolicy", VecFrameStack(image_env(), 4), replay_buffer_kwargs={"frame_stack": 2}, **SMALL)
    with pytest.raises(ValueError, match="can't be cut into 3"):
        ComposableDQN("CnnPolicy", VecFrameStack(image_env(), 4), replay_buffer_kwargs={"frame_stack": 3}, **SMALL)


def test_depth_one_always_works_and_is_what_the_error_recommends() -> None:
    class Noisy(VecEnvWrapper):
        """Changes stacked pixels, so that they are no longer a stack."""

        def reset(self) -> np.ndarray:
            return self.venv.reset()

        def step_wait(self) -> tuple:
            obs, *rest = self.venv.step_wait()
            return (obs // 2 + np.random.randint(0, 9, size=obs.shape).astype(obs.dtype), *rest)

    with pytest.raises(ValueError, match=r"frame_stack=1"):
        ComposableDQN("CnnPolicy", Noisy(VecFrameStack(image_env(), 4)), **SMALL).learn(50)
    model = ComposableDQN("CnnPolicy", Noisy(VecFrameStack(image_env(), 4)), replay_buffer_kwargs={"frame_stack": 1}, **SMALL)
    model.learn(50)
    assert model.replay_buffer.size() == model.num_timesteps


def test_observations_of_another_dtype_are_stored_in_the_spaces_dtype() -> None:
    class Double(VecEnvWrapper):
        def reset(self) -> np.ndarray:
            return self.venv.reset().astype(np.float64) / 3

        def step_wait(self) -> tuple:
            obs, rewards, dones, infos = self.venv.step_wait()
            for info in infos:
                if "terminal_observation" in info:
                    info["terminal_observation"] = info["terminal_observation"].astype(np.float64) / 3
            return obs.astype(np.float64) / 3, rewards, dones, infos

    model = ComposableDQN("MlpPolicy", Double(make_vec_env("CartPole-v1", seed=0)), n_steps=3, **SMALL)
    model.learn(60)
    assert model.replay_buffer.dones.sum() == model._episode_num


def test_layout_that_differs_from_the_space_is_refused() -> None:
    env = VecNormalize(image_env(), norm_obs=False)  # SB3 puts VecTransposeImage outside, and the originals stay as they were
    with pytest.raises(ValueError, match="put VecTransposeImage inside"):
        ComposableDQN("CnnPolicy", env, **SMALL).learn(50)


def test_nan_in_the_first_observation_is_found() -> None:
    class BrokenAtTheStart(Broken):
        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
            return np.full(2, np.nan, np.float32), {}

    with pytest.raises(ValueError, match="Environment 0 gave an observation of nan at environment step 0"):
        ComposableDQN("MlpPolicy", DummyVecEnv([lambda: BrokenAtTheStart("")]), **SMALL).learn(10)


class Broken(gym.Env):
    """Gives NaN in its 7th step."""

    observation_space = spaces.Box(-1, 1, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, what: str) -> None:
        self.what, self.steps = what, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        bad = self.steps == 7
        obs = np.array([0.0, np.inf if bad and self.what == "observation" else 0.5], np.float32)
        return obs, float("nan") if bad and self.what == "reward" else 0.0, bad and self.what == "terminal", False, {}


def test_nan_and_infinity_are_named_with_environment_and_step() -> None:
    for what, value in (("reward", "nan"), ("observation", "inf")):
        env = DummyVecEnv([lambda: Broken(""), lambda what=what: Broken(what)])
        with pytest.raises(ValueError, match=rf"Environment 1 gave an? {what} of {value} at environment step 14"):
            ComposableDQN("MlpPolicy", env, **SMALL).learn(100)


def test_nan_in_a_terminal_observation_is_found() -> None:
    class BrokenAtTheEnd(Broken):
        def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
            self.steps += 1
            done = self.steps == 7
            return np.full(2, np.nan if done else 0.0, np.float32), 0.0, done, False, {}

    with pytest.raises(ValueError, match="Environment 0 gave a terminal observation of nan at environment step 7"):
        ComposableDQN("MlpPolicy", DummyVecEnv([lambda: BrokenAtTheEnd("")]), **SMALL).learn(100)


def test_files_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", **SMALL)
    model.save(tmp_path / "ours")
    with pytest.raises(FileNotFoundError, match="no model file"):
        ComposableDQN.load(tmp_path / "nothing")
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(ValueError, match="not a complete model file"):
        ComposableDQN.load(tmp_path / "text.zip")
    whole = (tmp_path / "ours.zip").read_bytes()
    (tmp_path / "short.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut short"):
        ComposableDQN.load(tmp_path / "short.zip")
    spot = whole.index(b"optimizer") + 400
    (tmp_path / "damaged.zip").write_bytes(whole[:spot] + b"\xff\x00\xff" + whole[spot + 3 :])
    with pytest.raises(ValueError, match=r"damaged|not a complete model file"):
        ComposableDQN.load(tmp_path / "damaged.zip")
    PPO("MlpPolicy", "CartPole-v1", device="cpu").save(tmp_path / "ppo")
    with pytest.raises(ValueError, match="not a model of sb3_dqn_ext"):
        ComposableDQN.load(tmp_path / "ppo")
    with pytest.raises(ValueError, match="spaces do not match"):
        ComposableDQN.load(tmp_path / "ours", env=IdentityEnv(4))


def test_a_crash_while_saving_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", **SMALL)
    model.save(tmp_path / "model")
    before = (tmp_path / "model.zip").read_bytes()
    monkeypatch.setattr(DQN, "get_parameters", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model.save(tmp_path / "model")
    assert (tmp_path / "model.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_replay_that_would_learn_otherwise_is_refused_and_the_models_own_kept(tmp_path: Path) -> None:
    saved = ComposableDQN("MlpPolicy", "CartPole-v1", **SMALL)
    saved.learn(20)
    saved.save_replay_buffer(tmp_path / "replay")
    for cls, kwargs, match in (
        (PrioritizedDQN, {}, r"alpha=0.0, the model alpha=0.6"),
        (ComposableDQN, {"n_steps": 3}, r"n_steps=1, the model n_steps=3"),
        (ComposableDQN, {"replay_buffer_class": ReplayBuffer}, "holds a FrameReplayBuffer, the model uses a ReplayBuffer"),
    ):
        model = cls("MlpPolicy", "CartPole-v1", **kwargs, **SMALL)
        own = model.replay_buffer
        with pytest.raises(ValueError, match=match):
            model.load_replay_buffer(tmp_path / "replay")
        assert model.replay_buffer is own


def test_parameters_of_sb3_leave_adam_fused() -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", **SMALL)
    model.set_parameters(DQN("MlpPolicy", "CartPole-v1", device="cpu").get_parameters())
    assert model.policy.optimizer.param_groups[0]["fused"] is True


def test_replay_of_another_number_of_environments_is_refused(tmp_path: Path) -> None:
    model = ComposableDQN("MlpPolicy", make_vec_env("CartPole-v1", n_envs=2), **SMALL)
    model.learn(20)
    model.save_replay_buffer(tmp_path / "replay")
    single = ComposableDQN("MlpPolicy", "CartPole-v1", **SMALL)
    with pytest.raises(ValueError, match="n_envs=2"):
        single.load_replay_buffer(tmp_path / "replay")
