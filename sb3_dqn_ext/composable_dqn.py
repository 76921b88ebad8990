"""ComposableDQN: SB3's DQN whose extensions are switched on one by one."""

import io
import pathlib
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, RolloutReturn, Schedule
from stable_baselines3.common.utils import polyak_update

from sb3_dqn_ext.exploration import explore, exponential_epsilon
from sb3_dqn_ext.files import atomic_path, check_model_file
from sb3_dqn_ext.learning import LearnStep, Munchausen, TDOutput
from sb3_dqn_ext.networks.heads import CategoricalHead
from sb3_dqn_ext.policies import (
    CnnPolicy,
    DataEfficientCnnPolicy,
    DQNExtPolicy,
    ImpalaCnnPolicy,
    MlpPolicy,
    MultiInputPolicy,
    QNetwork,
)
from sb3_dqn_ext.replay import Batch, FrameReplayBuffer, batch_from_samples, find_frame_stack
from sb3_dqn_ext.returns import SupportCheck
from sb3_dqn_ext.runtime import prepare_process
from sb3_dqn_ext.validation import check_arguments, check_finite, check_policy, check_replay_buffer

SelfComposableDQN = TypeVar("SelfComposableDQN", bound="ComposableDQN")


class ComposableDQN(DQN):
    """
    DQN with every extension off; each is switched on by its own argument, in any combination.

    With all of them off its updates equal those of SB3's ``DQN``. All of SB3's arguments keep name, position and default; ours
    are keyword-only.

    :param policy: ``MlpPolicy``, ``CnnPolicy``, ``DataEfficientCnnPolicy`` (small, made for CPUs), ``ImpalaCnnPolicy``
        (large), ``MultiInputPolicy``, or a subclass of ``DQNExtPolicy``, which describes the ``policy_kwargs``: ``dueling``,
        ``noisy``, ``head`` and the head's own
    :param env: The environment to learn from (if registered in Gym, can be str)
    :param learning_rate: The learning rate, it can be a function of the current progress remaining (from 1 to 0)
    :param buffer_size: size of the replay buffer, in transitions over all environments
    :param learning_starts: how many environment steps to collect with random actions before learning starts
    :param batch_size: Minibatch size for each gradient update
    :param tau: the soft update coefficient ("Polyak update", between 0 and 1), 1 for a hard update
    :param gamma: the discount factor of one environment step
    :param train_freq: Update the model every ``train_freq`` steps of the (vectorized) environment, or a tuple of frequency and
        unit like ``(5, "step")`` or ``(2, "episode")``
    :param gradient_steps: How many updates to do after each rollout; ``-1`` means as many as environment steps were done
    :param replay_buffer_class: Replay buffer class to use (for instance ``HerReplayBuffer``). If ``None``, it is
        ``FrameReplayBuffer``, or SB3's ``DictReplayBuffer`` for Dict observations.
    :param replay_buffer_kwargs: Keyword arguments for the replay buffer: ``FrameReplayBuffer`` takes ``reserved_size``,
        ``frame_stack`` and ``handle_timeout_termination``
    :param optimize_memory_usage: As in SB3 for SB3's buffers; ``FrameReplayBuffer`` always stores each frame once
    :param n_steps: Length of the n-step return. Works with every flag below, but not with Dict observations.
    :param target_update_interval: update the target network every ``target_update_interval`` environment steps
    :param exploration_fraction: fraction of the training over which epsilon is reduced linearly
    :param exploration_initial_eps: initial value of random action probability
    :param exploration_final_eps: final value of random action probability
    :param max_grad_norm: The maximum value for the gradient clipping
    :param stats_window_size: Number of episodes that logged means are taken over
    :param tensorboard_log: the log location for tensorboard (if None, no logging)
    :param policy_kwargs: additional arguments to be passed to the policy on creation
    :param verbose: 0 for no output, 1 for info messages (such as device or wrappers used), 2 for debug messages
    :param seed: Seed for the pseudo random generators
    :param device: Device (cpu, cuda, ...) on which the code should be run; "auto" takes the GPU if possible
    :param _init_setup_model: Whether or not to build the network at the creation of the instance
    :param double_q: select the next action with the online network (van Hasselt et al. 2016, arXiv 1509.06461)
    :param prioritized_replay: sample in proportion to the TD error (Schaul et al. 2016, arXiv 1511.05952)
    :param prioritized_replay_alpha: priority exponent, 0 (uniform) to 1
    :param prioritized_replay_beta0: importance-sampling exponent at the beginning; it grows linearly to 1
    :param prioritized_replay_beta_iters: environment steps until it is 1; if None, the whole training
    :param prioritized_replay_eps: added to the absolute TD error, so that nothing is never replayed
    :param exploration_decay: if given, epsilon is final + (initial - final) * exp(-step / exploration_decay), step in
        environment steps, and ``exploration_fraction`` has no effect
    :param munchausen: back up soft values and add the scaled log-policy to the reward (Vieillard, Pietquin & Geist 2020, arXiv
        2007.14430). With ``n_steps`` > 1 the first reward of the window gets the bonus.
    :param munchausen_alpha: scale of the log-policy, 0 (soft DQN) to 1
    :param munchausen_tau: temperature of the policy, in units of the reward
    :param munchausen_clip: smallest ``tau * log(policy)`` that is added (the paper's l_0), at most 0
    :param mixed_precision: ``"bf16"`` runs the networks in bfloat16 while learning (faster, rounds more); None does not
    :param execution: how an update is run: ``"eager"``; ``"compile"``, forward and backward by ``torch.compile`` (a minute of
        compiling first); ``"cuda_graph"``, the whole update replayed as one CUDA graph (NVIDIA GPUs). The results are the same
        to rounding.
    :raises ValueError: when an argument is out of range, or a combination is impossible
    :raises AssertionError: when the actions are not ``Discrete`` (SB3's exception)
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "DataEfficientCnnPolicy": DataEfficientCnnPolicy,
        "ImpalaCnnPolicy": ImpalaCnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    log_name: ClassVar[str] = "DQN"
    policy: DQNExtPolicy
    q_net: QNetwork
    q_net_target: QNetwork

    def __init__(
        self,
        policy: str | type[DQNExtPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-4,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = 1,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        target_update_interval: int = 10000,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        double_q: bool = False,
        prioritized_replay: bool = False,
        prioritized_replay_alpha: float = 0.6,
        prioritized_replay_beta0: float = 0.4,
        prioritized_replay_beta_iters: int | None = None,
        prioritized_replay_eps: float = 1e-6,
        exploration_decay: float | None = None,
        munchausen: bool = False,
        munchausen_alpha: float = 0.9,
        munchausen_tau: float = 0.03,
        munchausen_clip: float = -1.0,
        mixed_precision: str | None = None,
        execution: str = "eager",
    ) -> None:
        self.double_q = double_q
        self.prioritized_replay = prioritized_replay
        self.prioritized_replay_alpha = prioritized_replay_alpha
        self.prioritized_replay_beta0 = prioritized_replay_beta0
        self.prioritized_replay_beta_iters = prioritized_replay_beta_iters
        self.prioritized_replay_eps = prioritized_replay_eps
        self.exploration_decay = exploration_decay
        self.munchausen = munchausen
        self.munchausen_alpha = munchausen_alpha
        self.munchausen_tau = munchausen_tau
        self.munchausen_clip = munchausen_clip
        self.mixed_precision = mixed_precision
        self.execution = execution
        try:
            super().__init__(
                policy,  # type: ignore[arg-type]
                env,
                learning_rate,
                buffer_size,
                learning_starts,
                batch_size,
                tau,
                gamma,
                train_freq,
                gradient_steps,
                replay_buffer_class,
                replay_buffer_kwargs,
                optimize_memory_usage,
                n_steps,
                target_update_interval,
                exploration_fraction,
                exploration_initial_eps,
                exploration_final_eps,
                max_grad_norm,
                stats_window_size,
                tensorboard_log,
                policy_kwargs,
                verbose,
                seed,
                device,
                _init_setup_model,
            )
        except AssertionError as error:
            if "action spaces" not in str(error):
                raise
            # SB3's exception type, with what to do added.
            raise AssertionError(
                f"{error}. Wrap the environment so that it has one Discrete action, or use SAC or PPO."
            ) from error

    # Setting up

    def _setup_model(self) -> None:
        check_arguments(self)
        prepare_process()
        n_steps = self.n_steps
        if self._has_frame_replay():
            self.replay_buffer_class = FrameReplayBuffer if self.replay_buffer_class is None else self.replay_buffer_class
            self.replay_buffer = self._make_replay_buffer()
            self.n_steps = 1  # SB3 would warn that its own n-step buffer is not used
        super()._setup_model()
        self.n_steps = n_steps
        check_policy(self)
        self.learn_step = LearnStep(
            self.policy,
            self.double_q,
            self.max_grad_norm,
            Munchausen(self.munchausen_alpha, self.munchausen_tau, self.munchausen_clip) if self.munchausen else None,
            bf16=self.mixed_precision == "bf16",
            execution=self.execution if self.execution != "cuda_graph" or self.device.type == "cuda" else "eager",
        )
        head = self.q_net.head
        self._support_check = (
            SupportCheck(head.v_min, head.v_max, self.n_envs, self.gamma) if isinstance(head, CategoricalHead) else None
        )
        self._figures = th.zeros(3, device=self.device)  # sums of loss, TD error and value since the last dump
        self._n_figures = 0

    def _has_frame_replay(self) -> bool:
        """Whether the buffer is ours: by default, but for Dict observations and where the user chose another."""
        if self.replay_buffer_class is None:
            return not isinstance(self.observation_space, spaces.Dict)
        return issubclass(self.replay_buffer_class, FrameReplayBuffer)

    def _make_replay_buffer(self) -> FrameReplayBuffer:
        assert self.replay_buffer_class is not None
        arguments = {
            "n_steps": self.n_steps,
            "gamma": self.gamma,
            "alpha": self.prioritized_replay_alpha if self.prioritized_replay else 0.0,
            "eps": self.prioritized_replay_eps,
        }
        replay_buffer = self.replay_buffer_class(
            self.buffer_size,
            self.observation_space,
            self.action_space,
            device=self.device,
            n_envs=self.n_envs,
            optimize_memory_usage=self.optimize_memory_usage,
            **(arguments | self.replay_buffer_kwargs),
        )
        assert isinstance(replay_buffer, FrameReplayBuffer)
        self._find_frame_stack(replay_buffer)
        return replay_buffer

    def _find_frame_stack(self, replay_buffer: FrameReplayBuffer) -> None:
        """Let the buffer know how the environment stacks frames, unless the user said it of one where no wrapper tells."""
        if self.env is None:
            return
        found, given = find_frame_stack(self.env), self.replay_buffer_kwargs.get("frame_stack")
        if given is None:
            replay_buffer.set_frame_stack(found)
        elif given > 1 and found.depth > 1 and found != replay_buffer.frame_stack:
            raise ValueError(
                f"frame_stack={given} contradicts the environment, whose wrappers stack {found}. Leave it out of "
                "replay_buffer_kwargs: it is found from the wrappers. Or pass 1, which is always right and stores "
                "whole observations."
            )

    def set_random_seed(self, seed: int | None = None) -> None:
        """
        Set the seed of the pseudo-random generators (python, numpy, pytorch, environment, exploration, replay).

        :param seed: if None, exploration draws its seed from NumPy's global generator, and the others stay as they are
        """
        super().set_random_seed(seed)
        # A stream of its own: with the plain seed it would repeat what the replay draws.
        entropy = np.random.randint(2**31) if seed is None else seed
        self._rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(1,)))
        if seed is not None and isinstance(self.replay_buffer, FrameReplayBuffer) and "seed" not in self.replay_buffer_kwargs:
            self.replay_buffer.seed(seed)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        if self.batch_size > self.buffer_size:
            raise ValueError(
                f"batch_size={self.batch_size} is larger than buffer_size={self.buffer_size}: make buffer_size "
                "at least the batch size."
            )
        if isinstance(self.replay_buffer, FrameReplayBuffer):
            self._find_frame_stack(self.replay_buffer)
            if reset_num_timesteps or self._last_obs is None:
                self.replay_buffer.end_trajectory()  # the environment is about to be reset
        if self._support_check is not None and (reset_num_timesteps or self._last_obs is None):
            self._support_check.begin(self.n_envs)
        prepared = super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        assert self._last_obs is not None
        check_finite("observation", self._last_obs, self.num_timesteps)
        return prepared

    def learn(
        self: SelfComposableDQN,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfComposableDQN:
        """
        Learn for some environment steps, as SB3's ``learn``.

        :param total_timesteps: environment steps, over all environments
        :param callback: callback(s) called at every step of the vectorized environment
        :param log_interval: episodes between two log dumps
        :param tb_log_name: name of the run for TensorBoard; by default ``DQN`` as SB3's, a preset's own name otherwise
        :param reset_num_timesteps: count (and schedule) from zero, and reset the environment
        :param progress_bar: display a progress bar using tqdm and rich
        :return: the model
        """
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name or self.log_name, reset_num_timesteps, progress_bar
        )

    # Acting

    def predict(
        self,
        observation: np.ndarray | dict[str, np.ndarray],
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """
        Epsilon-greedy actions; each environment draws its own epsilon.

        :param observation: one observation, or one for each environment
        :param state: not used, returned as it is
        :param episode_start: not used
        :param deterministic: whether to leave out the exploration
        :return: int64 [E] (or a scalar for one observation), and ``state``
        """
        if deterministic or self.exploration_rate <= 0:
            return self.policy.predict(observation, state, episode_start, deterministic)
        some = next(iter(observation.values())) if isinstance(observation, dict) else observation
        vectorized = self.policy.is_vectorized_observation(observation)
        explores = explore(len(some) if vectorized else 1, self.exploration_rate, self._rng)
        actions = self._random_actions(len(explores))
        if not explores.all():
            greedy, state = self.policy.predict(observation, state, episode_start, deterministic)
            actions = np.where(explores, actions, greedy)
        return (actions if vectorized else np.asarray(actions[0])), state

    def _random_actions(self, n_envs: int) -> np.ndarray:
        assert isinstance(self.action_space, spaces.Discrete)
        return self._rng.integers(self.action_space.n, size=n_envs)

    def _sample_action(self, learning_starts: int, action_noise: Any = None, n_envs: int = 1) -> tuple[np.ndarray, np.ndarray]:
        if self.num_timesteps < learning_starts:
            actions = self._random_actions(n_envs)
            return actions, actions
        return super()._sample_action(learning_starts, action_noise, n_envs)

    def _store_transition(
        self,
        replay_buffer: ReplayBuffer,
        buffer_action: np.ndarray,
        new_obs: np.ndarray | dict[str, np.ndarray],
        reward: np.ndarray,
        dones: np.ndarray,
        infos: list[dict[str, Any]],
    ) -> None:
        check_finite("reward", reward, self.num_timesteps)
        check_finite("observation", new_obs, self.num_timesteps)
        for env in np.flatnonzero(dones):
            if (last := infos[env].get("terminal_observation")) is not None:
                last = (
                    {key: values[None] for key, values in last.items()} if isinstance(last, dict) else np.asarray(last)[None]
                )
                check_finite("terminal observation", last, self.num_timesteps, int(env))
        if self._support_check is not None:
            self._support_check.add(reward, dones, infos)
        super()._store_transition(replay_buffer, buffer_action, new_obs, reward, dones, infos)

    def collect_rollouts(self, *args: Any, **kwargs: Any) -> RolloutReturn:
        """
        Collect experience, as SB3's.

        :param args: as SB3's
        :param kwargs: as SB3's
        :return: what was collected
        """
        rollout = super().collect_rollouts(*args, **kwargs)
        if not rollout.continue_training:
            # SB3 leaves before the last step is stored, so the environment is one step ahead: let the next learn() reset it.
            self._last_obs = None
        return rollout

    def _on_step(self) -> None:
        """Update the target network and epsilon. Called after each step of the vectorized environment."""
        self._n_calls += 1
        if self._n_calls % max(self.target_update_interval // self.n_envs, 1) == 0:
            polyak_update(self.q_net.parameters(), self.q_net_target.parameters(), self.tau)
            for buffer, target in zip(self.q_net.buffers(), self.q_net_target.buffers(), strict=True):
                target.copy_(buffer)
        self.exploration_rate = self._epsilon()
        self.logger.record("rollout/exploration_rate", self.exploration_rate)

    def _epsilon(self) -> float:
        if self.exploration_decay is None:
            return self.exploration_schedule(self._current_progress_remaining)
        return exponential_epsilon(
            self.num_timesteps, self.exploration_initial_eps, self.exploration_final_eps, self.exploration_decay
        )

    # Learning

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """
        Do some updates.

        :param gradient_steps: number of updates
        :param batch_size: transitions in each
        """
        self.policy.set_training_mode(True)
        learning_rate = self.lr_schedule(self._current_progress_remaining)
        self.logger.record("train/learning_rate", learning_rate)
        self.learn_step.update.set_learning_rate(learning_rate)
        for _ in range(gradient_steps):
            output = self._update(batch_size)
            self._figures += th.stack([output.loss, output.td_error.mean(), output.q_mean])
        self.policy.set_training_mode(False)
        self._n_figures += gradient_steps
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")

    def _update(self, batch_size: int) -> TDOutput:
        if isinstance(self.replay_buffer, FrameReplayBuffer):
            batch, slots = self.replay_buffer.sample_batch(batch_size, env=self._vec_normalize_env, beta=self._beta())
            output = self.learn_step(batch)
            if self.replay_buffer.alpha > 0:
                self.replay_buffer.update_priorities(slots, output.td_error.numpy(force=True))
            return output
        return self.learn_step(self._sample_sb3_buffer(batch_size))

    def _sample_sb3_buffer(self, batch_size: int) -> Batch:
        assert self.replay_buffer is not None
        return batch_from_samples(self.replay_buffer.sample(batch_size, env=self._vec_normalize_env), self.gamma)

    def _beta(self) -> float:
        """Importance-sampling exponent, annealed from ``beta0`` to 1 (Schaul et al. 2016, section 3.4)."""
        done = 1.0 - self._current_progress_remaining
        if self.prioritized_replay_beta_iters is not None:
            done = self.num_timesteps / self.prioritized_replay_beta_iters
        return self.prioritized_replay_beta0 + min(1.0, done) * (1.0 - self.prioritized_replay_beta0)

    def training_figures(self) -> dict[str, float]:
        """
        Read what was accumulated since the last log dump; the only place where the learner's device is waited for.

        :return: means over the updates of ``train/loss``, ``train/td_error`` and ``train/q_mean``, empty without an update
        """
        if self._n_figures == 0:
            return {}
        means = (self._figures / self._n_figures).tolist()
        return dict(zip(("train/loss", "train/td_error", "train/q_mean"), means, strict=True))

    def dump_logs(self) -> None:
        """Write log data."""
        for name, value in self.training_figures().items():
            self.logger.record(name, value)
        if self._n_figures > 0:
            if self.prioritized_replay:
                self.logger.record("train/beta", self._beta())
            self._figures.zero_()
            self._n_figures = 0
        super().dump_logs()

    # Saving

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "learn_step", "_figures", "_n_figures", "_rng", "_support_check"]

    def save(self, path: str | pathlib.Path | io.BufferedIOBase, exclude: Any = None, include: Any = None) -> None:
        """
        Save the model in a zip file. A file that exists is replaced when the new one is complete, not before.

        :param path: path to the file (".zip" is added if it has no suffix), or an open file
        :param exclude: names of attributes to leave out besides the default ones
        :param include: names of attributes to save all the same
        """
        if not isinstance(path, (str, pathlib.Path)):
            return super().save(path, exclude, include)
        path = pathlib.Path(path)
        with atomic_path(path if path.suffix else path.with_suffix(".zip")) as draft:
            super().save(draft, exclude, include)

    @classmethod
    def load(
        cls: type[SelfComposableDQN], path: str | pathlib.Path | io.BufferedIOBase, *args: Any, **kwargs: Any
    ) -> SelfComposableDQN:
        """
        Load a model, as SB3's ``load``.

        :param path: path to the file (".zip" may be left out), or an open file
        :param args: as SB3's
        :param kwargs: as SB3's
        :return: new model instance with loaded parameters
        :raises ValueError: when the file is not a complete model of this package, or was trained on other spaces
        """
        if isinstance(path, (str, pathlib.Path)):
            path = pathlib.Path(path)
            path = path if path.exists() else path.with_name(path.name + ".zip")
        check_model_file(path)  # type: ignore[arg-type]
        return super().load(path, *args, **kwargs)

    def load_replay_buffer(self, path: str | pathlib.Path | io.BufferedIOBase, truncate_last_traj: bool = True) -> None:
        """
        Load a replay buffer from a pickle file. Only load files that you trust.

        :param path: path to the pickled replay buffer
        :param truncate_last_traj: as SB3's, for ``HerReplayBuffer``
        :raises ValueError: when the buffer does not fit the model; the model then keeps its own
        """
        before = self.replay_buffer
        super().load_replay_buffer(path, truncate_last_traj)
        loaded = self.replay_buffer
        assert loaded is not None
        try:
            check_replay_buffer(self, loaded, before)
        except ValueError:
            self.replay_buffer = before
            raise
        if isinstance(loaded, FrameReplayBuffer):
            loaded.end_trajectory()

    def set_parameters(self, load_path_or_dict: Any, exact_match: bool = True, device: th.device | str = "auto") -> None:
        """
        Load parameters, as SB3's.

        :param load_path_or_dict: a file, or what ``get_parameters`` returns (of SB3's DQN too)
        :param exact_match: whether every parameter must be given
        :param device: where to load them
        """
        # How Adam runs is a matter of this optimizer, not of the one that the parameters come from.
        ways: list[dict[str, Any]] = [
            {way: group[way] for way in ("fused", "foreach", "capturable") if way in group}
            for group in self.policy.optimizer.param_groups
        ]
        super().set_parameters(load_path_or_dict, exact_match, device)
        for group, way in zip(self.policy.optimizer.param_groups, ways, strict=True):
            group.update(way)
        self.learn_step.reset()
