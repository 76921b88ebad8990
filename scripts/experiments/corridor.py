"""
Policy evaluation in the corridor: does a dueling network learn Q faster than a single stream, the more so the more actions?

Wang et al. 2016, Dueling Network Architectures (arXiv 1511.06581), section 4.1 and figure 3. Two vertical corridors of 10
states and a horizontal one of 50 between them; the episode starts at the bottom left. Five actions (up, down, left, right,
no-op) or, with more no-ops, 10 and 20. The policy takes the optimal action with probability 0.999 and a random one otherwise.
TD(0) with the expected target r + gamma * sum over a' of pi(a'|s') Q(s', a') learns its Q, and the squared error against the
exact Q is summed over all states and actions.

Single stream: two hidden layers of 50. Dueling: a hidden layer of 50, then a value and an advantage stream with 25 each.

The paper doesn't say the following, so these are our choices:

- reward 1 for leaving through the top right end, 0.1 through the end below the start; gamma 0.99;
- the network sees the coordinates; ``--one-hot`` gives it one input per state;
- an update takes 32 transitions, drawn independently from those that the policy makes, and a step of Adam on their mean
  squared TD error. Both networks get the same five learning rates, the same transitions and, seed by seed, are compared at
  the rate that is best for each.

The gap is log10 of the factor by which the single stream's error is the larger one, averaged over the updates as plotted:
log-spaced, from 10 on. The claims say that it is above 0 and grows with the number of actions, by bootstrap over the seeds.

For comparison, the gap is also measured where all states and actions are drawn equally often, of which the paper says nothing:
there dueling hardly helps. The policy takes most actions once in thousands of steps, and what it learns of the state from the
others is what the dueling network is ahead by. Takes about four minutes on one CPU core.

    python scripts/experiments/corridor.py
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch as th
from experiment import finish, make_parser, panels
from matplotlib.figure import Figure
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from sb3_dqn_ext.learning.targets import greedy_weights
from sb3_dqn_ext.networks import make_streams
from sb3_dqn_ext.report.curves import BLUE, GREY, ORANGE

VERTICAL, HORIZONTAL = 10, 50
MOVES = ((0, 1), (0, -1), (-1, 0), (1, 0))  # up, down, left, right; further actions do nothing
GAMMA = 0.99
EPSILON = 0.001
BATCH_SIZE = 32
LEARNING_RATES = (0.0003, 0.001, 0.003, 0.01, 0.03)
RESAMPLES = 10_000


class Corridor(NamedTuple):
    """
    The environment and the policy to evaluate; S states.

    :param positions: float32 [S, 2], x and y
    :param next_states: int64 [S, A], S where the episode ends
    :param rewards: float64 [S, A]
    :param policy: float64 [S, A]
    :param q_values: float64 [S, A], exact values of the policy
    :param visits: float64 [S, A], expected share of each pair in the policy's transitions
    """

    positions: th.Tensor
    next_states: th.Tensor
    rewards: th.Tensor
    policy: th.Tensor
    q_values: th.Tensor
    visits: th.Tensor


def backup(rewards: th.Tensor, next_states: th.Tensor, values: th.Tensor) -> th.Tensor:
    """
    :param rewards: [S, A]
    :param next_states: int64 [S, A], S where the episode ends
    :param values: [..., S]
    :return: [..., S, A], r + gamma * V(s')
    """
    return rewards + GAMMA * nn.functional.pad(values, (0, 1))[..., next_states]


def make_corridor(n_actions: int) -> Corridor:
    """
    :param n_actions: A, at least 4
    :return: with the policy's exact values
    """
    path = [(0, y) for y in range(VERTICAL)]
    path += [(x, VERTICAL - 1) for x in range(1, HORIZONTAL + 1)]
    path += [(HORIZONTAL, y) for y in range(VERTICAL, 2 * VERTICAL)]
    state_at = {position: state for state, position in enumerate(path)}
    n_states = len(path)
    next_states = th.arange(n_states).unsqueeze(1).repeat(1, n_actions)
    for state, (x, y) in enumerate(path):
        for action, (dx, dy) in enumerate(MOVES):
            next_states[state, action] = state_at.get((x + dx, y + dy), state)
    next_states[0, 1] = next_states[-1, 0] = n_states
    rewards = th.zeros(n_states, n_actions, dtype=th.float64)
    rewards[0, 1], rewards[-1, 0] = 0.1, 1.0

    q_values = th.zeros_like(rewards)
    for _ in range(2 * n_states):  # exact after as many sweeps as the longest way to an end has steps
        q_values = backup(rewards, next_states, q_values.amax(dim=1))
    policy = EPSILON / n_actions + (1 - EPSILON) * greedy_weights(q_values=q_values)

    arrivals = nn.functional.one_hot(next_states, n_states + 1)[..., :-1].double()
    moves = th.einsum("sa,san->sn", policy, arrivals)
    identity = th.eye(n_states, dtype=th.float64)
    values = th.linalg.solve(identity - GAMMA * moves, (policy * rewards).sum(dim=1))
    times = th.linalg.solve((identity - moves).T, identity[0])  # in each state during an episode
    visits = times.unsqueeze(1) * policy / times.sum()
    return Corridor(th.tensor(path).float(), next_states, rewards, policy, backup(rewards, next_states, values), visits)


def make_network(n_inputs: int, n_actions: int, dueling: bool, seed: int) -> nn.Module:
    """
    :param n_inputs: size of an observation
    :param n_actions: A
    :param dueling: two streams of 25 hidden units in place of one of 50
    :param seed: of the initial weights
    :return: maps float32 [B, n_inputs] to Q-values, float32 [B, A]
    """
    th.manual_seed(seed)
    streams = make_streams(
        features_dim=50,
        n_actions=n_actions,
        n_outputs=1,
        net_arch=[25 if dueling else 50],
        activation_fn=nn.ReLU,
        dueling=dueling,
    )
    return nn.Sequential(nn.Linear(n_inputs, 50), nn.ReLU(), streams)


def observations(corridor: Corridor, one_hot: bool) -> th.Tensor:
    """
    :param corridor: S states
    :param one_hot: one input per state in place of the coordinates, scaled to -1 to 1
    :return: float32 [S, inputs]
    """
    return th.eye(len(corridor.positions)) if one_hot else 2 * corridor.positions / corridor.positions.amax(dim=0) - 1


def logged_updates(updates: int) -> list[int]:
    """
    :param updates: in all, at least 10
    :return: about 40, log-spaced
    """
    return np.unique(np.geomspace(10, updates, 40).round().astype(int)).tolist()


def learn(corridor: Corridor, pairs: th.Tensor, inputs: th.Tensor, dueling: bool, n_seeds: int, updates: int) -> np.ndarray:
    """
    Train a network for every learning rate and seed, all side by side, and follow their errors.

    :param corridor: what to learn
    :param pairs: float64 [S, A], how likely each state and action is drawn
    :param inputs: float32 [S, inputs], observation of each state
    :param dueling: which network
    :param n_seeds: seeds 0 to n_seeds - 1, each with its own weights and transitions
    :param updates: number of them
    :return: float64 [learning rates, seeds, T], squared error before each of ``logged_updates``, inf where it diverged
    """
    n_rates, n_actions = len(LEARNING_RATES), corridor.rewards.shape[1]
    networks = [make_network(inputs.shape[1], n_actions, dueling, seed) for _ in LEARNING_RATES for seed in range(n_seeds)]
    initial = {name: weights.detach() for name, weights in stack_module_state(networks)[0].items()}
    forward = vmap(lambda weights: functional_call(networks[0], weights, (inputs,)))
    # Adam's steps don't depend on the gradient's scale, so steps of size 1, times each network's own rate, are what it takes.
    progress = {name: th.zeros_like(weights, requires_grad=True) for name, weights in initial.items()}
    optimizer = th.optim.Adam(progress.values(), lr=1.0, eps=1e-12)
    rates = th.tensor(LEARNING_RATES).repeat_interleave(n_seeds)
    rate_of = {name: rates.view(-1, *[1] * (weights.dim() - 1)) for name, weights in initial.items()}
    rewards, policy, exact = corridor.rewards.float(), corridor.policy.float(), corridor.q_values.float()
    generator = th.Generator().manual_seed(0)
    logged, errors = set(logged_updates(updates)), []
    for update in range(1, updates + 1):
        q_values = forward({name: weights + rate_of[name] * progress[name] for name, weights in initial.items()})
        with th.no_grad():
            if update in logged:
                errors.append((q_values - exact).square().sum(dim=(1, 2)))
            targets = backup(rewards, corridor.next_states, (policy * q_values).sum(dim=2))
            drawn = th.multinomial(pairs.flatten(), n_seeds * BATCH_SIZE, replacement=True, generator=generator)
            shares = th.zeros(n_seeds, pairs.numel())
            shares.scatter_add_(1, drawn.view(n_seeds, -1), th.full((n_seeds, BATCH_SIZE), 1 / BATCH_SIZE))
        loss = (shares.view(-1, *pairs.shape).repeat(n_rates, 1, 1) * (q_values - targets).square()).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    squared = th.stack(errors, dim=1).view(n_rates, n_seeds, -1).double()
    return squared.nan_to_num(nan=float("inf")).numpy()


class Comparison(NamedTuple):
    """
    Both networks in one corridor.

    :param single: float64 [learning rates, seeds, T], squared errors
    :param dueling: the same
    """

    single: np.ndarray
    dueling: np.ndarray

    def gaps(self) -> np.ndarray:
        """
        :return: float64 [seeds], mean over time of log10(single / dueling), each at its best rate
        """
        single, dueling = (np.log10(errors[best_rate(errors)]).mean(axis=1) for errors in self)
        return single - dueling


def best_rate(errors: np.ndarray) -> int:
    """
    :param errors: float64 [learning rates, seeds, T]
    :return: index of the rate with the least mean logarithm
    """
    return int(np.log10(errors).mean(axis=(1, 2)).argmin())


def resampled_means(values: np.ndarray, seed: int) -> np.ndarray:
    """
    :param values: float64 [seeds]
    :param seed: of the bootstrap
    :return: float64 [RESAMPLES]
    """
    return np.random.default_rng(seed).choice(values, (RESAMPLES, len(values))).mean(axis=1)


def interval(means: np.ndarray) -> tuple[float, float]:
    """
    :param means: float64 [RESAMPLES]
    :return: the middle 95%
    """
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def judge(gaps: Mapping[int, np.ndarray]) -> dict[str, bool]:
    """
    :param gaps: of each seed, by ascending number of actions
    :return: what the paper's figure 3 says, and whether it is so here
    """
    means = {n_actions: resampled_means(gap, seed=n_actions) for n_actions, gap in gaps.items()}
    claims = {f"{n_actions} actions: dueling has the lower error": interval(mean)[0] > 0 for n_actions, mean in means.items()}
    slopes = np.polyfit(np.log2(list(means)), np.stack(list(means.values())), 1)[0]
    return claims | {"the gap grows with the number of actions": interval(slopes)[0] > 0}


def draw(drawn: Mapping[str, Mapping[int, Comparison]], updates: int) -> Figure:
    """
    :param drawn: by how pairs are drawn and number of actions; the first way is shown in full
    :param updates: number of them
    :return: a panel for each number of actions, and one for the gaps
    """
    shown = next(iter(drawn.values()))
    figure, axes = panels([f"{n_actions} actions" for n_actions in shown] + ["single / dueling"], width=4.2)
    for axis in axes[1:-1]:
        axis.sharey(axes[0])
    for axis, comparison in zip(axes, shown.values(), strict=False):
        for name, color, errors in (("single stream", ORANGE, comparison.single), ("dueling", BLUE, comparison.dueling)):
            best = best_rate(errors)
            x, y = logged_updates(updates), errors[best]
            axis.fill_between(x, y.min(axis=0), y.max(axis=0), color=color, alpha=0.15, lw=0)
            axis.plot(x, 10 ** np.log10(y).mean(axis=0), color=color, lw=2, label=f"{name}, rate {LEARNING_RATES[best]:g}")
        axis.set(xscale="log", yscale="log", xlabel="updates")
        axis.legend(loc="lower left")
    axes[0].set_ylabel("squared error, mean and range of the seeds")
    for (way, comparisons), color, shape in zip(drawn.items(), ("black", GREY), ("o-", "s--"), strict=True):
        gaps = [comparison.gaps() for comparison in comparisons.values()]
        middle = np.array([10 ** gap.mean() for gap in gaps])
        ends = 10 ** np.array([interval(resampled_means(gap, seed=n)) for n, gap in zip(comparisons, gaps, strict=True)]).T
        axes[-1].errorbar(list(comparisons), middle, np.abs(ends - middle), color=color, fmt=shape, capsize=3, label=way)
    axes[-1].axhline(1, color=GREY, lw=0.8)
    axes[-1].set(yscale="log", xlabel="actions", ylabel="factor between the errors, 95% interval", xticks=list(shown))
    axes[-1].set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    axes[-1].minorticks_off()
    axes[-1].legend(loc="best")
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """
    :param arguments: of the command line; if None, the process's own
    :return: exit status, 0 when every claim holds
    """
    parser = make_parser(__file__, str(__doc__))
    parser.add_argument("--actions", type=int, nargs="+", default=[5, 10, 20], help="ascending (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each network (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=2500, help="of each run (default: %(default)s)")
    parser.add_argument("--one-hot", action="store_true", help="one input per state in place of the coordinates")
    args = parser.parse_args(arguments)

    ways = ("as the policy acts", "all pairs equally often")
    drawn: dict[str, dict[int, Comparison]] = {way: {} for way in ways}
    figures: dict[str, Any] = {"seeds": args.seeds, "one_hot": args.one_hot, "updates": logged_updates(args.updates)}
    print("mean log10 squared error" + "".join(f"{f'rate {rate:g}':>13}" for rate in LEARNING_RATES) + f"{'at the end':>12}")
    for n_actions in args.actions:
        corridor = make_corridor(n_actions)
        inputs = observations(corridor, args.one_hot)
        for way, pairs in zip(ways, (corridor.visits, th.ones_like(corridor.visits)), strict=True):
            single, dueling = (learn(corridor, pairs, inputs, kind, args.seeds, args.updates) for kind in (False, True))
            comparison = drawn[way][n_actions] = Comparison(single, dueling)
            gaps = comparison.gaps()
            low, high = interval(resampled_means(gaps, seed=n_actions))
            print(f"{n_actions} actions, {way}")
            figures[f"{n_actions} actions, {way}"] = {"gaps": gaps.tolist(), "interval": [low, high]}
            for name, errors in comparison._asdict().items():
                scores, best = np.log10(errors).mean(axis=(1, 2)), best_rate(errors)
                curve = 10 ** np.log10(errors[best]).mean(axis=0)
                print(f"{name:>24}" + "".join(f"{score:>13.2f}" for score in scores) + f"{curve[-1]:>12.2f}")
                figures[f"{n_actions} actions, {way}"][name] = {
                    "mean_log10_by_rate": dict(zip(map(str, LEARNING_RATES), scores.tolist(), strict=True)),
                    "squared_error_at_best_rate": curve.tolist(),
                }
            print(f"{'gap':>24}{gaps.mean():>13.2f}  ({low:.2f} to {high:.2f})", flush=True)
    claims = judge({n_actions: comparison.gaps() for n_actions, comparison in drawn[ways[0]].items()})
    return finish(args.output, figures, draw(drawn, args.updates), claims)


if __name__ == "__main__":
    sys.exit(main())
