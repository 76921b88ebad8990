"""Which ROM and which stickiness an environment id means."""

import difflib
import re
from typing import NamedTuple

from ale_py.registration import rom_id_to_name
from ale_py.roms import get_all_rom_ids

# These cartridges have no one-player mode; ALE ends the whole process when it is asked to load one.
_TWO_PLAYERS_ONLY = frozenset({"combat", "joust", "maze_craze", "warlords"})

# form of id -> the stickiness that gymnasium registers it with
_STICKINESS = {"ALE/{}-v5": 0.25, "{}NoFrameskip-v4": 0.0, "{}NoFrameskip-v0": 0.25}


class Game(NamedTuple):
    """
    What an environment id stands for.

    :param rom: ale-py's name of the ROM, snake_case
    :param repeat_action_probability: the id's probability that the emulator repeats the previous action in a frame
    """

    rom: str
    repeat_action_probability: float


def game_names() -> list[str]:
    """
    The games that can be played, as ROM names.

    :return: sorted snake_case names
    """
    return sorted(set(get_all_rom_ids()) - _TWO_PLAYERS_ONLY)


def resolve_game(env_id: str) -> Game:
    """
    Find the ROM that an environment id means.

    :param env_id: ``"PongNoFrameskip-v4"``, ``"ALE/Pong-v5"`` or a ROM name such as ``"ms_pacman"``
    :return: ROM and stickiness; a bare ROM name has no sticky actions, as in ale-py
    :raises ValueError: for an unknown game, with the nearest names, and for ids whose meaning can't be kept
    """
    if not isinstance(env_id, str):
        raise ValueError(
            f"env_id={env_id!r} is not a string; give an id such as 'PongNoFrameskip-v4', 'ALE/Pong-v5' or 'pong'."
        )
    roms = game_names()
    if env_id in roms:
        return Game(env_id, 0.0)
    for form, stickiness in _STICKINESS.items():
        for rom in roms:
            if env_id == form.format(rom_id_to_name(rom)):
                return Game(rom, stickiness)
    raise ValueError(_why_unknown(env_id, roms))


def _why_unknown(env_id: str, roms: list[str]) -> str:
    bare = re.sub(r"^ALE/|(-?NoFrameskip|-?Deterministic)?(-ram\w*)?(-v\d+)?$", "", env_id, flags=re.IGNORECASE)
    spelled = {rom.replace("_", ""): rom for rom in roms}
    typed = bare.lower().replace("_", "").replace("-", "")
    if typed in {rom.replace("_", "") for rom in _TWO_PLAYERS_ONLY}:
        return f"env_id={env_id!r}: this cartridge has no one-player mode; choose another game."
    if typed in spelled and re.search(r"-v\d+$", env_id):
        name = rom_id_to_name(spelled[typed])
        return (
            f"env_id={env_id!r}: random frame skips, RAM observations and old versions are not supported; "
            f"use '{name}NoFrameskip-v4' (no sticky actions) or 'ALE/{name}-v5' (sticky actions, probability 0.25)."
        )
    nearest = [spelled[key] for key in difflib.get_close_matches(typed, spelled, n=3, cutoff=0.0)]
    for form in _STICKINESS:
        prefix, suffix = form.split("{}")
        if env_id.startswith(prefix) and env_id.endswith(suffix):
            nearest = [form.format(rom_id_to_name(rom)) for rom in nearest]
    return f"env_id={env_id!r} is not a known Atari game. Nearest names: {', '.join(map(repr, nearest))}."
