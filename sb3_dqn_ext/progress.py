"""A live progress bar for ``model.learn``, with what one wants to know while a DQN trains."""

import atexit
import sys
import time
from collections import deque
from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

if TYPE_CHECKING:
    from rich.live import Live


class RecentRate:
    """
    Steps per second over the last seconds, so that a slow phase shows at once.

    :param window: seconds to look back
    """

    def __init__(self, window: float = 10.0) -> None:
        self.window = window
        self._marks: deque[tuple[float, int]] = deque()

    def update(self, now: float, steps: int) -> None:
        """
        :param now: seconds, of any monotonic clock
        :param steps: environment steps done so far
        """
        self._marks.append((now, steps))
        while len(self._marks) > 2 and self._marks[1][0] <= now - self.window:
            self._marks.popleft()

    @property
    def value(self) -> float:
        """Steps per second, 0 until it can be told."""
        (start, first), (end, last) = self._marks[0], self._marks[-1]
        return (last - first) / (end - start) if end > start else 0.0


class ProgressCallback(BaseCallback):
    """
    Steps, steps/s, mean raw score of the last games, epsilon, time elapsed and left: a live bar on a terminal (with
    ``rich`` installed), else a plain line now and then, for logs.

    SB3's own ``progress_bar=True`` shows neither score nor epsilon, and fills a log file with control characters.

    :param n_games: games in the mean score, the last ones of ``model.ep_info_buffer``
    :param time_budget: seconds after which something else stops training (``StopOnTimeCallback``), for the time left
    :param line_every: seconds between two plain lines
    :param file: where to write, ``sys.stderr`` by default
    """

    refresh_every = 0.2  # seconds

    def __init__(
        self, n_games: int = 10, time_budget: float | None = None, line_every: float = 10.0, file: TextIO | None = None
    ) -> None:
        super().__init__()
        self.n_games = n_games
        self.time_budget = time_budget
        self.line_every = line_every
        self.file = file
        self._live: Live | None = None

    def _on_training_start(self) -> None:
        self.close()
        self._out = sys.stderr if self.file is None else self.file
        self._start = self._last_shown = time.monotonic()
        self._total = self.model._total_timesteps
        self._rate = RecentRate()
        self._rate.update(self._start, self.num_timesteps)
        self._quiet = False
        self._start_live()

    def _start_live(self) -> None:
        if not self._out.isatty():
            return
        try:
            from rich.console import Console
            from rich.live import Live
        except ImportError:
            return
        # No refresh thread: whatever ends the training (an exception, a debugger), nothing keeps writing. Prints of
        # others appear above the bar, unless they go to a file.
        self._live = Live(console=Console(file=self._out), auto_refresh=False, redirect_stdout=sys.stdout.isatty())
        self._live.start()
        # SB3 tells callbacks nothing of exceptions, so the cursor stays visible rather than lost
        self._live.console.show_cursor(True)
        atexit.register(self.close)

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now - self._last_shown >= (self.line_every if self._live is None else self.refresh_every):
            self._last_shown = now
            self._show(now)
        return True

    def _on_training_end(self) -> None:
        self._show(time.monotonic())
        self.close()

    def close(self) -> None:
        """Gives the terminal back. Needed only after an exception, and then at the latest when Python ends."""
        live, self._live = self._live, None
        if live is not None:
            atexit.unregister(self.close)
            try:
                live.stop()
            except (OSError, ValueError):
                pass  # the terminal went away

    def _show(self, now: float) -> None:
        if self._quiet:
            return
        self._rate.update(now, self.num_timesteps)
        try:
            if self._live is None:
                share = min(self.num_timesteps / self._total, 1.0)
                print(f"{self._steps()} ({share:.0%}), {', '.join(self._figures(now))}", file=self._out, flush=True)
            else:
                self._update_live(self._live, now)
        except (OSError, ValueError):
            self._quiet = True  # a closed pipe or terminal is no reason to lose a training

    def _update_live(self, live: "Live", now: float) -> None:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(ratio=1)
        row.add_column(no_wrap=True)
        bar = ProgressBar(total=self._total, completed=min(self.num_timesteps, self._total))
        row.add_row(bar, f"{self._steps()} [bold]{min(self.num_timesteps / self._total, 1.0):.0%}")
        live.update(Group(row, Text(" · ".join(self._figures(now)), style="dim")), refresh=True)

    def _steps(self) -> str:
        return f"{self.num_timesteps:,}/{self._total:,} steps"

    def _figures(self, now: float) -> list[str]:
        rate = self._rate.value
        figures = [f"{rate:,.0f} steps/s"]
        scores = [info["r"] for info in self.model.ep_info_buffer or ()][-self.n_games :]
        if scores:
            games = "game" if len(scores) == 1 else f"{len(scores)} games"
            figures.append(f"score {np.mean(scores):,.1f} (last {games})")
        if hasattr(self.model, "exploration_rate"):
            figures.append(f"epsilon {self.model.exploration_rate:.2f}")
        elapsed = now - self._start
        left = max(self._total - self.num_timesteps, 0) / rate if rate > 0 else None
        if self.time_budget is not None:
            budget_left = max(self.time_budget - elapsed, 0.0)
            left = budget_left if left is None else min(left, budget_left)
        return [*figures, f"{_clock(elapsed)} elapsed", f"{'?' if left is None else _clock(left)} left"]


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
