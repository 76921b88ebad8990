"""One whole update against autodiff of the definition."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from torch.nn import functional as F

from sb3_dqn_ext import ComposableDQN
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


def test_bf16_agrees_to_rounding() -> None:
    exact, rounded = (make_model(mixed_precision=p).learn_step(make_batch()) for p in (None, "bf16"))
    assert not th.equal(exact.td_error, rounded.td_error)
    th.testing.assert_close(rounded.td_error, exact.td_error, rtol=0.05, atol=0.05)
