"""The tutorials, each run to its end with tiny settings: what they write must say what happened."""

import csv
import importlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.base_class import BaseAlgorithm

from sb3_dqn_ext import ComposableDQN, DoubleDQN, PrioritizedDQN

SCRIPTS = Path(__file__).parents[2] / "scripts"
NAMES = ("cartpole", "cliff_walking", "double_dqn_diagnostics", "lunar_lander", "space_invaders")


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python does for a script: its folder is where it finds ``common``."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    for module in ("common", "space_invaders"):
        film = script(module).record_video
        # The beginning of a film takes the same code as the whole of it
        short = lambda *args, film=film, **kwargs: film(*args, **(kwargs | {"max_steps": 40}))  # noqa: E731
        monkeypatch.setattr(script(module), "record_video", short)


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def run(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Runs the script, checks what all of them promise, and gives its summary."""
    script(name).main([*arguments, "--output", str(folder)])
    for file in ("learning_curve.png", "trained.mp4", "random.mp4", "model.zip", "summary.md"):
        assert (folder / file).stat().st_size > 0, file
    assert (folder / "trained.mp4").read_bytes() != (folder / "random.mp4").read_bytes()
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    assert summary["game"] == name
    assert summary["command"].startswith(f"python scripts/{name}.py")
    for agent in ("trained", "random"):
        assert summary[agent]["mean"] == pytest.approx(np.mean(summary[agent]["scores"]))
    return summary


def episodes(folder: Path) -> list[dict[str, float]]:
    with (folder / "episodes.csv").open() as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def captured(monkeypatch: pytest.MonkeyPatch, cls: type[BaseAlgorithm]) -> list[Any]:
    """The models that learn from now on."""
    models: list[Any] = []
    learn = cls.learn

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        models.append(self)
        return learn(self, *args, **kwargs)

    monkeypatch.setattr(cls, "learn", spy)
    return models


@pytest.mark.parametrize("name", NAMES)
def test_help_teaches(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script(name).main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "You will see" in text or "The panels" in text
    assert "--seed" in text and "--output" in text and "default: " in text


def test_runs_as_a_script() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "cartpole.py"), "--steps", "0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "--steps: 0 must be at least 1" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_unwritable_folder_is_found_before_training(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = captured(monkeypatch, ComposableDQN)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        script(name).main(["--output", str(tmp_path / "file" / "run")])
    assert "cannot be used as an output folder" in capsys.readouterr().err
    assert not models


def test_cartpole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = captured(monkeypatch, ComposableDQN)
    summary = run("cartpole", tmp_path / "run", "--steps", "1000", "--seed", "3")
    assert (summary["steps"], summary["seed"]) == (1000, 3)
    (model,) = models
    assert (model.buffer_size, model.learning_starts, model.batch_size, model.learning_rate) == (100_000, 100, 64, 1e-3)
    assert model.policy.net_arch == [100, 50]
    assert model._n_updates == 900  # one in each step after the first hundred
    # A score counts steps, none beyond the limit
    for game in episodes(tmp_path / "run"):
        assert game["score"] == game["length"] <= 200
    evaluations = np.load(tmp_path / "run" / "evaluations.npz")
    assert evaluations["results"].shape == (1, 10)
    assert summary["random"]["mean"] < 60
    assert DoubleDQN.load(tmp_path / "run" / "best_model.zip").num_timesteps == 1000


def test_cartpole_limit_is_a_truncation() -> None:
    env = script("cartpole").make_env()
    observation, _ = env.reset(seed=0)
    for step in range(1, 201):
        # A hand-made controller, which balances for as long as it is asked to
        action = int(observation[2] + 0.3 * observation[3] + 0.02 * observation[0] + 0.1 * observation[1] > 0)
        observation, _, terminated, truncated, _ = env.step(action)
        assert not terminated
        assert truncated == (step == 200)
    env.close()


@pytest.mark.parametrize("target", [["--tau", "0.02"], ["--hard", "50"]])
def test_cliff_walking(target: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = captured(monkeypatch, ComposableDQN)
    summary = run("cliff_walking", tmp_path / "run", "--steps", "1200", "--decay", "400", *target)
    (model,) = models
    assert (model.tau, model.target_update_interval) == ((0.02, 1) if target[0] == "--tau" else (1.0, 50))
    games = episodes(tmp_path / "run")
    assert games
    for game in games:
        assert game["epsilon"] == pytest.approx(0.02 + 0.98 * np.exp(-(game["step"] - 1) / 400))
        assert game["length"] <= 200
        falls = (-game["score"] - game["length"]) / 99
        assert falls == int(falls) >= 0
    # The random walker falls, its limit keeps the length
    assert summary["random"]["mean"] < -200
    assert max(summary["random"]["lengths"]) == 200
    path = (tmp_path / "run" / "path.txt").read_text().splitlines()
    assert [len(row.split()) for row in path] == [12] * 4


def test_cliff_walking_draws_the_greedy_path() -> None:
    class AlongTheEdge:
        def predict(self, field: int, deterministic: bool) -> tuple[int, None]:
            assert deterministic
            return (0 if field == 36 else 2 if field == 35 else 1), None

    path, score = script("cliff_walking").draw_path(AlongTheEdge())
    assert score == -13
    assert path.splitlines() == [
        ". . . . . . . . . . . .",
        ". . . . . . . . . . . .",
        "> > > > > > > > > > > v",
        "^ # # # # # # # # # # G",
    ]


def test_lunar_lander_and_continuing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lunar_lander = script("lunar_lander")
    monkeypatch.setattr(lunar_lander, "EVAL_EVERY", 1_200)
    monkeypatch.setattr(lunar_lander, "EVAL_GAMES", 2)
    monkeypatch.setattr(lunar_lander, "REFILL", 1_000)
    models = captured(monkeypatch, ComposableDQN)
    first = run("lunar_lander", tmp_path / "first", "--steps", "2400", "--games", "2")
    assert len(first["trained"]["scores"]) == 2
    continued = ["--continue-from", str(tmp_path / "first" / "best_model.zip")]
    run("lunar_lander", tmp_path / "second", "--steps", "800", "--games", "1", *continued)

    new, refilled, old = models
    assert new.double_q and new._n_updates == 2 * (2400 - 2000) // 4
    assert "LeakyReLU" in str(new.q_net) and "LeakyReLU" in str(old.q_net)
    # Epsilon, as it was in the step that ended the game: linear in steps over the first quarter from 1, and where a
    # trained model goes on, low from the beginning
    for game in episodes(tmp_path / "first"):
        assert game["epsilon"] == pytest.approx(max(0.02, 1 - 0.98 * (game["step"] - 4) / 600), abs=1e-6)
    assert all(game["epsilon"] == pytest.approx(0.02) for game in episodes(tmp_path / "second"))
    # It was saved within step 2,400, before the two updates; refilled its memory without one; then learned in every step
    assert refilled is old
    assert (old.num_timesteps, old._n_updates) == (800, 198 + 2 * 800 // 4)
    assert old.replay_buffer.size() * 4 >= 1000 + 800


def test_diagnostics_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = captured(monkeypatch, ComposableDQN)
    flags = ["--no-replay", "--no-double", "--prioritized", "--reserved", "100", "--no-stop"]
    run("double_dqn_diagnostics", tmp_path / "run", "--steps", "1500", *flags)
    (model,) = models
    assert not model.double_q and model.prioritized_replay
    assert (model.replay_buffer.buffer_size, model.replay_buffer.reserved_size) == (64 + 100, 100)
    with (tmp_path / "run" / "training.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1025, 1501, 25))
    assert all(float(row["loss"]) > 0 and np.isfinite(float(row["q_mean"])) for row in rows)


def test_diagnostics_stops_at_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diagnostics = script("double_dqn_diagnostics")
    monkeypatch.setattr(diagnostics, "TARGET", 5)  # which any agent reaches in its first evaluation
    summary = run("double_dqn_diagnostics", tmp_path / "run", "--steps", "3000")
    assert summary["steps"] == 1000
    assert summary["stopped_by"] != "steps done"


def test_space_invaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    space_invaders = script("space_invaders")
    short_games = partial(space_invaders.make_atari_vec_env, max_num_frames_per_episode=600)
    monkeypatch.setattr(space_invaders, "make_atari_vec_env", short_games)
    models = captured(monkeypatch, ComposableDQN)
    summary = run(
        "space_invaders", tmp_path / "run", "--steps", "640", "--games", "1", "--eval-every", "320", "--gradient-steps", "1"
    )
    (model,) = models
    assert isinstance(model, PrioritizedDQN) and model._n_updates == (640 - 64) // 8
    out = capsys.readouterr().out
    assert "(4, 84, 84)" in out and "Discrete(6)" in out and "FIRE" in out
    # Raw points come in fives, and a game goes on after a lost life
    for agent in ("trained", "random"):
        assert all(score % 5 == 0 for score in summary[agent]["scores"])
        assert 100 < min(summary[agent]["lengths"]) <= 150
    evaluations = np.load(tmp_path / "run" / "evaluations.npz")
    assert list(evaluations["timesteps"]) == [320, 640]
