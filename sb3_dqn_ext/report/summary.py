"""The result of a run in a few lines: for people (Markdown) and for programs (JSON)."""

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sb3_dqn_ext.evaluation.scores import GameScores
from sb3_dqn_ext.report.run_folder import write_text

PACKAGES = ("sb3_dqn_ext", "stable_baselines3", "gymnasium", "ale-py", "torch", "numpy")


def installed_versions() -> dict[str, str]:
    """Versions of what a result depends on, by package."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def machine() -> str:
    """The machine in words."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"


@dataclass(frozen=True)
class RunSummary:
    """
    What was run and what came of it.

    :param game: id of the game
    :param algorithm: name of the class that learned
    :param seed: of the run
    :param command: how to run it again
    :param steps: environment steps trained
    :param seconds: training time
    :param stopped_by: why training ended: "steps done", "Ctrl-C" or "time limit"
    :param trained: games of the trained agent
    :param random: games of the random agent
    """

    game: str
    algorithm: str
    seed: int
    command: str
    steps: int
    seconds: float
    stopped_by: str
    trained: GameScores
    random: GameScores
    versions: dict[str, str] = field(default_factory=installed_versions)
    machine: str = field(default_factory=machine)

    @property
    def steps_per_second(self) -> float:
        """Environment steps per second of training, updates included."""
        return self.steps / self.seconds

    def to_json(self) -> str:
        """All of it, with mean, std and median of both agents."""
        agents = {"trained": self.trained.to_dict(), "random": self.random.to_dict()}
        return json.dumps({**asdict(self), "steps_per_second": self.steps_per_second, **agents}, indent=2) + "\n"

    def to_markdown(self) -> str:
        """A page that shows the scores, the curve and how to get there again."""
        rows = [
            f"| {name} agent | **{games.mean:,.1f}** | {games.std:,.1f} | {games.median:,.1f}"
            f" | {min(games.scores):,.0f} to {max(games.scores):,.0f} | {len(games.scores)} |"
            for name, games in (("trained", self.trained), ("random", self.random))
        ]
        facts = {
            "training": f"{self.steps:,} environment steps in {self.seconds:,.0f} s"
            f" ({self.steps_per_second:,.0f} steps/s), ended by: {self.stopped_by}",
            "algorithm": self.algorithm,
            "seed": self.seed,
            "command": f"`{self.command}`",
            "machine": self.machine,
            "versions": ", ".join(f"{name} {number}" for name, number in self.versions.items()),
        }
        lines = [
            f"# {self.game}: {self.algorithm} against a random agent",
            "",
            "| | mean score | std | median | range | games |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "![Learning curve](learning_curve.png)",
            "",
            *(f"- {name}: {text}" for name, text in facts.items()),
        ]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """
        :param folder: where ``summary.json`` and ``summary.md`` go
        """
        write_text(folder / "summary.json", self.to_json())
        write_text(folder / "summary.md", self.to_markdown())
