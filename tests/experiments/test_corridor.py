"""The corridor: the walk and its values by slow loops, learning against one network at a time, and claims that can fail."""

import json
import math
import random
from pathlib import Path

import corridor
import numpy as np
import pytest
import torch as th

# Top to bottom: the end with reward 1, the corridors, the end with reward 0.1
MAP = (
    [" " * 50 + "G"]
    + [" " * 50 + "."] * 10
    + ["." * 51]
    + ["." + " " * 50] * 9
    + ["g" + " " * 50]
)  # fmt: skip
ENDS = {"G": 1.0, "g": 0.1}
Place = tuple[int, int]


def step(place: Place, action: int) -> tuple[float, Place | None]:
    """Reward and next place, None at the end; places are row and column of the map."""
    down, right = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}.get(action, (0, 0))
    row, column = place[0] + down, place[1] + right
    letter = MAP[row][column] if 0 <= column < 51 else " "
    if letter in ENDS:
        return ENDS[letter], None
    return 0.0, (row, column) if letter == "." else place


def place_of(position: th.Tensor) -> Place:
    """Of x and y, which counts from the start upwards."""
    return 20 - int(position[1]), int(position[0])


def onwards(place: Place) -> int:
    """The best action: right in the horizontal corridor, else up."""
    return 3 if place[0] == 11 and place[1] < 50 else 0


@pytest.mark.parametrize("n_actions", [5, 20])
def test_steps_and_policy_are_those_of_the_map(n_actions: int) -> None:
    task = corridor.make_corridor(n_actions)
    places = [place_of(position) for position in task.positions]
    assert len(set(places)) == 70
    assert places[0] == (20, 0)
    for state, place in enumerate(places):
        for action in range(n_actions):
            reward, next_place = step(place, action)
            assert task.rewards[state, action] == reward
            assert task.next_states[state, action] == (70 if next_place is None else places.index(next_place))
            chance = 0.001 / n_actions + (0.999 if action == onwards(place) else 0)
            assert task.policy[state, action].item() == pytest.approx(chance)


def test_exact_values_against_a_slow_loop() -> None:
    task = corridor.make_corridor(6)
    places = [place_of(position) for position in task.positions]
    steps = {place: [step(place, action) for action in range(6)] for place in places}
    values: dict[Place | None, float] = dict.fromkeys(places, 0.0) | {None: 0.0}
    for _ in range(1500):
        for place in reversed(places):
            q_values = [reward + 0.99 * values[next_place] for reward, next_place in steps[place]]
            values[place] = 0.999 * q_values[onwards(place)] + 0.001 * sum(q_values) / 6
    for state, place in enumerate(places):
        for action, (reward, next_place) in enumerate(steps[place]):
            assert task.q_values[state, action].item() == pytest.approx(reward + 0.99 * values[next_place], abs=1e-6)


def test_values_and_visits_against_episodes() -> None:
    task = corridor.make_corridor(5)
    rng, n_episodes = random.Random(0), 400
    returns, visits = [], np.zeros((70, 5))
    for _ in range(n_episodes):
        state, discount, total = 0, 1.0, 0.0
        while state < 70:
            action = rng.choices(range(5), task.policy[state].tolist())[0]
            visits[state, action] += 1
            total += discount * task.rewards[state, action].item()
            discount, state = discount * 0.99, int(task.next_states[state, action])
        returns.append(total)
    value = (task.policy * task.q_values).sum(dim=1)[0].item()
    assert np.mean(returns) == pytest.approx(value, abs=4 * np.std(returns) / math.sqrt(n_episodes))
    assert task.visits.sum().item() == pytest.approx(1)
    assert (visits / visits.sum()).sum(axis=1) == pytest.approx(task.visits.sum(dim=1).numpy(), rel=0.02)
    assert task.visits / task.visits.sum(dim=1, keepdim=True) == pytest.approx(task.policy)


@pytest.mark.parametrize("dueling", [False, True])
def test_networks_are_those_of_the_paper(dueling: bool) -> None:
    network = corridor.make_network(2, 10, dueling, seed=0)
    sizes = sorted(tuple(weights.shape) for weights in network.parameters() if weights.dim() == 2)
    assert sizes == ([(1, 25), (10, 25), (25, 50), (25, 50), (50, 2)] if dueling else [(10, 50), (50, 2), (50, 50)])
    assert network(th.rand(7, 2)).shape == (7, 10)


@pytest.mark.parametrize("dueling", [False, True])
def test_learning_side_by_side_equals_one_network_at_a_time(dueling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, n_seeds, updates = (0.001, 0.01), 2, 12
    monkeypatch.setattr(corridor, "LEARNING_RATES", rates)
    task = corridor.make_corridor(5)
    inputs = corridor.observations(task, one_hot=False)
    errors = corridor.learn(task, task.visits, inputs, dueling, n_seeds, updates)
    assert errors.shape == (2, 2, 3)  # before updates 10, 11 and 12
    generator = th.Generator().manual_seed(0)
    draws = [th.multinomial(task.visits.flatten(), 64, True, generator=generator).view(2, 32) for _ in range(updates)]
    for i, rate in enumerate(rates):
        for seed in range(n_seeds):
            network = corridor.make_network(2, 5, dueling, seed)
            optimizer = th.optim.Adam(network.parameters(), lr=rate, eps=1e-12 / rate)
            for update in range(updates):
                error = (network(inputs) - task.q_values).square().sum().item()
                if update >= 9:
                    assert errors[i, seed, update - 9] == pytest.approx(error, rel=1e-3)
                loss = th.zeros(())
                for pair in draws[update][seed].tolist():
                    state, action = divmod(pair, 5)
                    target, next_state = task.rewards[state, action], task.next_states[state, action]
                    if next_state < 70:
                        target = (
                            target + 0.99 * task.policy[next_state] @ network(inputs[next_state : next_state + 1])[0].double()
                        )
                    loss = loss + (network(inputs[state : state + 1])[0, action] - target.detach()) ** 2 / 32
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


def test_what_the_network_sees() -> None:
    task = corridor.make_corridor(5)
    inputs = corridor.observations(task, one_hot=False)
    assert inputs.amin(dim=0).tolist() == [-1, -1]
    assert inputs.amax(dim=0).tolist() == [1, 1]
    assert len(inputs.unique(dim=0)) == 70
    assert th.equal(corridor.observations(task, one_hot=True), th.eye(70))


def test_each_network_is_compared_at_its_best_rate() -> None:
    single, dueling = np.full((4, 3, 5), 1000.0), np.full((4, 3, 5), 1000.0)
    single[2], dueling[0] = 100, 1
    dueling[1, 0, -1] = np.inf
    assert (corridor.best_rate(single), corridor.best_rate(dueling)) == (2, 0)
    assert corridor.Comparison(single, dueling).gaps() == pytest.approx([2, 2, 2])
    assert corridor.best_rate(np.where(np.arange(4)[:, None, None] == 3, single, np.inf)) == 3


def test_claims_hold_and_can_fail() -> None:
    noise = np.random.default_rng(0).normal(scale=0.2, size=(3, 10))

    def failing(*means: float) -> list[str]:
        gaps = {n: mean + row for n, mean, row in zip((5, 10, 20), means, noise, strict=True)}
        return [claim for claim, holds in corridor.judge(gaps).items() if not holds]

    lower = "{} actions: dueling has the lower error"
    growth = "the gap grows with the number of actions"
    assert failing(0.3, 0.6, 0.9) == []
    assert failing(0.6, 0.6, 0.6) == [growth]
    assert failing(0.9, 0.6, 0.3) == [growth]
    assert failing(-0.5, 0.0, 0.9) == [lower.format(5), lower.format(10)]


def test_a_small_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "small"
    status = corridor.main(["--actions", "5", "7", "--seeds", "2", "--updates", "25", "--output", str(output)])
    assert status == ("FAIL" in capsys.readouterr().out)
    figures = json.loads(output.with_suffix(".json").read_text())
    assert len(figures["claims"]) == 3
    assert len(figures["7 actions, as the policy acts"]["gaps"]) == 2
    curve = figures["5 actions, all pairs equally often"]["single"]["squared_error_at_best_rate"]
    assert len(curve) == len(figures["updates"])
    assert figures["updates"][-1] == 25
    assert output.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
