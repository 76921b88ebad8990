"""What a user can get wrong, found at once and named with its remedy."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer

from sb3_dqn_ext.learning.execution import EXECUTIONS
from sb3_dqn_ext.policies import DQNExtPolicy
from sb3_dqn_ext.replay import FrameReplayBuffer

if TYPE_CHECKING:
    from sb3_dqn_ext.composable_dqn import ComposableDQN


def check_arguments(model: "ComposableDQN") -> None:
    """
    :param model: with its constructor's arguments as attributes
    :raises ValueError: when one is out of range, or some don't go together
    """
    for name in ("buffer_size", "batch_size", "n_steps", "prioritized_replay_beta_iters"):
        value = getattr(model, name)
        if name == "prioritized_replay_beta_iters" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={value!r} is not possible: use a whole number, 1 or more.")
    rules: list[tuple[str, bool, str]] = [
        ("policy", issubclass(model.policy_class, DQNExtPolicy), "use a policy alias or a subclass of DQNExtPolicy"),
        ("tau", 0 <= model.tau <= 1, "use 1 for hard updates, less for soft ones"),
        ("gamma", 0 <= model.gamma <= 1, "use a number from 0 to 1"),
        ("exploration_initial_eps", 0 <= model.exploration_initial_eps <= 1, "use a probability"),
        ("exploration_final_eps", 0 <= model.exploration_final_eps <= 1, "use a probability"),
        ("prioritized_replay_alpha", 0 <= model.prioritized_replay_alpha <= 1, "use 0 (uniform) to 1 (fully prioritized)"),
        ("prioritized_replay_beta0", 0 <= model.prioritized_replay_beta0 <= 1, "use a number from 0 to 1"),
        ("prioritized_replay_eps", model.prioritized_replay_eps > 0, "use a small positive number"),
        (
            "exploration_decay",
            model.exploration_decay is None or model.exploration_decay > 0,
            "use a number of environment steps, or None for the linear schedule",
        ),
        ("munchausen_alpha", 0 <= model.munchausen_alpha <= 1, "use 0.9 as the paper, or any number from 0 to 1"),
        ("munchausen_tau", model.munchausen_tau > 0, "use 0.03 as the paper, or any positive number"),
        ("munchausen_clip", model.munchausen_clip <= 0, "use -1 as the paper, or any number up to 0"),
        ("mixed_precision", model.mixed_precision in (None, "bf16"), "use 'bf16' or None"),
        ("execution", model.execution in EXECUTIONS, f"use one of {', '.join(map(repr, EXECUTIONS))}"),
    ]
    for name, holds, remedy in rules:
        if not holds:
            raise ValueError(f"{name}={getattr(model, name, model.policy_class)!r} is not possible: {remedy}.")
    if model.munchausen and model.double_q:
        raise ValueError(
            "munchausen=True with double_q=True is not possible: Munchausen backs up the mean over a soft policy, so there "
            "is no next action that the online network could select. Leave one of them out."
        )
    if model.execution == "cuda_graph" and model.device.type != "cuda":
        # No error, or a model trained on a GPU could not be loaded elsewhere
        warnings.warn(
            f"execution='cuda_graph' needs an NVIDIA GPU, and the device is '{model.device}': updates run eagerly.",
            stacklevel=2,
        )
    if not model._has_frame_replay():
        buffer = "DictReplayBuffer" if model.replay_buffer_class is None else model.replay_buffer_class.__name__
        if model.prioritized_replay:
            raise ValueError(
                f"prioritized_replay=True needs FrameReplayBuffer, because {buffer} holds no priorities"
                + (" and FrameReplayBuffer no Dict observations" if isinstance(model.observation_space, spaces.Dict) else "")
                + ": leave prioritized_replay or replay_buffer_class out."
            )
        if model.n_steps > 1 and model.replay_buffer_class is None:
            raise ValueError(f"n_steps={model.n_steps} is not possible with Dict observations: use n_steps=1.")


def check_policy(model: "ComposableDQN") -> None:
    """
    :param model: with its policy made
    :raises ValueError: when the policy's head does not go together with the model's learning rule
    """
    if model.munchausen and model.policy.head == "categorical":
        raise ValueError(
            "munchausen=True with head='categorical' is not possible: the bonus of each action would have to shift fixed "
            "atoms. Use head='scalar', 'quantile' or 'implicit_quantile'."
        )
    if model.execution == "cuda_graph" and "capturable" not in model.policy.optimizer.defaults:
        raise ValueError(
            f"execution='cuda_graph' cannot capture {type(model.policy.optimizer).__name__}: use Adam, or execution='eager'."
        )
    if model.policy.noisy and model.policy.sigma0 > 0 and model.exploration_final_eps > 0.01:
        warnings.warn(
            f"The noisy layers explore, and epsilon-greedy with exploration_final_eps={model.exploration_final_eps} does so "
            "on top of them. Pass exploration_initial_eps=0 and exploration_final_eps=0 (NoisyDQN and Rainbow do).",
            stacklevel=2,
        )


def check_replay_buffer(model: "ComposableDQN", loaded: ReplayBuffer, expected: ReplayBuffer | None) -> None:
    """
    :param model: the model that a buffer was loaded for
    :param loaded: the buffer
    :param expected: the buffer that the model made for itself, if it still has it
    :raises ValueError: when they would not learn alike
    """
    names = ["n_envs", "observation_space", "action_space"]
    if expected is not None and isinstance(loaded, FrameReplayBuffer) != isinstance(expected, FrameReplayBuffer):
        raise ValueError(
            f"The file holds a {type(loaded).__name__}, the model uses a {type(expected).__name__}: load a buffer "
            "that was saved by the same algorithm, or pass its class as replay_buffer_class."
        )
    if isinstance(loaded, FrameReplayBuffer) and isinstance(expected, FrameReplayBuffer):
        names += ["n_steps", "gamma", "alpha"]
    for name in names:
        theirs = getattr(loaded, name)
        ours = getattr(model if expected is None else expected, name)
        if theirs != ours:
            raise ValueError(
                f"The replay buffer in the file has {name}={theirs}, the model {name}={ours}: create the model with "
                "the settings that the buffer was filled with."
            )


def check_finite(
    name: str, values: np.ndarray | tuple[np.ndarray, ...] | dict[str, np.ndarray], step: int, first_env: int = 0
) -> None:
    """
    :param name: what the values are
    :param values: [E, ...], or a dict of such
    :param step: environment steps so far
    :param first_env: the environment that the first of them belongs to
    :raises ValueError: when one is NaN or infinite
    """
    for array in values.values() if isinstance(values, dict) else [values]:
        array = np.asarray(array)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            env = int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).argmax())
            bad = array[env][~np.isfinite(array[env])].flat[0]
            article = "an" if name[0] in "aeiou" else "a"
            raise ValueError(
                f"Environment {first_env + env} gave {article} {name} of {bad} at environment step {step}. Mend the "
                "environment, or find the cause with stable_baselines3.common.vec_env.VecCheckNan."
            )
