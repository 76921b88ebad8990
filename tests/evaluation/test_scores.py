import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env

from sb3_dqn_ext.evaluation.scores import ATARI_EPSILON, EpsilonGreedyAgent, GameScores, evaluate_games, make_agent


class Counting(gym.Env):
    """Each game is one step longer than the one before; reward is the action taken."""

    observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def __init__(self) -> None:
        self.game = self.time = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.game, self.time = self.game + 1, 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.time += 1
        return np.zeros(1, np.float32), float(action), self.time >= self.game, False, {}


class Always:
    """Plays one action; knows what it was asked."""

    def __init__(self, action: int) -> None:
        self.action, self.asked = action, 0

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert deterministic
        self.asked += 1
        return np.full(len(observation), self.action), state


def test_statistics():
    games = GameScores((1.0, 2.0, 6.0), (10, 20, 30))
    assert (games.mean, games.median) == (3.0, 2.0)
    assert games.std == pytest.approx(np.sqrt((4 + 1 + 9) / 3))
    assert games.to_dict() == {
        "mean": 3.0, "std": games.std, "median": 2.0, "scores": (1.0, 2.0, 6.0), "lengths": (10, 20, 30)
    }  # fmt: skip


@pytest.mark.parametrize("vectorized", [False, True])
def test_whole_games_are_scored(vectorized):
    env = make_vec_env(Counting) if vectorized else Counting()
    games = evaluate_games(Always(2), env, n_games=3)
    assert games.lengths == (1, 2, 3) and games.scores == (2.0, 4.0, 6.0)


def test_each_environment_plays_its_share():
    # 4 games on 3 environments: the last one plays 2, though its first game ends no sooner than the others'
    games = evaluate_games(Always(1), make_vec_env(Counting, n_envs=3), n_games=4)
    assert sorted(games.lengths) == [1, 1, 1, 2]


def test_the_same_seed_plays_the_same_games():
    env = gym.make("CartPole-v1")
    first, other, again = (evaluate_games(None, env, 5, seed) for seed in (1, 2, 1))
    assert first == again != other


def test_the_random_agent_draws_every_action_alike():
    agent = make_agent(None, make_vec_env(Counting, n_envs=2), seed=0)
    actions = np.array([agent.predict(np.zeros((2, 1)))[0] for _ in range(3000)])
    shares = [(actions == action).mean() for action in range(3)]
    np.testing.assert_allclose(shares, 1 / 3, atol=0.03)
    assert abs(np.corrcoef(actions.T)[0, 1]) < 0.05  # each environment has its own draw


def test_actions_need_not_start_at_zero():
    agent = EpsilonGreedyAgent(None, spaces.Discrete(2, start=5), 1.0, seed=0)
    assert set(agent.predict(np.zeros((100, 1)))[0]) == {5, 6}


def test_epsilon_is_the_share_of_random_actions_per_environment():
    agent = EpsilonGreedyAgent(Always(0), spaces.Discrete(2), epsilon=0.3, seed=0)
    actions = np.array([agent.predict(np.zeros((2, 1)))[0] for _ in range(5000)])
    assert actions.mean() == pytest.approx(0.15, abs=0.02)
    assert actions.all(axis=1).mean() == pytest.approx(0.15**2, abs=0.01)  # one draw for both would give 0.3 / 4


def test_epsilon_defaults_to_a_little_on_pixels_and_none_elsewhere():
    pixels = make_vec_env(Counting)
    pixels.observation_space = spaces.Box(0, 255, (84, 84, 1), np.uint8)
    assert make_agent(Always(0), pixels)._epsilon == ATARI_EPSILON
    assert make_agent(Always(0), make_vec_env(Counting))._epsilon == 0.0


def test_the_model_is_left_as_it_was():
    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs=dict(net_arch=[8]), seed=0)
    model.learn(150)
    before = (model.exploration_rate, model.num_timesteps, np.random.get_state()[1].tolist(), th.get_rng_state().tolist())
    evaluate_games(model, gym.make("CartPole-v1"), n_games=2, seed=0, epsilon=0.5)
    after = (model.exploration_rate, model.num_timesteps, np.random.get_state()[1].tolist(), th.get_rng_state().tolist())
    assert before == after
    assert "predict" not in vars(model)


def test_greedy_play_agrees_with_sb3():
    from stable_baselines3.common.evaluation import evaluate_policy

    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs=dict(net_arch=[8]), seed=0)
    env = make_vec_env("CartPole-v1", n_envs=2)
    env.seed(3)
    scores, lengths = evaluate_policy(model, env, 5, deterministic=True, return_episode_rewards=True)
    games = evaluate_games(model, env, 5, seed=3)
    assert (list(games.scores), list(games.lengths)) == (scores, lengths)


def test_bad_arguments_are_named():
    env = make_vec_env(Counting)
    with pytest.raises(ValueError, match="n_games=0"):
        evaluate_games(None, env, n_games=0)
    with pytest.raises(ValueError, match=r"epsilon=1\.5"):
        evaluate_games(Always(0), env, epsilon=1.5)
    with pytest.raises(ValueError, match="not Discrete"):
        evaluate_games(None, gym.make("Pendulum-v1"))
