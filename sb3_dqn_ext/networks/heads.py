"""Value heads: what the outputs of the streams mean, and how Q-values are read from them."""

import inspect
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch as th
from torch import nn

from sb3_dqn_ext.networks.noisy import Draw

Streams = Callable[[th.Tensor, Draw], th.Tensor]


class ActionValues(NamedTuple):
    """
    What a head says of each action.

    :param values: float32 [B, A, N]
    :param support: float32 [N] or [B, N], what each of the N refers to: an atom's value, a quantile's fraction
    """

    values: th.Tensor
    support: th.Tensor


class ValueHead(nn.Module):
    """
    What the N outputs per action mean. A head names its outputs; ``learning`` holds how each kind is backed up and which
    loss it has, under the same ``kind``.

    :param features_dim: F, for heads with layers of their own
    """

    kind: ClassVar[str]
    n_outputs: int  # of the streams, per action
    support: th.Tensor

    def __init__(self, features_dim: int) -> None:
        super().__init__()

    def expectation(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: float32 [..., N]
        :return: float32 [...], the expected return
        """
        raise NotImplementedError

    def learned(self, features: th.Tensor, streams: Streams, draw: Draw) -> ActionValues:
        """
        What the loss is computed from.

        :param features: float32 [B, F]
        :param streams: maps them to float32 [B, A * n_outputs]
        :param draw: which randomness to draw
        :return: of the network that learns
        """
        return ActionValues(streams(features, draw).unflatten(1, (-1, self.n_outputs)), self.support)

    def bootstrapped(self, features: th.Tensor, streams: Streams, draw: Draw) -> tuple[ActionValues, th.Tensor]:
        """
        What a target is computed from, with one draw of the noise.

        :param features: float32 [B, F]
        :param streams: maps them to float32 [B, A * n_outputs]
        :param draw: which randomness to draw
        :return: of the target network, and its Q-values, float32 [B, A]
        """
        values = self.learned(features, streams, draw)
        return values, self.expectation(values.values)

    def q_values(self, features: th.Tensor, streams: Streams, draw: Draw) -> th.Tensor:
        """
        What actions are chosen by.

        :param features: float32 [B, F]
        :param streams: maps them to float32 [B, A * n_outputs]
        :param draw: which randomness to draw
        :return: float32 [B, A], the expected return of each action
        """
        return self.expectation(self.learned(features, streams, draw).values)


class ScalarHead(ValueHead):
    """The expected return itself, N = 1 (Mnih et al. 2015)."""

    kind = "scalar"
    n_outputs = 1

    def __init__(self, features_dim: int) -> None:
        super().__init__(features_dim)
        self.register_buffer("support", th.zeros(1), persistent=False)

    def expectation(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: float32 [..., 1]
        :return: float32 [...]
        """
        return values.squeeze(-1)


class CategoricalHead(ValueHead):
    """
    Logits of a distribution over fixed returns, the atoms (Bellemare, Dabney & Munos 2017, C51, arXiv 1707.06887).

    :param features_dim: not used
    :param n_atoms: N, number of atoms
    :param v_min: smallest return that can be represented
    :param v_max: largest
    """

    kind = "categorical"

    def __init__(self, features_dim: int, n_atoms: int = 51, v_min: float = -10.0, v_max: float = 10.0) -> None:
        super().__init__(features_dim)
        _check_count("n_atoms", n_atoms, 2)
        if not (v_min < v_max and math.isfinite(v_min) and math.isfinite(v_max)):
            raise ValueError(
                f"v_min={v_min} must be less than v_max={v_max}: they bound the returns that the atoms stand for."
            )
        self.n_outputs, self.v_min, self.v_max = n_atoms, float(v_min), float(v_max)
        self.register_buffer("support", th.linspace(v_min, v_max, n_atoms), persistent=False)

    def expectation(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: float32 [..., N], logits
        :return: float32 [...]
        """
        return (values.softmax(dim=-1) * self.support).sum(dim=-1)


class QuantileHead(ValueHead):
    """
    Quantiles of the return at the fixed fractions (i + 1/2) / N (Dabney et al. 2018, QR-DQN, arXiv 1710.10044, lemma 2).

    :param features_dim: not used
    :param n_quantiles: N, number of quantiles
    """

    kind = "quantile"

    def __init__(self, features_dim: int, n_quantiles: int = 200) -> None:
        super().__init__(features_dim)
        _check_count("n_quantiles", n_quantiles, 1)
        self.n_outputs = n_quantiles
        self.register_buffer("support", midpoints(n_quantiles), persistent=False)

    def expectation(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: float32 [..., N]
        :return: float32 [...]
        """
        return values.mean(dim=-1)


class ImplicitQuantileHead(ValueHead):
    """
    Quantiles of the return at fractions drawn anew in every pass (Dabney et al. 2018, IQN, arXiv 1806.06923).

    The features are multiplied by an embedding of the fraction, ``relu(W cos(pi i tau) + b)``, i = 0 to n_cosines - 1 (eq. 4),
    before they enter the streams. Deterministic prediction takes evenly spaced fractions in place of random ones.

    :param features_dim: F
    :param n_fractions: fractions of the network that learns (the paper's N)
    :param n_target_fractions: fractions of the target network (N')
    :param n_acting_fractions: fractions that Q-values are averaged over to choose an action (K), also the target's
    :param n_cosines: size of the cosine embedding
    """

    kind = "implicit_quantile"
    n_outputs = 1
    frequencies: th.Tensor

    def __init__(
        self,
        features_dim: int,
        n_fractions: int = 64,
        n_target_fractions: int = 64,
        n_acting_fractions: int = 32,
        n_cosines: int = 64,
    ) -> None:
        super().__init__(features_dim)
        counts = {
            "n_fractions": n_fractions,
            "n_target_fractions": n_target_fractions,
            "n_acting_fractions": n_acting_fractions,
            "n_cosines": n_cosines,
        }
        for name, count in counts.items():
            _check_count(name, count, 1)
        self.n_fractions, self.n_target_fractions, self.n_acting_fractions = (
            n_fractions,
            n_target_fractions,
            n_acting_fractions,
        )
        self.register_buffer("frequencies", math.pi * th.arange(n_cosines), persistent=False)
        self.embedding = nn.Sequential(nn.Linear(n_cosines, features_dim), nn.ReLU())

    def expectation(self, values: th.Tensor) -> th.Tensor:
        """
        :param values: float32 [..., N]
        :return: float32 [...]
        """
        return values.mean(dim=-1)

    def at(self, taus: th.Tensor, features: th.Tensor, streams: Streams, draw: Draw) -> ActionValues:
        """
        :param taus: float32 [B, N], or [1, N] for the same of all
        :param features: float32 [B, F]
        :param streams: maps [B, N, F] to [B, N, A]
        :param draw: the noise of the streams
        :return: quantiles at these fractions
        """
        embedded = self.embedding(th.cos(taus.unsqueeze(2) * self.frequencies))
        return ActionValues(streams(features.unsqueeze(1) * embedded, draw).transpose(1, 2), taus)

    def _fractions(self, n_fractions: int, features: th.Tensor, draw: Draw) -> th.Tensor:
        if draw is Draw.NONE:
            return midpoints(n_fractions).to(features.device).unsqueeze(0)
        return th.rand(len(features), n_fractions, device=features.device)

    def learned(self, features: th.Tensor, streams: Streams, draw: Draw) -> ActionValues:
        """
        As :meth:`ValueHead.learned`, at ``n_fractions`` fractions.

        :param features: float32 [B, F]
        :param streams: maps [B, N, F] to [B, N, A]
        :param draw: which randomness to draw
        :return: of the network that learns
        """
        return self.at(self._fractions(self.n_fractions, features, draw), features, streams, draw)

    def bootstrapped(self, features: th.Tensor, streams: Streams, draw: Draw) -> tuple[ActionValues, th.Tensor]:
        """
        As :meth:`ValueHead.bootstrapped`: the N' fractions of the target and the K of the choice are drawn independently,
        and go through the streams in one pass, with the same noise.

        :param features: float32 [B, F]
        :param streams: maps [B, N, F] to [B, N, A]
        :param draw: which randomness to draw
        :return: of the target network, and its Q-values, float32 [B, A]
        """
        n = self.n_target_fractions
        taus = th.cat([self._fractions(k, features, draw) for k in (n, self.n_acting_fractions)], dim=1)
        values = self.at(taus, features, streams, draw).values
        return ActionValues(values[:, :, :n], taus[:, :n]), self.expectation(values[:, :, n:])

    def q_values(self, features: th.Tensor, streams: Streams, draw: Draw) -> th.Tensor:
        """
        As :meth:`ValueHead.q_values`, over ``n_acting_fractions`` fractions.

        :param features: float32 [B, F]
        :param streams: maps [B, N, F] to [B, N, A]
        :param draw: which randomness to draw
        :return: float32 [B, A]
        """
        taus = self._fractions(self.n_acting_fractions, features, draw)
        return self.expectation(self.at(taus, features, streams, draw).values)


HEADS: dict[str, type[ValueHead]] = {
    head.kind: head for head in (ScalarHead, CategoricalHead, QuantileHead, ImplicitQuantileHead)
}


def make_head(kind: str, features_dim: int, arguments: dict[str, Any]) -> ValueHead:
    """
    :param kind: a key of :data:`HEADS`
    :param features_dim: F
    :param arguments: the head's own
    :return: the head
    :raises ValueError: when there is no such head, or it has no such argument
    """
    if kind not in HEADS:
        raise ValueError(f"head={kind!r} is not possible: use one of {', '.join(map(repr, HEADS))}.")
    known = list(inspect.signature(HEADS[kind].__init__).parameters)[2:]
    for name in arguments:
        if name not in known:
            has = f"takes {', '.join(known)} besides the policy's own arguments" if known else "has no arguments"
            raise ValueError(f"policy_kwargs: {name!r} is not an argument of the policy, and head={kind!r} {has}.")
    return HEADS[kind](features_dim, **arguments)


def midpoints(n: int) -> th.Tensor:
    """
    :param n: N
    :return: float32 [N], (i + 1/2) / N
    """
    return (th.arange(n, dtype=th.float32) + 0.5) / n


def _check_count(name: str, count: int, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise ValueError(f"{name}={count!r} is not possible: use a whole number, {least} or more.")
