"""The YAML files: every algorithm has its blocks, and each makes a model."""

from typing import Any

import pytest
import yaml
from stable_baselines3.common.envs import FakeImageEnv
from stable_baselines3.common.vec_env import DummyVecEnv
from zoo import ALGORITHMS, FOLDER, make_model, read_config

FILES = {path.stem: path for path in FOLDER.glob("*.yml")}


def test_every_algorithm_has_a_file_and_data_efficient_rainbow_another() -> None:
    assert set(FILES) == set(ALGORITHMS) | {"data_efficient_rainbow"}
    for algo in ALGORITHMS:
        assert list(yaml.safe_load(FILES[algo].read_text())) == ["atari", "CartPole-v1", "LunarLander-v3"]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "LunarLander-v3"])
@pytest.mark.parametrize("algo", ALGORITHMS)
def test_blocks_for_vectors_make_a_model_that_learns(algo: str, env_id: str) -> None:
    model, steps = make_model(algo, env_id, seed=0)
    assert steps >= 50_000
    model.learning_starts, model.batch_size, model.gradient_steps = 10, 8, 1
    model.learn(40 if env_id == "LunarLander-v3" else 300)
    assert model._n_updates > 0


@pytest.mark.parametrize("name", FILES)
def test_atari_blocks_make_a_model(name: str) -> None:
    block: dict[str, Any] = read_config(name, "atari")
    for key in ("env_wrapper", "frame_stack", "n_timesteps"):
        block.pop(key)
    env = DummyVecEnv([lambda: FakeImageEnv(84, 84, n_channels=4, discrete=True, channel_first=True)] * block.pop("n_envs", 1))
    algo = ALGORITHMS["rainbow" if name == "data_efficient_rainbow" else name]
    model = algo(env=env, device="cpu", **block)
    actions, _ = model.predict(env.reset(), deterministic=True)
    assert actions.shape == (env.num_envs,)


def test_papers_numbers() -> None:
    """Literal values from the papers' tables (frames are four environment steps)."""
    rainbow = read_config("rainbow", "atari")
    assert (rainbow["learning_rate"], rainbow["learning_starts"], rainbow["target_update_interval"]) == (
        6.25e-5,
        20_000,
        8_000,
    )
    assert rainbow["policy_kwargs"]["optimizer_kwargs"]["eps"] == 1.5e-4
    efficient = read_config("data_efficient_rainbow", "atari")
    expected = {"n_timesteps": 100_000, "n_steps": 20, "learning_starts": 1600, "train_freq": 1,
                "target_update_interval": 2000, "policy": "DataEfficientCnnPolicy"}  # fmt: skip
    assert expected.items() <= efficient.items()
    assert efficient["policy_kwargs"]["sigma0"] == 0.1
    btr = read_config("btr", "atari")
    expected = {"n_envs": 64, "batch_size": 256, "gamma": 0.997, "target_update_interval": 500 * 64, "train_freq": 1}
    assert expected.items() <= btr.items()
