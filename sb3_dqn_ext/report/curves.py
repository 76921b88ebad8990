"""
Plots of a training run.

SB3's ``results_plotter`` needs pandas and ``Monitor`` files, draws on pyplot's global figure and knows neither
evaluations, reference lines nor several panels, so the panels here are drawn with matplotlib's objects.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sb3_dqn_ext.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, made to be told apart by colour-blind readers
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#6E6E6E"

STEPS = "environment steps"

STYLE: Any = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "axes.xmargin": 0.02,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.columnspacing": 1.4,
    "legend.handlelength": 1.6,
}


class Series(NamedTuple):
    """
    Values over the course of training.

    :param x: environment steps (or whatever the horizontal axis counts), ascending
    :param y: as many values; NaN where there is none
    """

    x: Sequence[float]
    y: Sequence[float]


class Evaluations(NamedTuple):
    """
    Results of evaluation games played in between.

    :param x: environment steps at which the games were played
    :param mean: mean over the games
    :param std: standard deviation over the games
    """

    x: Sequence[float]
    mean: Sequence[float]
    std: Sequence[float]

    @classmethod
    def from_games(cls, x: Sequence[float], games: Sequence[Sequence[float]]) -> "Evaluations":
        """
        Mean and std of each evaluation's games, such as ``evaluations_timesteps`` and ``evaluations_results`` (or
        ``evaluations_length``) of SB3's ``EvalCallback``.

        :param x: environment steps at which the games were played
        :param games: for each of them the results of its games
        """
        return cls(x, [float(np.mean(results)) for results in games], [float(np.std(results)) for results in games])


class Reference(NamedTuple):
    """
    A horizontal line to compare with.

    :param value: where it lies
    :param label: what it is: "random agent", "target"
    """

    value: float
    label: str


@dataclass(frozen=True)
class Panel:
    """
    One pair of axes and what is drawn on it; all but the axis label is optional.

    :param ylabel: quantity, with its unit if it has one
    :param series: the measured values
    :param label: of one such value, for the legend: "game"
    :param smooth: draw the values light and their mean over the last ``smooth`` of them bold; 0 draws the line as it is
    :param evaluations: points with error bars
    :param references: horizontal lines
    :param marks: where to draw thin vertical lines
    :param marks_label: what happened there
    :param log: logarithmic vertical axis
    :param color: of the series
    :param title: above the panel
    """

    ylabel: str
    series: Series | None = None
    label: str | None = None
    smooth: int = 0
    evaluations: Evaluations | None = None
    references: Sequence[Reference] = ()
    marks: Sequence[float] = ()
    marks_label: str = ""
    log: bool = False
    color: str = BLUE
    title: str | None = None


def running_mean(values: Sequence[float], window: int) -> np.ndarray:
    """
    Mean of the last ``window`` values at each place, of fewer at the beginning; NaN values count as absent.

    :param values: ``[T]``
    :param window: number of values
    :return: float64 ``[T]``
    """
    known = ~np.isnan(values)
    sums = np.cumsum(np.where(known, values, 0.0))
    counts = np.cumsum(known)
    sums[window:] -= sums[:-window].copy()
    counts[window:] -= counts[:-window].copy()
    return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)


def require_plots() -> None:
    """Raises ``ImportError`` naming the remedy if nothing can be drawn here; ask before a long training."""
    if find_spec("matplotlib") is None:
        raise ImportError('Plots need matplotlib: pip install "sb3_dqn_ext[report]"')


def plot_panels(
    path: str | os.PathLike[str], panels: Sequence[Panel], title: str, *, xlabel: str = STEPS, columns: int = 1
) -> None:
    """
    Draws the panels over one shared horizontal axis into a PNG file.

    :param path: the file, written atomically
    :param panels: top to bottom, the first one tallest where there is one column
    :param title: of the figure
    :param xlabel: of the horizontal axis, with its unit
    :param columns: of the grid of panels, filled row by row
    """
    figure = draw_panels(panels, title, xlabel=xlabel, columns=columns)
    with atomic_path(path) as draft:
        figure.savefig(draft, dpi=150)


def draw_panels(panels: Sequence[Panel], title: str, *, xlabel: str = STEPS, columns: int = 1) -> "Figure":
    """
    As ``plot_panels``, for those who want to add to the figure.

    :param panels: top to bottom, the first one tallest where there is one column
    :param title: of the figure
    :param xlabel: of the horizontal axis, with its unit
    :param columns: of the grid of panels, filled row by row
    :return: a figure that no pyplot state knows of
    """
    require_plots()
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    rows = -(-len(panels) // columns)
    heights = [3.6 if columns == 1 and row == 0 else 2.6 if columns > 1 else 1.8 for row in range(rows)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8 if columns == 1 else 12, sum(heights) + 0.9), layout="constrained")
        figure.suptitle(title, fontsize=14, fontweight="bold")
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False, height_ratios=heights)
        for axes, panel in zip(grid.flat, panels, strict=False):
            _draw(axes, panel)
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        for axes in grid.flat[len(panels) :]:
            axes.remove()
        for axes in grid[-1]:
            axes.set_xlabel(xlabel)
        left, right = grid[0, 0].get_xlim()
        grid[0, 0].set_xlim(min(left, -0.02 * right), right)  # training starts at 0, wherever the first point lies
        figure.align_ylabels()
    return figure


def _draw(axes: "Axes", panel: Panel) -> None:
    axes.set_ylabel(panel.ylabel)
    if panel.log:
        axes.set_yscale("log")
    if panel.title is not None:
        axes.set_title(panel.title, loc="left")
    if len(panel.marks):
        # In axes' heights, so that the lines leave the vertical range to the data
        across = axes.get_xaxis_transform()
        axes.vlines(panel.marks, 0, 1, transform=across, color=GREY, lw=0.6, alpha=0.45, zorder=1, label=panel.marks_label)
    if panel.series is not None and len(panel.series.x):
        _draw_series(axes, panel)
    if panel.evaluations is not None:
        x, mean, std = panel.evaluations
        axes.errorbar(
            x, mean, yerr=std, fmt="o-", color=ORANGE, ms=5, lw=1.4, capsize=3, label="evaluation, mean ± std", zorder=4
        )
    for reference, dashes in zip(panel.references, ("--", ":", "-."), strict=False):
        axes.axhline(reference.value, color="black", ls=dashes, lw=1.2, label=reference.label, zorder=3)
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        # Above the axes, beside the title, where it hides no data
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), borderaxespad=0.2)


def _draw_series(axes: "Axes", panel: Panel) -> None:
    assert panel.series is not None
    x, y = panel.series
    if panel.smooth == 0:
        axes.plot(x, y, color=panel.color, lw=1.6, label=panel.label)
        return
    size = 14 if len(x) < 300 else 8
    axes.scatter(x, y, s=size, color=panel.color, alpha=0.3, linewidths=0, label=panel.label, rasterized=True)
    mean = running_mean(y, panel.smooth)
    axes.plot(x, mean, color=panel.color, lw=2.2, label=f"mean of the last {panel.smooth}", zorder=5)


def plot_learning_curve(
    path: str | os.PathLike[str],
    title: str,
    scores: Series | None = None,
    *,
    smooth: int = 20,
    evaluations: Evaluations | None = None,
    references: Sequence[Reference] = (),
    epsilon: Series | None = None,
    ylabel: str = "score of a game",
) -> None:
    """
    Score against environment steps: games light, their running mean bold, evaluations, and what to compare them with;
    epsilon below.

    :param path: the PNG file
    :param title: of the figure
    :param scores: of the training games
    :param smooth: games in the running mean
    :param evaluations: of evaluation games
    :param references: horizontal lines, such as ``Reference(-20.7, "random agent")``
    :param epsilon: exploration rate
    :param ylabel: what the score is
    """
    panels = [Panel(ylabel, scores, "training game", smooth, evaluations, references)]
    if epsilon is not None:
        panels.append(Panel("epsilon", epsilon, color=GREEN))
    plot_panels(path, panels, title)


def plot_diagnostics(
    path: str | os.PathLike[str],
    title: str,
    scores: Series,
    loss: Series,
    q_mean: Series,
    epsilon: Series,
    *,
    target_updates: Sequence[float] = (),
    references: Sequence[Reference] = (),
    smooth: int = 20,
) -> None:
    """
    Four panels that show how a DQN learns, or why it doesn't.

    :param path: the PNG file
    :param title: of the figure
    :param scores: of the training games
    :param loss: of the updates
    :param q_mean: mean predicted action value
    :param epsilon: exploration rate
    :param target_updates: environment steps at which the target network was updated
    :param references: lines on the scores, such as ``Reference(195, "target")``
    :param smooth: games in the running mean
    """
    panels = [
        Panel("reward per episode", scores, "episode", smooth, references=references, title="Reward"),
        Panel("loss", loss, color=ORANGE, marks=target_updates, marks_label="target network update", title="Loss"),
        Panel("mean Q-value", q_mean, color=PURPLE, title="Predicted value"),
        Panel("epsilon", epsilon, color=GREEN, title="Exploration"),
    ]
    plot_panels(path, panels, title, columns=2)
