"""Reads ``zoo_configs/``, the files in which RL Zoo finds an algorithm's hyper-parameters."""

from pathlib import Path
from typing import Any

import yaml
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import sb3_dqn_ext
from sb3_dqn_ext import ComposableDQN

FOLDER = Path(__file__).parents[2] / "zoo_configs"

ALGORITHMS: dict[str, type[ComposableDQN]] = {
    "composable_dqn": sb3_dqn_ext.ComposableDQN,
    "double_dqn": sb3_dqn_ext.DoubleDQN,
    "dueling_dqn": sb3_dqn_ext.DuelingDQN,
    "prioritized_dqn": sb3_dqn_ext.PrioritizedDQN,
    "noisy_dqn": sb3_dqn_ext.NoisyDQN,
    "c51": sb3_dqn_ext.C51,
    "qr_dqn": sb3_dqn_ext.QRDQN,
    "iqn": sb3_dqn_ext.IQN,
    "munchausen_dqn": sb3_dqn_ext.MunchausenDQN,
    "rainbow": sb3_dqn_ext.Rainbow,
    "btr": sb3_dqn_ext.BTR,
}


def read_config(algo: str, env_id: str) -> dict[str, Any]:
    """
    :param algo: name of a file in ``zoo_configs/``, without suffix
    :param env_id: one of its blocks
    :return: the block
    """
    return dict(yaml.safe_load((FOLDER / f"{algo}.yml").read_text())[env_id])


def make_model(algo: str, env_id: str, seed: int) -> tuple[ComposableDQN, int]:
    """
    Make a model of a block for vectors, as RL Zoo would.

    :param algo: a key of :data:`ALGORITHMS`
    :param env_id: a gymnasium environment
    :param seed: of model and environment
    :return: the model and its environment steps
    """
    arguments = read_config(algo, env_id)
    steps, n_envs = int(arguments.pop("n_timesteps")), arguments.pop("n_envs", 1)
    env: VecEnv = make_vec_env(env_id, n_envs, seed=seed)
    return ALGORITHMS[algo](env=env, seed=seed, **arguments), steps
