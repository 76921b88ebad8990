import subprocess
import sys

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex

from sb3_dqn_ext.report.curves import (
    BLUE,
    Evaluations,
    Panel,
    Reference,
    Series,
    draw_panels,
    plot_diagnostics,
    plot_learning_curve,
    plot_panels,
    running_mean,
)

STEPS = [100.0, 250.0, 400.0, 500.0]
SCORES = [1.0, 3.0, 5.0, 7.0]


def labels(axes) -> set[str]:
    return {text.get_text() for text in axes.get_legend().get_texts()}


@pytest.mark.parametrize("window", [1, 2, 3, 7, 50])
def test_running_mean_equals_the_slow_one(window):
    values = np.random.default_rng(0).normal(size=40)
    values[[0, 11, 12]] = np.nan
    slow = [np.nan if np.isnan(part := values[max(0, t + 1 - window) : t + 1]).all() else np.nanmean(part) for t in range(40)]
    np.testing.assert_allclose(running_mean(values, window), slow)


def test_a_panel_shows_its_data():
    panel = Panel(
        "score",
        Series(STEPS, SCORES),
        "game",
        smooth=2,
        evaluations=Evaluations([500.0], [6.0], [1.0]),
        references=[Reference(-2.0, "random agent")],
        marks=[200.0, 300.0],
        marks_label="update",
    )
    figure = draw_panels([panel, Panel("epsilon", Series(STEPS, [1.0, 0.5, 0.1, 0.1]))], "A title")
    axes, below = figure.axes
    assert labels(axes) == {"game", "mean of the last 2", "evaluation, mean ± std", "random agent", "update"}
    mean = next(line for line in axes.lines if line.get_label() == "mean of the last 2")
    assert mean.get_ydata().tolist() == [1.0, 2.0, 4.0, 6.0] and to_hex(mean.get_color()).upper() == BLUE
    assert axes.collections[1].get_offsets().tolist() == [list(point) for point in zip(STEPS, SCORES, strict=True)]
    assert axes.get_ylim()[0] < -2.0  # the reference is inside
    assert below.get_xlabel() == "environment steps" and axes.get_ylabel() == "score"
    assert below.get_legend() is None and figure.get_suptitle() == "A title"


def test_evaluations_summarise_games():
    assert Evaluations.from_games([10, 20], [[1.0, 3.0], [5.0]]) == ([10, 20], [2.0, 5.0], [1.0, 0.0])


def test_nothing_to_show_yet_is_no_error(tmp_path):
    plot_learning_curve(tmp_path / "curve.png", "stopped at once", Series([], []), epsilon=Series([], []))
    assert cv2.imread(str(tmp_path / "curve.png")) is not None


def test_learning_curve_file(tmp_path):
    path = tmp_path / "new" / "curve.png"
    plot_learning_curve(path, "Pong", Series(STEPS, SCORES), references=[Reference(0, "random agent")])
    without = cv2.imread(str(path))
    plot_learning_curve(path, "Pong", Series(STEPS, SCORES), epsilon=Series(STEPS, [1.0, 0.5, 0.1, 0.1]))
    picture = cv2.imread(str(path))
    assert picture.shape[0] > without.shape[0] and picture.shape[1] == without.shape[1] == 1200
    assert 5 < picture.std() and list(path.parent.iterdir()) == [path]


def test_diagnostics_have_four_panels(tmp_path):
    series = Series(STEPS, SCORES)
    plot_diagnostics(tmp_path / "d.png", "CartPole", series, series, series, series, target_updates=[200.0], smooth=2)
    assert cv2.imread(str(tmp_path / "d.png")).shape[1] == 1800


def test_an_odd_number_of_panels_in_two_columns():
    figure = draw_panels([Panel("a"), Panel("b"), Panel("c", Series(STEPS, SCORES), log=True)], "three", columns=2)
    assert len(figure.axes) == 3 and figure.axes[2].get_yscale() == "log" and figure.axes[2].get_xlabel()


def test_pyplot_is_not_touched(tmp_path):
    code = (
        "import sys; from sb3_dqn_ext.report.curves import Panel, plot_panels;"
        f"plot_panels({str(tmp_path / 'p.png')!r}, [Panel('y')], 't'); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_extra_is_named_when_matplotlib_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("sb3_dqn_ext.report.curves.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "sb3_dqn_ext\[report\]"'):
        plot_panels(tmp_path / "p.png", [Panel("y")], "t")
