"""Eager, compiled and captured updates give the same results to rounding."""

import copy
import shutil
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch as th
from stable_baselines3.common.envs import FakeImageEnv

import sb3_dqn_ext
from sb3_dqn_ext import BTR, Rainbow
from sb3_dqn_ext.composable_dqn import ComposableDQN
from sb3_dqn_ext.learning import TDOutput

PRESETS = [name for name in sb3_dqn_ext.__all__ if isinstance(getattr(sb3_dqn_ext, name), type)
           and issubclass(getattr(sb3_dqn_ext, name), ComposableDQN)]  # fmt: skip
needs_gpu = pytest.mark.skipif(not th.cuda.is_available(), reason="needs an NVIDIA GPU")


def updates(cls: type[ComposableDQN], execution: str, policy: str = "MlpPolicy", n_updates: int = 8, **kwargs: Any):
    """The outputs of some updates and the weights after them, from the same seed and data."""
    env = gym.make("CartPole-v1") if policy == "MlpPolicy" else FakeImageEnv(36, 36, n_channels=1, discrete=True)
    model = cls(policy, env, seed=0, buffer_size=200, batch_size=8, learning_starts=1000, execution=execution,
                learning_rate=lambda remaining: 1e-2 * remaining, **kwargs)  # fmt: skip
    model.learn(60)
    outputs: list[TDOutput] = []
    step = model.learn_step
    th.manual_seed(0)
    for index in range(n_updates):
        model._current_progress_remaining = 1 - index / n_updates
        update = model._update
        model._update = lambda batch_size, update=update: (lambda out: (outputs.append(out), out)[1])(update(batch_size))
        model.train(1, batch_size=8)
        del model._update
    assert model.learn_step is step
    return outputs, [value.detach().cpu().clone() for value in model.q_net.state_dict().values()]


def assert_same(first: tuple, second: tuple) -> None:
    for one, other in zip(first[0], second[0], strict=True):
        for ours, theirs in zip(one, other, strict=True):
            th.testing.assert_close(ours.cpu(), theirs.cpu(), rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(first[1], second[1], strict=True):
        # Adam divides by the gradient's size, which blows rounding up where that is tiny: a tenth of one step at most.
        th.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("cls", [Rainbow, BTR])
def test_compiled_updates_equal_eager_ones(cls: type[ComposableDQN]) -> None:
    """The two that hold every part: all draws of noise and fractions are the same, and it is compiled once."""
    th.compiler.reset()
    with th._dynamo.config.patch(error_on_recompile=True):
        compiled = updates(cls, "compile", device="cpu")
    assert_same(updates(cls, "eager", device="cpu"), compiled)


@pytest.mark.parametrize("policy", ["MlpPolicy", "CnnPolicy"])
@pytest.mark.parametrize("name", PRESETS)
def test_no_update_of_a_preset_breaks_the_graph(name: str, policy: str) -> None:
    """No ``.item()``, no branch on a value: dynamo can trace each preset's loss as one graph."""
    th.compiler.reset()
    env = gym.make("CartPole-v1") if policy == "MlpPolicy" else FakeImageEnv(36, 36, n_channels=1, discrete=True)
    model = getattr(sb3_dqn_ext, name)(policy, env, seed=0, batch_size=8, learning_starts=1000, device="cpu")
    model.learn(20)
    batch, _ = model.replay_buffer.sample_batch(8)
    explanation = th._dynamo.explain(model.learn_step.loss)(batch)
    assert explanation.graph_break_count == 0, explanation.break_reasons


def test_a_model_for_a_gpu_says_that_it_runs_eagerly_elsewhere(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="execution='cuda_graph' needs an NVIDIA GPU, and the device is 'cpu'"):
        model = ComposableDQN("MlpPolicy", "CartPole-v1", execution="cuda_graph", learning_starts=10, device="cpu")
    model.learn(20)
    model.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="updates run eagerly"):
        loaded = ComposableDQN.load(tmp_path / "model", env=model.env, device="cpu")
    assert loaded.execution == "cuda_graph"  # back on a GPU it is used again
    loaded.learn(20)


@pytest.mark.parametrize("execution", ["eager", "compile"])
def test_a_deep_copy_learns_by_itself(execution: str) -> None:
    model = ComposableDQN("MlpPolicy", "CartPole-v1", seed=0, learning_starts=1000, execution=execution, device="cpu")
    model.learn(40)
    copied = copy.deepcopy(model)
    before = [[value.clone() for value in m.q_net.parameters()] for m in (model, copied)]
    with th.compiler.set_stance("force_eager"):  # whose networks are trained is what matters here
        copied.train(2, batch_size=8)
    assert all(th.equal(a, b) for a, b in zip(before[0], model.q_net.parameters(), strict=True))
    assert not any(th.equal(a, b) for a, b in zip(before[1], copied.q_net.parameters(), strict=True))


@needs_gpu
def test_cuda_graph_refuses_an_optimizer_that_it_cannot_capture() -> None:
    with pytest.raises(ValueError, match="cannot capture SGD"):
        ComposableDQN("MlpPolicy", "CartPole-v1", execution="cuda_graph", policy_kwargs={"optimizer_class": th.optim.SGD})


@needs_gpu
@pytest.mark.parametrize("policy", ["MlpPolicy", "CnnPolicy", "ImpalaCnnPolicy"])
@pytest.mark.parametrize("name", PRESETS)
def test_captured_updates_equal_eager_ones(name: str, policy: str) -> None:
    cls = getattr(sb3_dqn_ext, name)
    eager = updates(cls, "eager", policy, device="cuda")
    captured = updates(cls, "cuda_graph", policy, device="cuda")
    if policy == "MlpPolicy" and "noisy" not in cls.preset_policy_kwargs:  # draws differ in a captured graph
        assert_same(eager, captured)
    assert all(th.isfinite(value).all() for value in captured[1])
