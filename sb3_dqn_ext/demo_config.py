"""What a demo run is asked to do. Imports nothing heavy, so that ``sb3-dqn --help`` is quick."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DemoConfig:
    """
    Settings of ``run_demo``. How the agent learns is in ``demo.make_model``.

    :param game: any of ALE's games: ``pong``, ``ALE/Pong-v5`` or ``PongNoFrameskip-v4``
    :param steps: environment steps to train for (4 frames each)
    :param seed: of the network, the exploration and the games
    :param n_envs: games played at once
    :param output: run folder, ``runs/<game>`` by default; a number is appended where it holds something already
    :param n_eval_games: games that the trained and the random agent play for the comparison
    :param max_minutes: stop training after that many minutes, whatever was reached
    :param video_steps: environment steps after which a film ends, even within a game
    """

    game: str = "kung_fu_master"
    steps: int = 45_000
    seed: int = 0
    n_envs: int = 8
    output: str | Path | None = None
    n_eval_games: int = 10
    max_minutes: float | None = None
    video_steps: int = 4_000

    def __post_init__(self) -> None:
        for name in ("steps", "n_envs", "n_eval_games", "video_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")
        if self.max_minutes is not None and self.max_minutes <= 0:
            raise ValueError(f"max_minutes={self.max_minutes} must be positive; leave it out for no limit")

    @property
    def wanted_folder(self) -> Path:
        """Where results go unless something is there already."""
        return Path("runs", self.game.replace("/", "-")) if self.output is None else Path(self.output)
