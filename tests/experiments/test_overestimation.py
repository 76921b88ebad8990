"""Overestimation: the fits and biases against other ways to compute them, and claims that can fail."""

import json
import math
from pathlib import Path

import numpy as np
import overestimation
import pytest


def samples(action: int) -> np.ndarray:
    """The integer states that an action's fit has seen; the first action lacks -5 and -4."""
    return np.array([s for s in range(-6, 7) if s not in (action - 5, action - 4)], dtype=float)


def expected_maximum(n: int) -> float:
    """Of n standard normal numbers: the integral of x times the density of the largest."""
    x = np.linspace(-9, 9, 20_001)
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    return float((x * n * density * below ** (n - 1)).sum() * (x[1] - x[0]))


@pytest.mark.parametrize("setting", overestimation.SETTINGS, ids=lambda setting: setting.name)
def test_the_fits_are_least_squares(setting: "overestimation.Setting") -> None:
    states = np.array([-5.5, 0.0, 3.25])
    values = overestimation.fitted_values(setting, states)
    assert values.shape == (3, 10)
    for action in range(10):
        seen = samples(action)
        assert len(seen) == 11
        coefficients = np.linalg.lstsq(np.vander(seen / 6, setting.degree + 1), setting.true_value(seen), rcond=None)[0]
        assert np.polyval(coefficients, states / 6) == pytest.approx(values[:, action], abs=1e-8)


def test_a_fit_of_degree_ten_passes_through_what_it_has_seen_and_not_through_what_it_lacks() -> None:
    setting = overestimation.SETTINGS[2]._replace(degree=10)
    for action in range(10):
        seen = samples(action)
        values = overestimation.fitted_values(setting, seen)[:, action]
        assert values == pytest.approx(setting.true_value(seen), abs=1e-8)
        lacking = np.array([action - 5.0, action - 4.0])
        values = overestimation.fitted_values(setting, lacking)[:, action]
        assert np.max(np.abs(values - setting.true_value(lacking))) > 0.01


def test_a_function_that_can_be_fitted_is_not_overestimated() -> None:
    setting = overestimation.Setting("cubic", lambda states: states**3 - states, 6, (0.0, 0.0))
    error = overestimation.setting_errors(setting)
    assert error.single == pytest.approx(0, abs=1e-9)
    assert error.double == pytest.approx(0, abs=1e-9)


def test_errors_against_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    q_values, second, true_values = rng.normal(size=(20, 5)), rng.normal(size=(20, 5)), rng.normal(size=20)
    error = overestimation.errors(q_values, second, true_values)
    for row in range(20):
        best = max(range(5), key=lambda action: q_values[row, action])
        assert error.single[row] == pytest.approx(q_values[row, best] - true_values[row])
        assert error.double[row] == pytest.approx(second[row, best] - true_values[row])


def test_the_second_estimate_is_that_of_the_action_five_places_further() -> None:
    setting = overestimation.SETTINGS[0]
    q_values = overestimation.fitted_values(setting, overestimation.STATES)
    error = overestimation.setting_errors(setting)
    for row in range(0, len(overestimation.STATES), 50):
        best = int(q_values[row].argmax())
        true_value = math.sin(overestimation.STATES[row])
        assert error.double[row] == pytest.approx(q_values[row, (best + 5) % 10] - true_value)


@pytest.mark.parametrize("n_actions", [2, 8, 64])
def test_normal_errors_have_the_bias_that_theory_says(n_actions: int) -> None:
    error = overestimation.noise_errors(n_actions, repetitions=4000, seed=1)
    assert expected_maximum(2) == pytest.approx(1 / math.sqrt(math.pi))
    assert error.single.mean() == pytest.approx(expected_maximum(n_actions), abs=0.06)
    assert error.double.mean() == pytest.approx(0, abs=0.08)
    assert error.double.std() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("n_actions", [2, 5, 30])
def test_no_balanced_errors_fall_below_theorem_1(n_actions: int) -> None:
    noise = np.random.default_rng(0).standard_normal((500, n_actions))
    noise -= noise.mean(axis=1, keepdims=True)
    error = overestimation.errors(noise, noise, np.zeros(500))
    bound = np.sqrt((noise**2).mean(axis=1) / (n_actions - 1))
    assert np.all(error.single >= bound - 1e-9)


def test_claims_hold_and_can_fail() -> None:
    fits = [overestimation.setting_errors(setting) for setting in overestimation.SETTINGS]
    noise = [overestimation.noise_errors(n_actions, 200, seed=0) for n_actions in (2, 8, 64)]
    assert all(overestimation.judge(fits, noise).values())

    no_better = [overestimation.Errors(error.single, error.single) for error in fits]
    too_low = [overestimation.Errors(-error.single, error.double) for error in fits]
    for wrong, failing in ((no_better, ("ten times", "printed")), (too_low, ("maximum overestimates", "printed"))):
        for claim, holds in overestimation.judge(wrong, noise).items():
            assert holds is not any(word in claim for word in failing) or claim.startswith("normal errors"), claim
    claims = overestimation.judge(fits, noise[::-1])
    assert [claim for claim, holds in claims.items() if not holds] == [
        "normal errors: the maximum overestimates more, the more actions there are"
    ]
    claims = overestimation.judge(fits, [overestimation.Errors(error.single, error.single) for error in noise])
    assert [claim for claim, holds in claims.items() if not holds] == [
        "normal errors: the double estimate is unbiased, to within 4 standard errors"
    ]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "small"
    assert overestimation.main(["--actions", "2", "16", "--repetitions", "300", "--output", str(output)]) == 0
    assert "FAIL" not in capsys.readouterr().out
    figures = json.loads(output.with_suffix(".json").read_text())
    assert figures["mean_errors"]["sin(s), degree 6"]["maximum"] == pytest.approx(0.61, abs=0.005)
    assert len(figures["mean_errors"]) == 5
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
