"""FrameReplayBuffer against a slow, obvious model that keeps every transition whole."""

from typing import NamedTuple

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from sb3_dqn_ext.replay import FrameReplayBuffer
from sb3_dqn_ext.replay.frames import FrameStack

WIDTH = 2


class Transition(NamedTuple):
    """One step of one environment, with the observations as the agent saw them."""

    obs: np.ndarray
    action: int
    reward: float
    next_obs: np.ndarray
    terminal: bool
    last: bool  # nothing continues it: terminal, truncated or cut off


class FakeEnvs:
    """Environments whose every frame is unique, and a record of all that they did."""

    def __init__(self, n_envs: int, stack: FrameStack, padding: str, rng: np.random.Generator) -> None:
        self.n_envs, self.stack, self.padding, self.rng = n_envs, stack, padding, rng
        self.counter = 0
        self.record: list[list[Transition]] = [[] for _ in range(n_envs)]
        self.frames = [self.reset() for _ in range(n_envs)]

    def new_frame(self) -> np.ndarray:
        self.counter += 1
        return np.full(WIDTH, self.counter, dtype=np.int64)

    def reset(self) -> list[np.ndarray]:
        frame = self.new_frame()
        older = {"zero": np.zeros_like(frame), "repeat": frame}.get(self.padding)
        return [self.new_frame() if older is None else older for _ in range(self.stack.depth - 1)] + [frame]

    def observe(self, frames: list[np.ndarray]) -> np.ndarray:
        return self.stack.join(np.stack(frames)[None])[0]

    def step(self, buffer: ReplayBuffer, p_terminal: float, p_truncated: float) -> None:
        obs = np.stack([self.observe(f) for f in self.frames])
        actions = self.rng.integers(0, 5, size=self.n_envs)
        rewards = self.rng.integers(-3, 4, size=self.n_envs).astype(np.float32)
        dones, infos, next_obs = [], [], []
        for env in range(self.n_envs):
            terminal, truncated = self.rng.random() < p_terminal, self.rng.random() < p_truncated
            truncated = truncated and not terminal
            after = [*self.frames[env][1:], self.new_frame()]
            next_obs.append(self.observe(after))
            self.record[env].append(
                Transition(obs[env], int(actions[env]), float(rewards[env]), next_obs[-1], terminal, terminal or truncated)
            )
            self.frames[env] = self.reset() if terminal or truncated else after
            dones.append(terminal or truncated)
            infos.append({"TimeLimit.truncated": truncated})
        buffer.add(obs, np.stack(next_obs), actions, rewards, np.array(dones), infos)

    def cut(self) -> None:
        """What a learn() that resets the environments does."""
        for env in range(self.n_envs):
            if self.record[env]:
                self.record[env][-1] = self.record[env][-1]._replace(last=True)
            self.frames[env] = self.reset()


def check_samples(buffer: FrameReplayBuffer, envs: FakeEnvs, oldest: int) -> None:
    """Everything that can be sampled is what the agents saw, and its window is that of the slow loop."""
    assert buffer._storage is not None
    slots = np.flatnonzero(buffer._storage.tree.get(np.arange(buffer._storage.tree.capacity)))
    samples = buffer._get_samples(slots)
    where = {int(t.obs.reshape(-1)[-1]): (env, i) for env, ts in enumerate(envs.record) for i, t in enumerate(ts)}
    for row in range(len(slots)):
        env, i = where[int(samples.observations[row].reshape(-1)[-1])]
        record = envs.record[env]
        assert buffer.reserved_size or i >= oldest
        np.testing.assert_array_equal(samples.observations[row], record[i].obs)
        assert int(samples.actions[row]) == record[i].action
        total, discount = 0.0, 1.0
        for step in record[i : i + buffer.n_steps]:
            total, discount = total + discount * step.reward, discount * buffer.gamma
            if step.last:
                break
        assert float(samples.rewards[row]) == pytest.approx(total, abs=1e-5)
        assert float(samples.discounts[row]) == pytest.approx(discount)
        assert bool(samples.dones[row]) == step.terminal
        if not step.terminal:
            np.testing.assert_array_equal(samples.next_observations[row], step.next_obs)


def held_observations(buffer: FrameReplayBuffer) -> np.ndarray:
    """All observations that can be sampled."""
    assert buffer._storage is not None
    tree = buffer._storage.tree
    return buffer._get_samples(np.flatnonzero(tree.get(np.arange(tree.capacity)))).observations.numpy()


# Where truncations fill the reserved part it closes early, with this warning.
@pytest.mark.filterwarnings("ignore:Only .* are reserved")
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    n_envs=st.integers(1, 3),
    stack=st.sampled_from([FrameStack(1, 0), FrameStack(2, 0), FrameStack(4, 0), FrameStack(3, -1)]),
    padding=st.sampled_from(["zero", "repeat", "other"]),
    buffer_size=st.integers(1, 40),
    n_steps=st.integers(1, 5),
    n_adds=st.integers(1, 120),
    reserved=st.integers(0, 20),
    ends=st.sampled_from([(0.0, 0.0), (0.2, 0.0), (0.0, 0.2), (0.1, 0.1), (0.0, 1.0), (1.0, 0.0)]),
    p_cut=st.sampled_from([0.0, 0.05]),
    announced=st.booleans(),
)
def test_replays_what_the_agents_saw(
    seed, n_envs, stack, padding, buffer_size, n_steps, n_adds, reserved, ends, p_cut, announced
) -> None:
    rng = np.random.default_rng(seed)
    envs = FakeEnvs(n_envs, stack, padding, rng)
    reserved = n_envs * min(reserved, max(buffer_size // 2 - 1, 0))
    buffer = FrameReplayBuffer(
        buffer_size * n_envs,
        spaces.Box(0, 2**40, envs.observe(envs.frames[0]).shape, np.int64),
        spaces.Discrete(5),
        device="cpu",
        n_envs=n_envs,
        n_steps=n_steps,
        gamma=0.9,
        frame_stack=stack.depth,
        stack_axis=stack.axis,
        reserved_size=reserved,
        seed=0,
    )
    for _ in range(n_adds):
        if rng.random() < p_cut:
            envs.cut()
            if announced:
                buffer.end_trajectory()
        reserving = buffer._reserving.copy()
        envs.step(buffer, *ends)
        for env in np.flatnonzero(reserving & ~buffer._reserving):  # windows end where the reserved part does
            envs.record[env][-1] = envs.record[env][-1]._replace(last=True)
    check_samples(buffer, envs, oldest=n_adds - buffer_size)
    if ends[1] == 0 and p_cut == 0 and (padding == "zero" or stack.depth == 1):  # nothing takes a slot but transitions
        held = {int(o.reshape(-1)[-1]) for o in held_observations(buffer)}
        kept = [
            ts[: reserved // n_envs] + ts[reserved // n_envs :][-(buffer_size - reserved // n_envs) :] for ts in envs.record
        ]
        assert held >= {int(t.obs.reshape(-1)[-1]) for ts in kept for t in ts}
        assert reserved or len(held) == min(n_adds, buffer_size) * n_envs


def make_pair(n_steps: int, **kwargs) -> tuple[FrameReplayBuffer, NStepReplayBuffer]:
    space, actions = spaces.Box(0, 2**40, (WIDTH,), np.int64), spaces.Discrete(5)
    ours = FrameReplayBuffer(60, space, actions, device="cpu", n_envs=2, n_steps=n_steps, gamma=0.9, frame_stack=1, **kwargs)
    theirs = NStepReplayBuffer(60, space, actions, device="cpu", n_envs=2, n_steps=n_steps, gamma=0.9)
    return ours, theirs


@pytest.mark.parametrize("n_steps", [1, 3])
def test_agrees_with_sb3s_n_step_buffer(n_steps: int) -> None:
    ours, theirs = make_pair(n_steps)

    class Both:
        def add(self, *args) -> None:
            ours.add(*args)
            theirs.add(*args)

    envs = FakeEnvs(2, FrameStack(), "zero", np.random.default_rng(3))
    for _ in range(100):
        envs.step(Both(), 0.1, 0.0)  # type: ignore[arg-type]
    assert (ours.pos, ours.full, ours.size()) == (theirs.pos, theirs.full, theirs.size())
    seen = {}
    for _ in range(200):
        samples = theirs.sample(16)
        for row in range(16):
            seen[int(samples.observations[row, -1])] = [x[row] for x in samples]
    assert len(seen) == 60
    slots = np.flatnonzero(ours._storage.tree.get(np.arange(ours._storage.tree.capacity)))
    samples = ours._get_samples(slots)
    assert len(slots) == 60
    for row in range(60):
        _, action, next_obs, done, reward, discount = seen[int(samples.observations[row, -1])]
        assert int(samples.actions[row]) == int(action)
        assert float(samples.rewards[row]) == pytest.approx(float(reward), abs=1e-5)
        assert float(samples.dones[row]) == float(done)
        assert float(samples.discounts[row]) == pytest.approx(float(discount))
        if not done:
            np.testing.assert_array_equal(samples.next_observations[row], next_obs)


def test_sample_batch_folds_the_end_into_the_discount_and_weights_by_rarity() -> None:
    buffer, _ = make_pair(1, alpha=0.5, seed=1)
    envs = FakeEnvs(2, FrameStack(), "zero", np.random.default_rng(3))
    for _ in range(30):
        envs.step(buffer, 0.3, 0.0)
    _, slots = buffer.sample_batch(60, beta=0.4)
    buffer.update_priorities(slots, np.arange(1, 61, dtype=np.float32))
    tree = buffer._storage.tree
    assert tree.get(slots[-1:])[0] == pytest.approx((60 + 1e-6) ** 0.5)
    assert buffer.max_priority == pytest.approx((60 + 1e-6) ** 0.5)
    batch, slots = buffer.sample_batch(500, beta=0.4)
    probabilities = tree.get(slots) / tree.total
    expected = (tree.n_positive * probabilities) ** -0.4
    np.testing.assert_allclose(batch.weights, expected / expected.max(), rtol=1e-5)
    samples = buffer._get_samples(slots)
    np.testing.assert_array_equal(batch.discounts, (0.9 * (1 - samples.dones[:, 0])))
    assert batch.actions.shape == batch.rewards.shape == batch.discounts.shape == (500,)
    # New transitions get the largest priority so far.
    envs.step(buffer, 0.0, 0.0)
    np.testing.assert_allclose(tree.get(buffer._newest), (60 + 1e-6) ** 0.5)


def test_priority_of_an_overwritten_transition_is_not_revived() -> None:
    buffer, _ = make_pair(1, alpha=1.0, seed=1)
    envs = FakeEnvs(2, FrameStack(), "zero", np.random.default_rng(3))
    for _ in range(30):
        envs.step(buffer, 0.0, 0.0)
    _, slots = buffer.sample_batch(60)
    envs.step(buffer, 0.0, 0.0)
    tree = buffer._storage.tree
    gone = slots[tree.get(slots) == 0]
    assert len(gone) > 0
    buffer.update_priorities(slots, np.ones(60, dtype=np.float32))
    assert (tree.get(gone) == 0).all()
    assert tree.n_positive == 60


def test_uniform_sampling_has_unit_weights_and_reaches_everything() -> None:
    buffer, _ = make_pair(1, seed=1)
    envs = FakeEnvs(2, FrameStack(), "zero", np.random.default_rng(3))
    for _ in range(30):
        envs.step(buffer, 0.1, 0.0)
    batch, slots = buffer.sample_batch(6000)
    assert (batch.weights == 1).all()
    counts = np.bincount(slots)
    assert set(counts[counts > 0]) <= {99, 100, 101}


def test_same_seed_same_samples_and_none_follows_numpys_global_seed() -> None:
    def draw(**kwargs) -> list[int]:
        np.random.seed(7)
        buffer, _ = make_pair(1, **kwargs)
        envs = FakeEnvs(2, FrameStack(), "zero", np.random.default_rng(3))
        for _ in range(30):
            envs.step(buffer, 0.1, 0.0)
        return buffer.sample_batch(20)[1].tolist()

    assert draw(seed=5) == draw(seed=5) != draw(seed=6)
    assert draw() == draw()


def test_timeouts_are_terminal_when_not_handled() -> None:
    buffer, _ = make_pair(1, handle_timeout_termination=False)
    FakeEnvs(2, FrameStack(), "zero", np.random.default_rng(3)).step(buffer, 0.0, 1.0)
    assert (buffer.sample(8).dones == 1).all()


def test_wrong_depth_is_an_error_that_names_the_remedy() -> None:
    space = spaces.Box(0, 2**40, (4 * WIDTH,), np.int64)
    envs = FakeEnvs(1, FrameStack(), "zero", np.random.default_rng(0))
    envs.new_frame = lambda: envs.rng.integers(1, 9, size=4 * WIDTH)
    envs.frames = [envs.reset()]
    buffer = FrameReplayBuffer(10, space, spaces.Discrete(5), device="cpu", frame_stack=4)
    with pytest.raises(ValueError, match=r"environment 0 .*frame_stack=1"):
        envs.step(buffer, 0.0, 0.0)
    with pytest.raises(ValueError, match="can't be cut into 3 equal frames"):
        FrameReplayBuffer(10, space, spaces.Discrete(5), device="cpu", frame_stack=3)
    shallow, _ = make_pair(1)
    FakeEnvs(2, FrameStack(), "zero", np.random.default_rng(0)).step(shallow, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"call replay_buffer.reset\(\)"):
        shallow.set_frame_stack(FrameStack(2, 0))


def test_what_follows_a_terminal_state_need_not_be_stacked() -> None:
    space = spaces.Box(0, 2**40, (2 * WIDTH,), np.int64)
    buffer = FrameReplayBuffer(10, space, spaces.Discrete(5), device="cpu", frame_stack=2)
    obs, unrelated = np.array([[0, 0, 1, 1]]), np.array([[7, 7, 8, 8]])
    with pytest.raises(ValueError, match="environment 0"):
        buffer.add(obs, unrelated, np.zeros(1), np.zeros(1), np.array([True]), [{"TimeLimit.truncated": True}])
    buffer.add(obs, unrelated, np.zeros(1), np.zeros(1), np.array([True]), [{}])
    np.testing.assert_array_equal(buffer.sample(1).observations, obs)


@pytest.mark.parametrize(
    "kwargs", [{"n_steps": 0}, {"gamma": 1.5}, {"alpha": -0.1}, {"alpha": 1.1}, {"eps": 0.0}, {"frame_stack": 0},
               {"stack_axis": 1}, {"reserved_size": -1}, {"reserved_size": 10}]
)  # fmt: skip
def test_bad_arguments_are_named(kwargs) -> None:
    ((name, value),) = kwargs.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        FrameReplayBuffer(10, spaces.Box(0, 1, (4,)), spaces.Discrete(2), device="cpu", **kwargs)


def test_too_big_for_the_machine_is_refused_with_the_numbers() -> None:
    buffer = FrameReplayBuffer(10**12, spaces.Box(0, 1, (4,)), spaces.Discrete(2), device="cpu")
    with pytest.raises(ValueError, match=r"needs 35000\.0 GB when full"):
        buffer.add(np.zeros((1, 4)), np.zeros((1, 4)), np.zeros(1), np.zeros(1), np.zeros(1, bool), [{}])


def test_nothing_to_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        make_pair(1)[0].sample(4)
