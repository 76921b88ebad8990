"""What is replayed is what was seen, on real games with lost lives, truncations and the ring's wrap."""

import numpy as np
import pytest
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.env_util import make_atari_env
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecTransposeImage

from sb3_dqn_ext import ComposableDQN, FrameReplayBuffer, make_atari_vec_env
from sb3_dqn_ext.replay import find_frame_stack


class WholeBuffer(BaseBuffer):
    """Keeps every transition of every environment as the algorithm hands it over."""

    def __init__(self, n_envs: int) -> None:
        self.transitions: list[list[tuple]] = [[] for _ in range(n_envs)]

    def add(self, obs, next_obs, action, reward, done, infos) -> None:
        for env, kept in enumerate(self.transitions):
            truncated = bool(infos[env].get("TimeLimit.truncated", False))
            kept.append(
                (obs[env].copy(), next_obs[env].copy(), int(action[env]), float(reward[env]), bool(done[env]), truncated)
            )

    def _get_samples(self, batch_inds, env=None):
        raise NotImplementedError


def native(n_envs: int) -> VecEnv:
    # 240 frames are 60 steps: games of Breakout end by truncation as often as by the last life.
    return make_atari_vec_env("breakout", n_envs=n_envs, seed=1, max_num_frames_per_episode=240)


def wrapped(n_envs: int) -> VecEnv:
    return VecTransposeImage(VecFrameStack(make_atari_env("BreakoutNoFrameskip-v4", n_envs=n_envs, seed=1), 4))


@pytest.mark.parametrize("make_env", [native, wrapped])
@pytest.mark.parametrize("n_envs", [1, 3])
def test_replay_equals_what_was_seen(make_env, n_envs: int) -> None:
    env = make_env(n_envs)
    model = ComposableDQN(
        "CnnPolicy", env, buffer_size=70 * n_envs, n_steps=3, gamma=0.9, learning_starts=10**6, seed=0, device="cpu"
    )
    frames, whole = model.replay_buffer, WholeBuffer(n_envs)
    assert isinstance(frames, FrameReplayBuffer)
    assert find_frame_stack(env) == frames.frame_stack == (4, 0)
    add = frames.add
    frames.add = lambda *args: (add(*args), whole.add(*args))  # type: ignore[method-assign]
    model.learn(300 * n_envs)
    env.close()

    ended = [t[4] and not t[5] for kept in whole.transitions for t in kept]
    truncated = [t[5] for kept in whole.transitions for t in kept]
    assert sum(ended) >= 3
    assert make_env is wrapped or sum(truncated) >= 3
    tree = frames.storage.tree
    slots = np.flatnonzero(tree.get(np.arange(tree.capacity)))
    assert len(slots) >= 60 * n_envs
    samples = frames._get_samples(slots)
    seen_at: dict[bytes, list[tuple[int, int]]] = {}
    for env_index, kept in enumerate(whole.transitions):
        for i, transition in enumerate(kept):
            seen_at.setdefault(transition[0].tobytes(), []).append((env_index, i))
    n_checked = 0
    for row in range(len(slots)):
        places = seen_at[samples.observations[row].numpy().tobytes()]  # a KeyError: the agent never saw this stack
        if len(places) > 1:
            continue  # a still picture: the observation does not tell which transition this is
        n_checked += 1
        env_index, i = places[0]
        first, total = whole.transitions[env_index][i], 0.0
        for k, (_, next_obs, _, reward, done, cut) in enumerate(whole.transitions[env_index][i : i + 3]):  # noqa: B007
            total += 0.9**k * reward
            if done:
                break
        assert int(samples.actions[row, 0]) == first[2]
        assert float(samples.rewards[row, 0]) == pytest.approx(total)
        assert bool(samples.dones[row, 0]) == (done and not cut)
        if not (done and not cut):
            np.testing.assert_array_equal(samples.next_observations[row], next_obs)
    assert n_checked > len(slots) / 2
