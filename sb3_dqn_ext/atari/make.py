"""The function that users call."""

from sb3_dqn_ext.atari.config import AtariConfig, check_seed
from sb3_dqn_ext.atari.games import resolve_game
from sb3_dqn_ext.atari.vec_env import AtariVecEnv


def make_atari_vec_env(
    env_id: str,
    n_envs: int = 8,
    seed: int | None = None,
    *,
    frame_skip: int = 4,
    repeat_action_probability: float | None = None,
    noop_max: int = 30,
    episodic_life: bool = True,
    clip_reward: bool = True,
    frame_stack: int = 4,
    screen_size: int = 84,
    full_action_space: bool = False,
    max_num_frames_per_episode: int = 108_000,
    num_threads: int = 0,
    render_mode: str | None = None,
) -> AtariVecEnv:
    """
    Make ``n_envs`` Atari games that play at once, ready for SB3's ``"CnnPolicy"``.

    :param env_id: ``"PongNoFrameskip-v4"``, ``"ALE/Pong-v5"`` (sticky actions) or a ROM name such as ``"ms_pacman"``
    :param n_envs: number of games
    :param seed: seed of the first reset (game i gets ``seed + i``); None for random games
    :param frame_skip: frames per environment step; the action is held and the last two frames are max-pooled
    :param repeat_action_probability: probability that a frame repeats the previous action, in [0, 1) (Machado et al.,
        2018); None for the id's own: 0.25 for ``ALE/*-v5``, else 0
    :param noop_max: a game starts with 0 to ``noop_max - 1`` frames of no-ops (FIRE being the first where there is one)
    :param episodic_life: a lost life ends the learner's episode, while the game goes on
    :param clip_reward: the learner gets the reward's sign; ``info["episode"]["r"]`` stays unclipped
    :param frame_stack: frames per observation, one per environment step
    :param screen_size: height and width of the observation in pixels
    :param full_action_space: all 18 actions instead of the game's own
    :param max_num_frames_per_episode: frames (not environment steps) after which a game is truncated; 108,000 are half
        an hour of play
    :param num_threads: native threads, 0 for one per game but no more than there are cores
    :param render_mode: ``"rgb_array"`` for pictures, at the price of a second emulator per game; the games stay the same
    :return: the vector environment
    :raises ValueError: for an unknown game (with the nearest names) or an argument out of range
    """
    game = resolve_game(env_id)
    if repeat_action_probability is None:
        repeat_action_probability = game.repeat_action_probability
    config = AtariConfig(
        env_id=env_id,
        game=game,
        n_envs=n_envs,
        frame_skip=frame_skip,
        repeat_action_probability=repeat_action_probability,
        noop_max=noop_max,
        episodic_life=episodic_life,
        clip_reward=clip_reward,
        frame_stack=frame_stack,
        screen_size=screen_size,
        full_action_space=full_action_space,
        max_num_frames_per_episode=max_num_frames_per_episode,
        num_threads=num_threads,
        render_mode=render_mode,
    )
    check_seed(seed)  # before the emulators are built
    return AtariVecEnv(config, seed)
