import csv
import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback

from sb3_dqn_ext import demo
from sb3_dqn_ext.algorithms import PrioritizedDQN
from sb3_dqn_ext.atari import make_atari_vec_env
from sb3_dqn_ext.demo import DemoConfig, run_demo
from sb3_dqn_ext.evaluation.scores import GameScores

FILES = {
    "model.zip",
    "learning_curve.png",
    "trained.mp4",
    "random.mp4",
    "summary.md",
    "summary.json",
    "episodes.csv",
    "training.csv",
    "tb",
}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".run"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[DemoConfig, Path]:
    """A very short run of the real thing, on the real game."""
    folder = tmp_path_factory.mktemp("demo") / "pong"
    config = DemoConfig(game="pong", steps=300, seed=1, n_envs=2, output=folder, n_eval_games=3, video_steps=40)
    run_demo(config, command="sb3-dqn demo ...")
    return config, folder


@pytest.fixture
def unwatched(monkeypatch) -> None:
    """Without the games after the training, which take longer than such short trainings."""
    monkeypatch.setattr(demo, "_evaluate", lambda *arguments: GameScores((1.0, 2.0), (10, 20)))
    monkeypatch.setattr(demo, "_film", lambda *arguments: None)


@pytest.fixture
def ctrl_c_at_100(monkeypatch) -> Iterator[None]:
    class Interrupter(BaseCallback):
        def __init__(self, **arguments) -> None:
            super().__init__()

        def _on_step(self) -> bool:
            if self.num_timesteps == 100:
                signal.raise_signal(signal.SIGINT)
            return True

    monkeypatch.setattr(demo, "ProgressCallback", Interrupter)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_everything_is_written(run):
    _, folder = run
    assert files(folder) == FILES
    assert [path.name.split(".")[1] for path in (folder / "tb").rglob("events*")] == ["out"]
    assert cv2.imread(str(folder / "learning_curve.png")) is not None
    for film in ("trained.mp4", "random.mp4"):
        assert cv2.VideoCapture(str(folder / film)).get(cv2.CAP_PROP_FRAME_COUNT) == 40


def test_the_summary_agrees_with_what_the_saved_model_plays(run):
    config, folder = run
    summary = json.loads((folder / "summary.json").read_text())
    model = PrioritizedDQN.load(folder / "model.zip")
    for name, agent in (("trained", model), ("random", None)):
        games = demo._evaluate(agent, config)
        assert summary[name]["scores"] == list(games.scores) and summary[name]["lengths"] == list(games.lengths)
        assert summary[name]["mean"] == np.mean(games.scores) and summary[name]["std"] == np.std(games.scores)
        assert len(games.scores) == 3
    assert (summary["steps"], summary["seed"], summary["stopped_by"]) == (300, 1, "steps done")
    assert summary["steps_per_second"] == summary["steps"] / summary["seconds"]
    assert summary["command"] == "sb3-dqn demo ..." and summary["versions"]["stable_baselines3"]
    page = (folder / "summary.md").read_text()
    assert f"| random agent | **{summary['random']['mean']:,.1f}** | {summary['random']['std']:,.1f} |" in page
    assert "learning_curve.png" in page and "`sb3-dqn demo ...`" in page


def test_it_trained_a_full_house(run):
    model = PrioritizedDQN.load(run[1] / "model.zip")
    assert model.double_q and model.prioritized_replay and model.n_steps == 10 and model.policy_kwargs["dueling"]
    assert model._n_updates > 200


def test_ctrl_c_keeps_what_was_learned(tmp_path, unwatched, ctrl_c_at_100, capsys):
    config = DemoConfig(steps=100_000, n_envs=2, output=tmp_path / "run")
    summary = run_demo(config)
    assert summary.stopped_by == "Ctrl-C" and summary.steps == 102
    assert files(tmp_path / "run") == FILES - {"trained.mp4", "random.mp4"}
    assert PrioritizedDQN.load(tmp_path / "run" / "model.zip").num_timesteps == 102
    assert "DemoConfig(game='kung_fu_master', steps=100000" in summary.command
    words = capsys.readouterr().out
    assert "trained agent" in words and "1.5 ± 0.5" in words and str(tmp_path / "run" / "learning_curve.png") in words


def test_a_time_limit_stops_training(tmp_path, unwatched):
    summary = run_demo(DemoConfig(steps=100_000, n_envs=2, output=tmp_path / "run", max_minutes=1e-9))
    assert summary.stopped_by == "time limit" and summary.steps == 2


def test_an_earlier_run_is_kept(tmp_path, unwatched):
    config = DemoConfig(steps=40, n_envs=2, output=tmp_path / "run")
    run_demo(config)
    before = {path: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}
    run_demo(config)
    assert before == {path: path.read_bytes() for path in (tmp_path / "run").glob("*.*")}
    assert files(tmp_path / "run-2") == files(tmp_path / "run")


def test_finished_games_are_kept(tmp_path, unwatched, monkeypatch):
    monkeypatch.setattr(demo, "make_atari_vec_env", partial(make_atari_vec_env, max_num_frames_per_episode=200))
    run_demo(DemoConfig(steps=160, n_envs=2, output=tmp_path / "run"))
    with (tmp_path / "run" / "episodes.csv").open() as file:
        games = list(csv.DictReader(file))
    assert [(game["step"], game["length"]) for game in games] == [("100", "50"), ("100", "50")]
    assert all(-3 <= float(game["score"]) <= 3 for game in games)


@pytest.fixture
def no_training(monkeypatch) -> None:
    def fail(*arguments) -> None:
        raise AssertionError("training started")

    monkeypatch.setattr(demo, "make_model", fail)


def test_an_unusable_folder_is_found_before_training(tmp_path, no_training):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be used as an output folder"):
        run_demo(DemoConfig(output=tmp_path / "file" / "run"))


def test_an_unknown_game_leaves_no_folder(tmp_path, no_training):
    with pytest.raises(ValueError, match="pong"):
        run_demo(DemoConfig(game="pongg", output=tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name, value", [("steps", 0), ("n_envs", 0), ("n_eval_games", 0), ("video_steps", 0), ("seed", -1), ("max_minutes", 0.0)]
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name}={value}"):
        DemoConfig(**{name: value})


def test_the_folder_is_named_after_the_game():
    assert DemoConfig(game="ALE/Pong-v5").wanted_folder == Path("runs", "ALE-Pong-v5")
