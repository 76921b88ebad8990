"""Atari games as a fast Stable-Baselines3 vector environment."""

from sb3_dqn_ext.atari.make import make_atari_vec_env
from sb3_dqn_ext.atari.vec_env import AtariVecEnv

__all__ = ["AtariVecEnv", "make_atari_vec_env"]
