"""
Blind Cliffwalk: in what order should one replay, if a single transition of 131,070 holds the reward?

Schaul et al. 2016 (Prioritized Experience Replay, arXiv 1511.05952), figures 1 and 2 and appendix B.1. In each of n states
one of two actions moves on and the other ends the episode; only the last state's right action gives reward 1. All 2^n
action sequences are stored in random order, and tabular Q-learning replays one transition an update until its mean squared
error is below 0.001. Four ways to choose that transition, from the best imaginable to the plainest:

- oracle: the one whose update brings the values closest to the truth, which nobody knows;
- greedy: the one whose TD error was largest when last seen;
- prioritized: at random in proportion to (TD error + eps)^alpha, by this package's replay buffer;
- uniform: the same with alpha = 0.

As in the paper a transition comes with the largest priority (here 1), so that each is seen at least once: greedy can't need
many fewer updates than there are transitions. Importance weights are left out: nothing is random here, so the true values
are where every TD error is zero, however often each transition is replayed. The paper shows the stochastic sampler with
linear function approximation (figure 2, right); here all four learn the same table, and alpha is the paper's for Atari.

The table shows the median number of updates. With many states greedy and prioritized need little more than one pass over
the memory, while uniform must meet the one rewarded transition about a dozen times: the gap between them grows with n, but
levels off there. Takes five minutes on one CPU core.
"""

import heapq
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from math import comb
from typing import NamedTuple

import numpy as np
from experiment import finish, make_parser, panels
from gymnasium import spaces
from matplotlib.figure import Figure

from sb3_dqn_ext.replay.buffer import FrameReplayBuffer
from sb3_dqn_ext.replay.sum_tree import SumTree
from sb3_dqn_ext.report.curves import BLUE, GREEN, GREY, ORANGE

STATES = (*range(2, 11), 13, 16)  # the last ones take nearly all the time
RUNS = 10
ALPHA = 0.6  # the paper's, table 3
STEP_SIZE = 1 / 4
TOLERANCE = 1e-3  # of the mean squared error
SEPARATE = 6  # states from which the ways must differ; with fewer, there is little to choose from
LIMIT = 200  # updates a transition; uniform needs about 14
CHUNK = 4096  # uniform draws at a time
RESAMPLES = 2000

# A sampler yields the kind of transition to replay next, and is sent the absolute TD error found there.
Picks = Generator[int, float, None]


def transitions(n_states: int, rng: np.random.Generator) -> Iterator[tuple[int, int, float, bool]]:
    """
    Execute every sequence of actions until it fails or succeeds (appendix B.1).

    :param n_states: length of the walk
    :param rng: of the order of the sequences
    :return: state, action, reward, done
    """
    for sequence in rng.permutation(2**n_states):
        for state in range(n_states):
            action = int(sequence >> state & 1)
            right, last = action == state % 2, state == n_states - 1  # which action is right alternates
            yield state, action, float(right and last), last or not right
            if not right:
                break


def true_values(n_states: int) -> np.ndarray:
    """
    :param n_states: length of the walk
    :return: float64 [2 * n_states], gamma^(steps to the reward) of the right actions, 0 of the wrong ones, by kind
    """
    values = np.zeros((n_states, 2))
    states = np.arange(n_states)
    values[states, states % 2] = (1 - 1 / n_states) ** (n_states - 1 - states)
    return values.reshape(-1)


class Memory(NamedTuple):
    """
    A full replay buffer and what it gives back. Of its transitions only 2n are different: kind = 2 * state + action.

    :param buffer: holds N transitions
    :param slots: int64 [N], where they are
    :param kinds: int64 [capacity], kind in each slot
    :param rewards: float64 [2n], by kind
    :param discounts: float64 [2n], gamma, or 0 where the episode ends
    :param next_states: int64 [2n]
    """

    buffer: FrameReplayBuffer
    slots: np.ndarray
    kinds: np.ndarray
    rewards: np.ndarray
    discounts: np.ndarray
    next_states: np.ndarray

    @classmethod
    def fill(cls, n_states: int, rng: np.random.Generator) -> "Memory":
        """
        :param n_states: length of the walk
        :param rng: of the order of the sequences
        """
        size, gamma = 2 ** (n_states + 1) - 2, 1 - 1 / n_states
        walk, actions = spaces.Discrete(n_states), spaces.Discrete(2)
        buffer = FrameReplayBuffer(size, walk, actions, "cpu", gamma=gamma, frame_stack=1, alpha=ALPHA, seed=0)
        for state, action, reward, done in transitions(n_states, rng):
            next_state = 0 if done else state + 1
            row = (np.array([value]) for value in (state, next_state, action, reward, done))
            buffer.add(*row, infos=[{}])
        # All priorities are equal still, so that this stratified batch holds each transition once.
        batch, slots = buffer.sample_batch(size)
        kinds = np.zeros(slots.max() + 1, dtype=np.int64)
        kinds[slots] = 2 * batch.observations.numpy().reshape(-1) + batch.actions.numpy()
        rewards, discounts, next_states = (
            np.zeros(2 * n_states),
            np.zeros(2 * n_states),
            np.zeros(2 * n_states, dtype=np.int64),
        )
        rewards[kinds[slots]] = batch.rewards.numpy()
        discounts[kinds[slots]] = batch.discounts.numpy()
        next_states[kinds[slots]] = batch.next_observations.numpy().reshape(-1)
        return cls(buffer, slots, kinds, rewards, discounts, next_states)

    def restart(self, alpha: float) -> SumTree:
        """
        :param alpha: priority exponent from now on
        :return: the buffer's tree, all priorities as if the transitions had just arrived
        """
        self.buffer.alpha = alpha
        self.buffer.update_priorities(self.slots, np.ones(len(self.slots)))
        return self.buffer.storage.tree


class Learner:
    """
    Tabular Q-learning (appendix B.1, equations 2 and 3), in Python's numbers: single updates are faster so.

    :param memory: what is replayed
    :param q_values: float64 [2n], initial values by kind
    """

    def __init__(self, memory: Memory, q_values: np.ndarray) -> None:
        truth = true_values(len(q_values) // 2)
        self.q_values: list[float] = q_values.tolist()
        self.truth: list[float] = truth.tolist()
        self.rewards: list[float] = memory.rewards.tolist()
        self.discounts: list[float] = memory.discounts.tolist()
        self.next_kinds: list[int] = (2 * memory.next_states).tolist()
        self.squares = float(((q_values - truth) ** 2).sum())
        self.tolerance = TOLERANCE * len(truth)

    @property
    def converged(self) -> bool:
        """Whether the mean squared error is small enough."""
        return self.squares < self.tolerance

    def preview(self, kind: int) -> tuple[float, float]:
        """
        :param kind: of transition
        :return: its TD error, and by how much replaying it would change the sum of squared errors
        """
        q, after = self.q_values, self.next_kinds[kind]
        td_error = self.rewards[kind] + self.discounts[kind] * max(q[after], q[after + 1]) - q[kind]
        step = STEP_SIZE * td_error
        return td_error, step * (2 * (q[kind] - self.truth[kind]) + step)

    def update(self, kind: int) -> float:
        """
        :param kind: of transition to replay
        :return: its absolute TD error before
        """
        td_error, change = self.preview(kind)
        self.q_values[kind] += STEP_SIZE * td_error
        self.squares += change
        return abs(td_error)


def oracle(memory: Memory, learner: Learner, rng: np.random.Generator) -> Picks:
    """The transition whose update reduces the mean squared error most (section 3.1)."""
    kinds = range(len(learner.truth))
    while True:
        yield min(kinds, key=lambda kind: learner.preview(kind)[1])


def greedy(memory: Memory, learner: Learner, rng: np.random.Generator) -> Picks:
    """The transition with the largest last-seen TD error (section 3.2), equal ones in random order."""
    kinds = memory.kinds[rng.permutation(memory.slots)].tolist()
    heap = [(-1.0, place) for place in range(len(kinds))]
    while True:
        place = heap[0][1]
        td_error = yield kinds[place]
        heapq.heapreplace(heap, (-td_error, place))


def prioritized(memory: Memory, learner: Learner, rng: np.random.Generator) -> Picks:
    """One in proportion to its priority (section 3.3, equation 1)."""
    tree, kinds = memory.restart(ALPHA), memory.kinds.tolist()
    while True:
        slots = tree.sample(1, rng)
        td_error = yield kinds[slots[0]]
        memory.buffer.update_priorities(slots, np.array([td_error]))


def uniform(memory: Memory, learner: Learner, rng: np.random.Generator) -> Picks:
    """Any, with equal probability."""
    tree = memory.restart(alpha=0.0)
    # Each transition has mass 1 and keeps it, so millions of draws need to search the tree only once for each transition.
    kinds = memory.kinds[tree.find(np.arange(tree.total) + 0.5)]
    while True:
        for kind in kinds[rng.integers(len(kinds), size=CHUNK)].tolist():  # noqa: UP028 - a list takes no errors
            yield kind


Sampler = Callable[[Memory, Learner, np.random.Generator], Picks]
SAMPLERS: tuple[Sampler, ...] = (oracle, greedy, prioritized, uniform)  # fewest updates first, says the paper
NAMES = tuple(sampler.__name__ for sampler in SAMPLERS)


def count_updates(sampler: Sampler, memory: Memory, q_values: np.ndarray, rng: np.random.Generator) -> int:
    """
    :param sampler: chooses what is replayed
    :param memory: what it chooses from
    :param q_values: float64 [2n], initial values by kind
    :param rng: of the sampler
    :return: number of updates until convergence
    """
    learner = Learner(memory, q_values)
    picks = sampler(memory, learner, rng)
    kind = next(picks)
    for updates in range(1, LIMIT * len(memory.slots)):
        td_error = learner.update(kind)
        if learner.converged:
            return updates
        kind = picks.send(td_error)
    raise RuntimeError(f"No convergence after {LIMIT} updates a transition with the sampler {sampler.__name__}.")


def measure(n_states: int, n_runs: int, seed: int) -> np.ndarray:
    """
    :param n_states: length of the walk
    :param n_runs: each with initial values of its own, the same for every sampler
    :param seed: of everything random
    :return: int64 [samplers, runs], number of updates
    """
    rng = np.random.default_rng([seed, n_states])
    memory = Memory.fill(n_states, rng)
    initial = rng.normal(0.0, 0.1, (n_runs, 2 * n_states))
    return np.array([[count_updates(sampler, memory, values, rng) for values in initial] for sampler in SAMPLERS])


def sign_test(faster: np.ndarray, slower: np.ndarray) -> float:
    """
    :param faster: int64 [runs], updates
    :param slower: int64 [runs], updates from the same initial values
    :return: probability of so many wins or more, if neither were faster
    """
    n_runs, wins = len(faster), int((faster < slower).sum())
    return sum(comb(n_runs, k) for k in range(wins, n_runs + 1)) / 2**n_runs


def growth(states: Sequence[int], faster: np.ndarray, slower: np.ndarray) -> tuple[float, float]:
    """
    By what factor slower / faster grows with each state: its logarithm's slope, with runs resampled for an interval.

    :param states: lengths of the walks
    :param faster: int64 [sizes, runs], updates
    :param slower: int64 [sizes, runs], updates
    :return: bounds of the 95% interval; a constant ratio has factor 1
    """
    ratios = np.log2(slower / faster)
    n_sizes, n_runs = ratios.shape
    drawn = np.random.default_rng(0).integers(n_runs, size=(RESAMPLES, n_sizes, n_runs))
    means = ratios[np.arange(n_sizes)[:, None], drawn].mean(axis=2)
    centred = np.array(states) - np.mean(states)
    low, high = np.quantile(means @ centred / (centred**2).sum(), [0.025, 0.975])
    return 2 ** float(low), 2 ** float(high)


def judge(states: Sequence[int], updates: np.ndarray) -> dict[str, bool]:
    """
    Each claim is made of every size at once, so that testing each size at 5% leaves it a 5% chance to pass wrongly.

    :param states: lengths of the walks
    :param updates: int64 [samplers, sizes, runs]
    :return: claims and whether they hold
    """
    claims = {}
    for i in range(len(NAMES) - 1):
        tests = [sign_test(*updates[i : i + 2, j]) for j, n_states in enumerate(states) if n_states >= SEPARATE]
        claim = f"{NAMES[i]} needs fewer updates than {NAMES[i + 1]}: sign test p < 0.05 for every n >= {SEPARATE}"
        claims[claim] = len(tests) > 0 and max(tests) < 0.05
    claims["uniform / prioritized grows with n: 95% interval above a factor of 1 per state"] = (
        growth(states, *updates[2:])[0] > 1
    )
    return claims


def draw(states: Sequence[int], updates: np.ndarray) -> Figure:
    """
    :param states: lengths of the walks
    :param updates: int64 [samplers, sizes, runs]
    :return: medians bold, smallest and largest faint, as in the paper's figures 1 and 2
    """
    figure, axes = panels(["Updates until the values are known", "What prioritizing saves"])
    sizes = 2.0 ** (np.array(states) + 1) - 2
    axes[0].plot(sizes, sizes, ":", color="black", lw=1.2, label="one update a transition")
    for name, color, row in zip(NAMES, (GREEN, ORANGE, BLUE, GREY), updates, strict=True):
        axes[0].fill_between(sizes, row.min(axis=1), row.max(axis=1), color=color, alpha=0.2, linewidth=0)
        axes[0].plot(sizes, np.median(row, axis=1), "o-", color=color, ms=4, lw=1.8, label=name)
    axes[0].set(ylabel="updates", xlabel="transitions in the replay memory", xscale="log", yscale="log")
    axes[0].legend(loc="upper left", frameon=False, reverse=True)  # as the lines lie above one another
    ratios = updates[3] / updates[2]
    axes[1].fill_between(sizes, ratios.min(axis=1), ratios.max(axis=1), color=BLUE, alpha=0.2, linewidth=0)
    axes[1].plot(sizes, np.median(ratios, axis=1), "o-", color=BLUE, ms=4, lw=1.8)
    axes[1].set(
        ylabel="updates, uniform / prioritized", xlabel="transitions in the replay memory", xscale="log", ylim=(0, None)
    )
    return figure


def main(argv: Sequence[str] | None = None) -> int:
    parser = make_parser(__file__, __doc__ or "")
    parser.add_argument("--states", type=int, nargs="+", default=STATES, metavar="N", help="lengths of the walk")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs per length (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    options = parser.parse_args(argv)

    print(f"{'n':>2} {'transitions':>11}" + "".join(f"{name:>12}" for name in NAMES) + "  uniform / prioritized")
    results = []
    for n_states in options.states:
        results.append(measure(n_states, options.runs, options.seed))
        medians = np.median(results[-1], axis=1)
        row = "".join(f"{median:12,.0f}" for median in medians)
        print(f"{n_states:2} {2 ** (n_states + 1) - 2:11,}{row}{medians[3] / medians[2]:23.1f}", flush=True)
    updates = np.stack(results, axis=1)
    factor = growth(options.states, *updates[2:])
    print(f"uniform / prioritized grows by a factor of {factor[0]:.2f} to {factor[1]:.2f} per state (95% interval).")
    figures = {
        "alpha": ALPHA,
        "seed": options.seed,
        "states": list(options.states),
        "transitions": [2 ** (n_states + 1) - 2 for n_states in options.states],
        "growth_per_state": factor,
        "updates": dict(zip(NAMES, updates.tolist(), strict=True)),
    }
    return finish(options.output, figures, draw(options.states, updates), judge(options.states, updates))


if __name__ == "__main__":
    sys.exit(main())
