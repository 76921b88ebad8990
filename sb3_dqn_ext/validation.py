"""What a user can get wrong, found at once and named with its remedy."""

from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces

from sb3_dqn_ext.policies import DQNExtPolicy

if TYPE_CHECKING:
    from sb3_dqn_ext.composable_dqn import ComposableDQN


def check_arguments(model: "ComposableDQN") -> None:
    """
    :param model: with its constructor's arguments as attributes
    :raises ValueError: when one is out of range, or some don't go together
    """
    rules: list[tuple[str, bool, str]] = [
        ("policy", issubclass(model.policy_class, DQNExtPolicy), "use a policy alias or a subclass of DQNExtPolicy"),
        ("buffer_size", model.buffer_size >= 1, "use at least 1 transition"),
        ("batch_size", model.batch_size >= 1, "use at least 1"),
        ("tau", 0 <= model.tau <= 1, "use 1 for hard updates, less for soft ones"),
        ("gamma", 0 <= model.gamma <= 1, "use a number from 0 to 1"),
        ("n_steps", model.n_steps >= 1, "use 1 for one-step targets"),
        ("exploration_initial_eps", 0 <= model.exploration_initial_eps <= 1, "use a probability"),
        ("exploration_final_eps", 0 <= model.exploration_final_eps <= 1, "use a probability"),
        ("prioritized_replay_alpha", 0 <= model.prioritized_replay_alpha <= 1, "use 0 (uniform) to 1 (fully prioritized)"),
        ("prioritized_replay_beta0", 0 <= model.prioritized_replay_beta0 <= 1, "use a number from 0 to 1"),
        (
            "prioritized_replay_beta_iters",
            model.prioritized_replay_beta_iters is None or model.prioritized_replay_beta_iters > 0,
            "use a number of environment steps, or None for the whole training",
        ),
        ("prioritized_replay_eps", model.prioritized_replay_eps > 0, "use a small positive number"),
        (
            "exploration_decay",
            model.exploration_decay is None or model.exploration_decay > 0,
            "use a number of environment steps, or None for the linear schedule",
        ),
        ("mixed_precision", model.mixed_precision in (None, "bf16"), "use 'bf16' or None"),
    ]
    for name, holds, remedy in rules:
        if not holds:
            raise ValueError(f"{name}={getattr(model, name, model.policy_class)!r} is not possible: {remedy}.")
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


def check_finite(name: str, values: np.ndarray, step: int, first_env: int = 0) -> None:
    """
    :param name: what the values are
    :param values: [E, ...]
    :param step: environment steps so far
    :param first_env: the environment that the first of them belongs to
    :raises ValueError: when one is NaN or infinite
    """
    values = np.asarray(values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        env = int((~np.isfinite(values)).reshape(len(values), -1).any(axis=1).argmax())
        bad = values[env][~np.isfinite(values[env])].flat[0]
        raise ValueError(
            f"Environment {first_env + env} gave a {name} of {bad} at environment step {step}. Mend the environment, or find "
            "the cause with stable_baselines3.common.vec_env.VecCheckNan."
        )
