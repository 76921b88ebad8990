"""
Why Double DQN selects with one network and evaluates with another: the maximum over imprecise values is too high.

Van Hasselt, Guez & Silver 2016, Deep Reinforcement Learning with Double Q-learning (arXiv 1509.06461):

- Figure 2: ten actions of equal true value, sin(s) or 2 exp(-s^2). The estimate of each is a polynomial fitted to the exact
  values at the integer states from -6 to 6, without two neighbours: action 1 lacks -5 and -4, action 2 lacks -4 and -3, and
  so on. The second estimate of an action, which Double Q-learning evaluates with, is that of the action five places further.
  No chance is involved, so the mean errors must be those printed in the paper.
- Figure 1: action values with independent standard normal errors, by number of actions.

The action is selected by ``greedy_weights``, as in training.

    python scripts/experiments/overestimation.py
"""

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch as th
from experiment import finish, make_parser
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.polynomial import Polynomial

from sb3_dqn_ext.learning.targets import greedy_weights
from sb3_dqn_ext.report.curves import BLUE, GREEN, GREY, ORANGE, PURPLE, STYLE

N_ACTIONS = 10
STATES = np.linspace(-6, 6, 1201)


class Setting(NamedTuple):
    """
    A row of figure 2.

    :param name: formula and degree
    :param true_value: of all actions, maps states [B] to float64 [B]
    :param degree: of the polynomials
    :param printed: the mean errors of the single and the double estimate in the paper
    """

    name: str
    true_value: Callable[[np.ndarray], np.ndarray]
    degree: int
    printed: tuple[float, float]


class Errors(NamedTuple):
    """
    Estimates of the value of the best action, less its true value.

    :param single: float64 [B], the selected action's own estimate
    :param double: float64 [B], its second estimate
    """

    single: np.ndarray
    double: np.ndarray


def bump(states: np.ndarray) -> np.ndarray:
    """
    :param states: float64 [B]
    :return: float64 [B], 2 exp(-s^2)
    """
    return 2 * np.exp(-(states**2))


SETTINGS = (
    Setting("sin(s), degree 6", np.sin, 6, (0.61, -0.02)),
    Setting("2 exp(-s²), degree 6", bump, 6, (0.47, 0.02)),
    Setting("2 exp(-s²), degree 9", bump, 9, (3.35, -0.02)),
)


def fitted_values(setting: Setting, states: np.ndarray) -> np.ndarray:
    """
    :param setting: true values and degree
    :param states: float64 [B]
    :return: float64 [B, A], the polynomial of each action
    """
    integers = np.arange(-6.0, 7.0)
    samples = [np.delete(integers, [action + 1, action + 2]) for action in range(N_ACTIONS)]
    return np.stack([Polynomial.fit(s, setting.true_value(s), setting.degree)(states) for s in samples], axis=1)


def errors(q_values: np.ndarray, second: np.ndarray, true_values: np.ndarray) -> Errors:
    """
    :param q_values: float64 [B, A], which select, and which the single estimator evaluates with
    :param second: float64 [B, A], which the double estimator evaluates with
    :param true_values: float64 [B], of the best action
    :return: of both estimators
    """
    selected = greedy_weights(q_values=th.as_tensor(q_values)).numpy()
    return Errors(single=(selected * q_values).sum(axis=1) - true_values, double=(selected * second).sum(axis=1) - true_values)


def setting_errors(setting: Setting) -> Errors:
    """
    :param setting: a row of figure 2
    :return: at ``STATES``
    """
    q_values = fitted_values(setting, STATES)
    return errors(q_values, np.roll(q_values, -N_ACTIONS // 2, axis=1), setting.true_value(STATES))


def noise_errors(n_actions: int, repetitions: int, seed: int) -> Errors:
    """
    :param n_actions: A, all of true value 0
    :param repetitions: B
    :param seed: of the errors
    :return: one of each estimator for each repetition
    """
    q_values, second = np.random.default_rng(seed).standard_normal((2, repetitions, n_actions))
    return errors(q_values, second, np.zeros(repetitions))


def standard_error(values: np.ndarray) -> float:
    """
    :param values: float64 [B]
    :return: of their mean
    """
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def judge(fits: Sequence[Errors], noise: Sequence[Errors]) -> dict[str, bool]:
    """
    :param fits: of each of ``SETTINGS``
    :param noise: by ascending number of actions
    :return: what the paper says, and whether it is so here
    """
    claims = {}
    for setting, error in zip(SETTINGS, fits, strict=True):
        single, double = error.single.mean(), error.double.mean()
        claims[f"{setting.name}: the maximum overestimates"] = bool(single > 0)
        claims[f"{setting.name}: the double estimate is at least ten times closer"] = bool(abs(double) < abs(single) / 10)
        claims[f"{setting.name}: mean errors as printed in the paper"] = (
            round(single, 2),
            round(double, 2),
        ) == setting.printed
    claims["normal errors: the maximum overestimates more, the more actions there are"] = bool(
        np.all(np.diff([0.0, *(error.single.mean() for error in noise)]) > 0)
    )
    claims["normal errors: the double estimate is unbiased, to within 4 standard errors"] = all(
        abs(error.double.mean()) < 4 * standard_error(error.double) for error in noise
    )
    return claims


def draw(fits: Sequence[Errors], n_actions: Sequence[int], noise: Sequence[Errors]) -> Figure:
    """
    :param fits: of each of ``SETTINGS``
    :param n_actions: ascending
    :param noise: for each of them
    :return: a column for each setting, estimates above errors, and bias by number of actions
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(18, 7))
        figure.set_layout_engine("constrained", w_pad=0.12)
        axes = figure.subplot_mosaic(
            [["values 0", "values 1", "values 2", "noise"], ["errors 0", "errors 1", "errors 2", "noise"]]
        )
        for column, (setting, error) in enumerate(zip(SETTINGS, fits, strict=True)):
            draw_setting(axes[f"values {column}"], axes[f"errors {column}"], setting, error)
        axes["values 0"].set_ylabel("value")
        axes["values 0"].legend(loc="upper right")
        axes["errors 0"].set_ylabel("error of the best action's value")
        draw_noise(axes["noise"], n_actions, noise)
    return figure


def draw_setting(above: Axes, below: Axes, setting: Setting, error: Errors) -> None:
    """
    :param above: where the estimates go
    :param below: where the errors go
    :param setting: a row of figure 2
    :param error: its errors at ``STATES``
    """
    q_values = fitted_values(setting, STATES)
    labels = ["estimate of each action"] + [None] * (N_ACTIONS - 1)
    above.plot(STATES, q_values, color=GREEN, lw=0.9, alpha=0.6, label=labels)
    above.plot(STATES, q_values.max(axis=1), color="black", ls="--", lw=1.4, label="their maximum")
    above.plot(STATES, setting.true_value(STATES), color=PURPLE, lw=2.2, label="true value of every action")
    above.set_title(setting.name)
    above.set_ylim(bottom=max(above.get_ylim()[0], -5))  # of degree 9, two fall to -60
    below.axhline(0, color=GREY, lw=0.8)
    below.plot(STATES, error.single, color=ORANGE, lw=1.8, label=f"maximum, mean {error.single.mean():+.2f}")
    below.plot(STATES, error.double, color=BLUE, lw=1.8, label=f"double estimate, mean {error.double.mean():+.2f}")
    below.set_xlabel("state")
    low, high = below.get_ylim()
    below.set_ylim(low, high + 0.25 * (high - low))  # room for the legend
    below.legend(loc="upper center")


def draw_noise(axes: Axes, n_actions: Sequence[int], noise: Sequence[Errors]) -> None:
    """
    :param axes: where the bias goes
    :param n_actions: ascending
    :param noise: for each of them
    """
    axes.axhline(0, color=GREY, lw=0.8)
    for name, color, values in (
        ("maximum", ORANGE, [error.single for error in noise]),
        ("double estimate", BLUE, [error.double for error in noise]),
    ):
        spread = [2 * standard_error(value) for value in values]
        axes.errorbar(n_actions, [value.mean() for value in values], spread, color=color, fmt="o-", capsize=3, label=name)
    axes.set_title("standard normal errors")
    axes.set_xscale("log", base=2)
    axes.set_xticks(n_actions, [str(n) for n in n_actions])
    axes.set_xlabel("actions")
    axes.set_ylabel("mean error ± 2 standard errors")
    axes.legend(loc="upper left")


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: of the command line; if None, the process's own
    :return: exit status, 0 when every claim holds
    """
    parser = make_parser(__file__, str(__doc__))
    parser.add_argument(
        "--actions",
        type=int,
        nargs="+",
        default=[2**k for k in range(1, 11)],
        help="with normal errors (default: %(default)s)",
    )
    parser.add_argument("--repetitions", type=int, default=1000, help="with normal errors (default: %(default)s)")
    args = parser.parse_args(arguments)

    fits = [setting_errors(setting) for setting in SETTINGS]
    noise = [noise_errors(n_actions, args.repetitions, seed=n_actions) for n_actions in args.actions]
    names = [setting.name for setting in SETTINGS] + [f"{n_actions} actions, normal errors" for n_actions in args.actions]
    print(f"{'mean error':<30}{'maximum':>9}{'double':>9}")
    for name, error in zip(names, [*fits, *noise], strict=True):
        print(f"{name:<30}{error.single.mean():>+9.3f}{error.double.mean():>+9.3f}")
    figures = {
        name: {"maximum": float(error.single.mean()), "double": float(error.double.mean())}
        for name, error in zip(names, [*fits, *noise], strict=True)
    }
    plot = draw(fits, args.actions, noise)
    return finish(args.output, {"repetitions": args.repetitions, "mean_errors": figures}, plot, judge(fits, noise))


if __name__ == "__main__":
    sys.exit(main())
