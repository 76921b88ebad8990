"""SB3 callbacks: progress, throughput, early stopping, history, overestimation; and a ``learn`` that Ctrl-C ends cleanly."""

import csv
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter

from sb3_dqn_ext.overestimation import OverestimationCallback
from sb3_dqn_ext.progress import ProgressCallback

__all__ = [
    "EpisodeLogCallback",
    "EpisodeRecord",
    "OverestimationCallback",
    "ProgressCallback",
    "StopOnScoreCallback",
    "StopOnTimeCallback",
    "ThroughputCallback",
    "TrainingRecord",
    "finished_games",
    "learn_until_interrupted",
]


class EpisodeRecord(NamedTuple):
    """
    One finished game.

    :param step: environment steps of the whole training when it ended
    :param score: sum of the raw rewards
    :param length: its length as ``info["episode"]["l"]`` states it (environment steps)
    :param epsilon: exploration rate when it ended, NaN for a model without one
    """

    step: int
    score: float
    length: int
    epsilon: float


class TrainingRecord(NamedTuple):
    """
    What the logger knew about learning when it was dumped.

    :param step: environment steps
    :param loss: ``train/loss``, NaN where not logged
    :param q_mean: ``train/q_mean``, NaN where not logged
    """

    step: int
    loss: float
    q_mean: float


def finished_games(infos: list[dict[str, Any]]) -> list[tuple[float, int]]:
    """
    Score and length of each game that ended in this step, as ``Monitor`` (or ``AtariVecEnv``) reports them.

    :param infos: one info dict per environment
    """
    return [(float(info["episode"]["r"]), int(info["episode"]["l"])) for info in infos if "episode" in info]


class ThroughputCallback(BaseCallback):
    """
    Logs ``time/steps_per_second`` (environment steps, recent, where SB3's ``time/fps`` is the mean since the start) and
    ``time/learning_share``, the share of that time not spent on collecting, which is what the updates cost.

    :param window: seconds to look back
    """

    def __init__(self, window: float = 10.0) -> None:
        super().__init__()
        self.window = window

    def _on_training_start(self) -> None:
        self._window_start = self._rollout_end = time.perf_counter()
        self._window_steps = self.model.num_timesteps
        self._learning_time = 0.0

    def _on_rollout_start(self) -> None:
        now = time.perf_counter()
        self._learning_time += now - self._rollout_end
        elapsed = now - self._window_start
        if elapsed >= self.window:
            self.logger.record("time/steps_per_second", (self.model.num_timesteps - self._window_steps) / elapsed)
            self.logger.record("time/learning_share", self._learning_time / elapsed)
            self._window_start, self._window_steps, self._learning_time = now, self.model.num_timesteps, 0.0

    def _on_rollout_end(self) -> None:
        self._rollout_end = time.perf_counter()

    def _on_step(self) -> bool:
        return True


class StopOnScoreCallback(BaseCallback):
    """
    Stops when the mean score of the last training games reaches a target.

    SB3's ``StopTrainingOnRewardThreshold`` decides by an ``EvalCallback``, thus needs a second environment and time
    for its games. This one costs nothing, but judges the exploring agent, so pair it with a small final epsilon.

    :param target: mean score to reach
    :param n_games: number of games in the mean; never stops before that many were finished
    :param verbose: 1 prints why training stopped
    """

    def __init__(self, target: float, n_games: int = 100, verbose: int = 0) -> None:
        super().__init__(verbose)
        if n_games < 1:
            raise ValueError(f"n_games={n_games} must be at least 1: the number of games the mean is taken over")
        self.target = target
        self.n_games = n_games
        self._scores: deque[float] = deque(maxlen=n_games)

    def _on_training_start(self) -> None:
        self._scores.clear()  # games of an earlier learn() don't count

    def _on_step(self) -> bool:
        self._scores.extend(score for score, _ in finished_games(self.locals["infos"]))
        if len(self._scores) < self.n_games or np.mean(self._scores) < self.target:
            return True
        if self.verbose >= 1:
            print(
                f"Stopping at step {self.num_timesteps}: the last {self.n_games} games"
                f" scored {np.mean(self._scores):.2f} on average, the target was {self.target}"
            )
        return False


class StopOnTimeCallback(BaseCallback):
    """
    Stops when training has taken that long.

    :param seconds: time budget of one ``learn`` call, in seconds
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.triggered = False

    def _on_training_start(self) -> None:
        self._deadline = time.monotonic() + self.seconds
        self.triggered = False

    def _on_step(self) -> bool:
        self.triggered = time.monotonic() >= self._deadline
        return not self.triggered


class _TrainingWriter(KVWriter):
    """Sees what SB3's logger writes, whoever recorded it and however often it is dumped."""

    def __init__(self, history: "EpisodeLogCallback") -> None:
        self._history = history

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        if "train/loss" in key_values or "train/q_mean" in key_values:
            loss, q_mean = (float(key_values.get(key, float("nan"))) for key in ("train/loss", "train/q_mean"))
            self._history.add_training_record(TrainingRecord(step, loss, q_mean))

    def close(self) -> None:
        pass


class EpisodeLogCallback(BaseCallback):
    """
    Keeps the history of a run, for plots: every finished game, and loss and mean Q of every dump of the logger (set
    ``log_interval``, or add SB3's ``LogEveryNTimesteps``, for finer ones).

    SB3's ``Monitor`` writes games too, but one file per environment, without the training's step or epsilon, and not
    for native vector environments.

    :param folder: where to append ``episodes.csv`` and ``training.csv``, each row flushed whole, so that a crash loses
        nothing that was finished; None keeps the history in memory only
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.folder = None if folder is None else Path(folder)
        self.episodes: list[EpisodeRecord] = []
        self.training: list[TrainingRecord] = []
        self._writer = _TrainingWriter(self)

    def _on_training_start(self) -> None:
        self._append("episodes.csv", EpisodeRecord, [])
        self._append("training.csv", TrainingRecord, [])
        if self._writer not in self.logger.output_formats:
            self.logger.output_formats.append(self._writer)

    def _on_training_end(self) -> None:
        self.logger.output_formats.remove(self._writer)

    def _on_step(self) -> bool:
        epsilon = float(getattr(self.model, "exploration_rate", float("nan")))
        games = [EpisodeRecord(self.num_timesteps, *game, epsilon) for game in finished_games(self.locals["infos"])]
        self.episodes += games
        if games:
            self._append("episodes.csv", EpisodeRecord, games)
        return True

    def add_training_record(self, record: TrainingRecord) -> None:
        """
        :param record: what the logger has just written
        """
        self.training.append(record)
        self._append("training.csv", TrainingRecord, [record])

    def _append(self, name: str, kind: type[EpisodeRecord | TrainingRecord], records: Sequence[tuple[float, ...]]) -> None:
        if self.folder is None:
            return
        with (self.folder / name).open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(kind._fields)
            writer.writerows(records)


class _StopOnRequest(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.requested = False

    def _on_step(self) -> bool:
        return not self.requested


@contextmanager
def _first_interrupt_asks(stop: _StopOnRequest) -> Iterator[None]:
    # Only the main thread may handle Ctrl-C; and a handler of the application's own (or none: nohup) stays in charge
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def ask(signal_number: int, frame: FrameType | None) -> None:
        stop.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # print() may not be entered again from a signal handler
        os.write(2, b"\nStopping after this step and keeping what was learned. Ctrl-C again aborts.\n")

    signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def learn_until_interrupted(
    model: BaseAlgorithm,
    total_timesteps: int,
    callback: BaseCallback | list[BaseCallback] | None = None,
    **learn_arguments: Any,
) -> bool:
    """
    ``model.learn`` which the first Ctrl-C ends at the next step boundary, the way a callback would: no update is cut
    in half, every callback closes, and the model can be saved or trained on. A second Ctrl-C raises ``KeyboardInterrupt``.

    :param model: any SB3 model with an environment
    :param total_timesteps: environment steps
    :param callback: as in ``learn``
    :param learn_arguments: the other arguments of ``learn``
    :return: whether Ctrl-C ended it
    """
    stop = _StopOnRequest()
    callbacks = [] if callback is None else callback if isinstance(callback, list) else [callback]
    with _first_interrupt_asks(stop):
        model.learn(total_timesteps, callback=[stop, *callbacks], **learn_arguments)
    return stop.requested
