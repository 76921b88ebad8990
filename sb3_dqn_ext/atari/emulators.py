"""ale-py's native vector environment, and its twin that films in colour."""

import os
from typing import NamedTuple

import numpy as np
from ale_py import ALEInterface, LoggerMode
from ale_py.roms import get_rom_path
from ale_py.vector_env import AtariVectorEnv

from sb3_dqn_ext.atari.config import AtariConfig

# "Never": the native limit is not used, because it truncates in the middle of a frame skip and then max-pools with a
# frame of the step before, so that a truncated game would end in a picture that never was on the screen.
_NO_FRAME_LIMIT = 2**30


class EmulatorStep(NamedTuple):
    """
    What one environment step of all games gave.

    :param observations: uint8 [E, stack, screen, screen], a fresh array that belongs to the caller
    :param rewards: int32 [E], unclipped
    :param game_over: bool [E]
    :param lives: int32 [E]
    """

    observations: np.ndarray
    rewards: np.ndarray
    game_over: np.ndarray
    lives: np.ndarray


class Emulators:
    """
    The games of one vector environment, and the guard around the native calls.

    The native interface blocks for ever when it is asked for a result that nobody is computing, or when results of two
    requests mix. So what is under way is tracked here: ``in_flight`` says that a step was sent and not yet received,
    and ``intact`` is false from before a native call until after it: an exception in between (Ctrl-C above all) leaves
    it false, and then the native environments are built anew at the next :meth:`reset`.

    ale-py exports no emulator state, and its observations are grey and small. For pictures, a second native
    environment (the *camera*) plays the same games: same seeds, same actions, same resets. Everything random in a game
    is drawn from the generators that the seeds start, so both stay together for as long as they are treated alike.

    :param config: checked settings
    """

    def __init__(self, config: AtariConfig):
        self._config = config
        self._build()

    def _build(self) -> None:
        config = self._config
        self._games = self._native(config.screen_size, config.screen_size, stack_num=config.frame_stack, grayscale=True)
        self._camera: AtariVectorEnv | None = None
        if config.render_mode is not None:
            height, width = _screen_size(config.game.rom)
            self._camera = self._native(height, width, stack_num=1, grayscale=False)
        self.action_meanings: list[str] = [action.name for action in self._games.ale.get_action_set()]
        self.rgb_frames: np.ndarray | None = None  # uint8 [E, height, width, 3]
        self.in_flight = False
        self.intact = True
        self.seeded = False

    def _native(self, height: int, width: int, stack_num: int, grayscale: bool) -> AtariVectorEnv:
        config = self._config
        threads, affinity = thread_plan(config.n_envs, config.num_threads)
        return AtariVectorEnv(
            config.game.rom,
            config.n_envs,
            num_threads=threads,
            thread_affinity_offset=affinity,
            max_num_frames_per_episode=_NO_FRAME_LIMIT,
            repeat_action_probability=float(config.repeat_action_probability),
            full_action_space=bool(config.full_action_space),
            img_height=height,
            img_width=width,
            grayscale=grayscale,
            stack_num=stack_num,
            frameskip=config.frame_skip,
            # The camera pools the last two frames too: many games draw half of their objects in every other frame, so
            # that single frames four apart never show some of them (no asteroids at all in Asteroids).
            maxpool=True,
            noop_max=config.noop_max,
            # Both of ale-py's life options are unusable: one resets the whole game, the other's final observation is
            # uninitialised memory. Clipped rewards would lose the score.
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
        )

    def reset(self, seeds: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """
        Start all games anew.

        :param seeds: int64 [E], each below 2**31; None goes on with the present random streams, which is faster (a
            seeded reset loads the ROM again) and is allowed once the games were ``seeded``
        :return: observations, uint8 [E, stack, screen, screen], and lives, int32 [E]
        """
        if not self.intact:
            self._build()
        elif self.in_flight:
            self.recv()
        assert self.seeded or seeds is not None, "unseeded emulators of one second share a random stream"
        self.seeded = True
        return self._reset(seeds, None)

    def reset_games(self, finished: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        Start some games anew and leave the others alone.

        :param finished: bool [E], which
        :return: observations and lives of all games, as from :meth:`reset`
        """
        return self._reset(None, {"reset_mask": finished})

    def _reset(self, seeds: np.ndarray | None, options: dict[str, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
        self.intact = False
        observations, info = self._games.reset(seed=seeds, options=options)
        if self._camera is not None:
            frames, camera_info = self._camera.reset(seed=seeds, options=options)
            assert np.array_equal(info["frame_number"], camera_info["frame_number"]), "the camera lost the game"
            self.rgb_frames = frames[:, 0]
        self.intact = True
        return observations, info["lives"]

    def send(self, actions: np.ndarray) -> None:
        """
        Start one environment step of all games; it runs in the emulators' own threads.

        :param actions: int64 [E], each within the action set
        """
        assert self.intact and not self.in_flight
        self.intact = False
        self._games.send(actions)
        if self._camera is not None:
            self._camera.send(actions)
        self.in_flight = True
        self.intact = True

    def recv(self) -> EmulatorStep:
        """
        Wait for the step that :meth:`send` started.

        :return: its results
        """
        assert self.intact and self.in_flight
        self.intact = False
        observations, rewards, game_over, _, info = self._games.recv()
        if self._camera is not None:
            frames, _, _, _, camera_info = self._camera.recv()
            assert np.array_equal(info["frame_number"], camera_info["frame_number"]), "the camera lost the game"
            self.rgb_frames = frames[:, 0]
        self.in_flight = False
        self.intact = True
        return EmulatorStep(observations, rewards, game_over, info["lives"])


def thread_plan(n_envs: int, num_threads: int) -> tuple[int, int]:
    """
    How many native threads to use, and whether to tie them to cores.

    Left alone, a few threads that sleep and wake together sometimes stay on one core. Tying thread i to core i cures
    that, but ale-py counts cores from 0 whatever this process may use, and two processes that each tie a few threads
    would meet on the same cores while others idle. So threads are tied only if they fill exactly the cores that this
    process may use, and these are numbered from 0.

    :param n_envs: number of games
    :param num_threads: what the user asked for, 0 for as many as useful
    :return: number of threads, and ale-py's ``thread_affinity_offset`` (0: thread i on core i; -1: no ties)
    """
    if hasattr(os, "sched_getaffinity"):
        cores = os.sched_getaffinity(0)
    else:  # not Linux
        cores = set(range(os.cpu_count() or 1))
    threads = num_threads or min(n_envs, len(cores))
    return threads, 0 if cores == set(range(threads)) else -1


def _screen_size(rom: str) -> tuple[int, int]:
    """
    The size of the console's picture; most ROMs have 210 lines, some up to 250.

    :param rom: ROM name
    :return: height and width in pixels
    """
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    rom_path = get_rom_path(rom)
    assert rom_path is not None
    ale.loadROM(rom_path)
    height, width = ale.getScreenDims()
    return height, width
