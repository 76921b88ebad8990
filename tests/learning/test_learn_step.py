"""One whole update against autodiff of the definition."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from torch.nn import functional as F

from sb3_dqn_ext import ComposableDQN
from sb3_dqn_ext.networks import Draw
from sb3_dqn_ext.networks.heads import ImplicitQuantileHead
from sb3_dqn_ext.policies import QNetwork
from sb3_dqn_ext.replay import Batch


def make_batch(n: int = 12) -> Batch:
    rng = np.random.default_rng(0)
    return Batch(
        observations=th.as_tensor(rng.normal(size=(n, 4)), dtype=th.float32),
        actions=th.as_tensor(rng.integers(0, 2, size=n)),
        rewards=th.as_tensor(rng.normal(size=n), dtype=th.float32),
        discounts=th.as_tensor(rng.choice([0.0, 0.9, 0.99], size=n), dtype=th.float32),
        next_observations=th.as_tensor(rng.normal(size=(n, 4)), dtype=th.float32),
        weights=th.as_tensor(rng.random(n), dtype=th.float32),
    )


def make_model(**kwargs) -> ComposableDQN:
    kwargs = {"policy_kwargs": {"optimizer_class": th.optim.SGD}, "learning_rate": 1.0, "max_grad_norm": 1e9} | kwargs
    model = ComposableDQN("MlpPolicy", gym.make("CartPole-v1"), buffer_size=10, seed=0, device="cpu", **kwargs)
    with th.no_grad():
        for parameter in model.q_net_target.parameters():
            parameter.add_(0.2 * th.randn_like(parameter))
    return model


@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
def test_update_follows_the_gradient_of_the_definition(double_q: bool, dueling: bool) -> None:
    policy_kwargs = {"optimizer_class": th.optim.SGD, "dueling": dueling}
    model, batch = make_model(double_q=double_q, policy_kwargs=policy_kwargs), make_batch()
    before = {name: value.clone() for name, value in model.q_net.named_parameters()}

    per_sample, errors = [], []
    for i in range(len(batch.actions)):  # one transition at a time, as the papers write it
        next_obs = batch.next_observations[i : i + 1]
        with th.no_grad():
            next_target = model.q_net_target(next_obs)[0]
            chosen = int((model.q_net(next_obs)[0] if double_q else next_target).argmax())
            target = batch.rewards[i] + batch.discounts[i] * next_target[chosen]
        value = model.q_net(batch.observations[i : i + 1])[0, batch.actions[i]]
        per_sample.append(batch.weights[i] * F.huber_loss(value, target))
        errors.append(abs(float(target - value.detach())))
    loss = th.stack(per_sample).mean()
    gradients = dict(zip(before, th.autograd.grad(loss, list(model.q_net.parameters())), strict=True))

    output = model.learn_step(batch)
    assert float(output.loss) == pytest.approx(float(loss.detach()), rel=1e-5)
    np.testing.assert_allclose(output.td_error, errors, rtol=1e-4, atol=1e-6)
    for name, value in model.q_net.named_parameters():
        th.testing.assert_close(value, before[name] - gradients[name], rtol=1e-4, atol=1e-6)


def quantile_loss(values: th.Tensor, taus: th.Tensor, targets: th.Tensor) -> th.Tensor:
    """Equation 10 of QR-DQN, pair by pair."""
    total = th.tensor(0.0)
    for value, tau in zip(values, taus, strict=True):
        for target in targets:
            d = target - value
            total = total + abs(tau - float(d < 0)) * (d**2 / 2 if abs(d) <= 1 else abs(d) - 0.5) / len(targets)
    return total


def projected(returns: th.Tensor, probabilities: th.Tensor, atoms: th.Tensor) -> th.Tensor:
    """Equation 7 of C51, atom by atom."""
    spacing = float(atoms[1] - atoms[0])
    clipped = returns.clamp(float(atoms[0]), float(atoms[-1]))
    return th.stack([((1 - (clipped - z).abs() / spacing).clamp(0, 1) * probabilities).sum() for z in atoms])


HEAD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "scalar": {},
    "categorical": {"n_atoms": 6, "v_min": -2.0, "v_max": 3.0},
    "quantile": {"n_quantiles": 3},
    "implicit_quantile": {"n_fractions": 2, "n_target_fractions": 3, "n_acting_fractions": 4, "n_cosines": 5},
}
RULES = [(head, rule) for head in HEAD_ARGUMENTS for rule in ("greedy", "double", "munchausen")
         if (head, rule) != ("categorical", "munchausen")]  # fmt: skip


@pytest.mark.parametrize(("head", "rule"), RULES)
def test_update_of_every_head_follows_the_definition(head: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The papers' equations for one transition at a time, in every combination, against one batched update."""
    fractions = {n: th.rand(12, n, generator=th.Generator().manual_seed(n)) for n in (2, 3, 4)}
    if head == "implicit_quantile":  # the same fractions for both
        monkeypatch.setattr(ImplicitQuantileHead, "_fractions", lambda self, n, features, draw: fractions[n])
    policy_kwargs = {"optimizer_class": th.optim.SGD, "head": head, "dueling": True, **HEAD_ARGUMENTS[head]}
    model = make_model(
        double_q=rule == "double", munchausen=rule == "munchausen", munchausen_tau=0.5, policy_kwargs=policy_kwargs
    )
    batch = make_batch()
    before = {name: value.clone() for name, value in model.q_net.named_parameters()}

    def outputs(network: QNetwork, observations: th.Tensor, use: str) -> tuple[th.Tensor, th.Tensor]:
        """Values [B, A, N] and what they are values of, by the head's plain parts."""
        features = network.features(observations)
        if not isinstance(network.head, ImplicitQuantileHead):
            return network.q_net(features).unflatten(1, (2, -1)), network.head.support.expand(12, -1)
        taus = fractions[{"online": 2, "target": 3, "acting": 4}[use]]
        return network.head.at(taus, features, network.q_net, Draw.NONE).values, taus

    def expected(network: QNetwork, observations: th.Tensor) -> th.Tensor:
        values, support = outputs(network, observations, "acting")
        return (values.softmax(dim=2) * support.unsqueeze(1)).sum(dim=2) if head == "categorical" else values.mean(dim=2)

    with th.no_grad():
        next_values, atoms = outputs(model.q_net_target, batch.next_observations, "target")
        next_q = expected(model.q_net if rule == "double" else model.q_net_target, batch.next_observations)
        q_here = expected(model.q_net_target, batch.observations)
    values, support = outputs(model.q_net, batch.observations, "online")
    losses = []
    for i in range(12):
        reward, discount, action = batch.rewards[i], batch.discounts[i], int(batch.actions[i])
        if rule == "munchausen":
            log_pi, log_pi_here = (0.5 * th.log_softmax(q[i] / 0.5, dim=0) for q in (next_q, q_here))
            pi = th.softmax(next_q[i] / 0.5, dim=0)
            reward = reward + 0.9 * max(float(log_pi_here[action]), -1.0)
            target = reward + discount * sum(pi[a] * (next_values[i, a] - log_pi[a]) for a in range(2))
        elif head == "categorical":
            probabilities = next_values[i, int(next_q[i].argmax())].softmax(dim=0)
            target = projected(reward + discount * atoms[i], probabilities, atoms[i])
        else:
            target = reward + discount * next_values[i, int(next_q[i].argmax())]
        chosen = values[i, action]
        if head == "scalar":
            losses.append(F.huber_loss(chosen[0], target[0]))
        elif head == "categorical":
            losses.append(-(target * chosen.log_softmax(dim=0)).sum())
        else:
            losses.append(quantile_loss(chosen, support[i], target))
    loss = (batch.weights * th.stack(losses)).mean()
    gradients = dict(zip(before, th.autograd.grad(loss, list(model.q_net.parameters())), strict=True))

    output = model.learn_step(batch)
    assert float(output.loss) == pytest.approx(float(loss.detach()), rel=1e-4)
    for name, value in model.q_net.named_parameters():
        th.testing.assert_close(value, before[name] - gradients[name], rtol=1e-3, atol=1e-5)


def test_double_equals_single_when_both_networks_agree() -> None:
    outputs = []
    for double_q in (False, True):
        model = make_model(double_q=double_q)
        model.q_net_target.load_state_dict(model.q_net.state_dict())
        outputs.append(model.learn_step(make_batch()))
    assert th.equal(outputs[0].td_error, outputs[1].td_error)


def test_gradient_norm_is_clipped() -> None:
    model = make_model(max_grad_norm=1e-3)
    before = [value.clone() for value in model.q_net.parameters()]
    model.learn_step(make_batch())
    change = sum(float(((a - b).detach() ** 2).sum()) for a, b in zip(model.q_net.parameters(), before, strict=True)) ** 0.5
    assert change == pytest.approx(1e-3, rel=1e-3)


def test_target_network_gets_no_gradient_and_output_is_detached() -> None:
    model = make_model(double_q=True)
    output = model.learn_step(make_batch())
    assert all(parameter.grad is None for parameter in model.q_net_target.parameters())
    assert not any(value.requires_grad for value in output)


@pytest.mark.parametrize("dueling", [False, True])
def test_bf16_keeps_the_difference_between_actions_of_large_values(dueling: bool) -> None:
    """bfloat16 steps by a half at 100, which would make most actions tie."""
    model = make_model(mixed_precision="bf16", policy_kwargs={"dueling": dueling})
    observations = th.randn(200, 4, generator=th.Generator().manual_seed(0))
    with th.no_grad():
        (model.q_net.q_net.value if dueling else model.q_net.q_net)[-1].bias.add_(100.0)
        exact = model.q_net(observations)
        with th.autocast("cpu", dtype=th.bfloat16):
            rounded = model.q_net(observations)
    assert rounded.dtype == th.float32
    gaps, rounded_gaps = (q[:, 0] - q[:, 1] for q in (exact, rounded))
    th.testing.assert_close(rounded_gaps, gaps, rtol=0, atol=0.02)
    assert float(gaps.abs().max()) > 0.1


def test_bf16_agrees_to_rounding() -> None:
    exact, rounded = (make_model(mixed_precision=p).learn_step(make_batch()) for p in (None, "bf16"))
    assert not th.equal(exact.td_error, rounded.td_error)
    th.testing.assert_close(rounded.td_error, exact.td_error, rtol=0.05, atol=0.05)
