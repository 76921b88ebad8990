"""The DQN family that Stable-Baselines3 lacks, as SB3 classes."""

from sb3_dqn_ext.algorithms import DoubleDQN, DuelingDQN, PrioritizedDQN
from sb3_dqn_ext.atari import AtariVecEnv, make_atari_vec_env
from sb3_dqn_ext.composable_dqn import ComposableDQN
from sb3_dqn_ext.replay import FrameReplayBuffer
from sb3_dqn_ext.version import __version__

__all__ = [
    "AtariVecEnv",
    "ComposableDQN",
    "DoubleDQN",
    "DuelingDQN",
    "FrameReplayBuffer",
    "PrioritizedDQN",
    "__version__",
    "make_atari_vec_env",
]
