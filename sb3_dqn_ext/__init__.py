"""The DQN family that Stable-Baselines3 lacks, as SB3 classes."""

from sb3_dqn_ext.algorithms import (
    BTR,
    C51,
    IQN,
    QRDQN,
    DoubleDQN,
    DuelingDQN,
    MunchausenDQN,
    NoisyDQN,
    PrioritizedDQN,
    Rainbow,
)
from sb3_dqn_ext.atari import AtariVecEnv, make_atari_vec_env
from sb3_dqn_ext.composable_dqn import ComposableDQN
from sb3_dqn_ext.replay import FrameReplayBuffer
from sb3_dqn_ext.version import __version__

__all__ = [
    "BTR",
    "C51",
    "IQN",
    "QRDQN",
    "AtariVecEnv",
    "ComposableDQN",
    "DoubleDQN",
    "DuelingDQN",
    "FrameReplayBuffer",
    "MunchausenDQN",
    "NoisyDQN",
    "PrioritizedDQN",
    "Rainbow",
    "__version__",
    "make_atari_vec_env",
]
