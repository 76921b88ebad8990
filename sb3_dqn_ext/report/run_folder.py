"""A folder for the results of one run: writable before training starts, and never one that already holds results."""

import os
from itertools import count
from pathlib import Path

from sb3_dqn_ext.files import atomic_path


def prepare_run_folder(path: str | os.PathLike[str]) -> Path:
    """
    Creates the folder and proves that it can be written to, so that hours of training are not lost at the end.

    :param path: the wanted folder; if it already holds something, ``path-2``, ``path-3``, ... is taken
    :return: the new or empty folder
    """
    wanted = Path(path).expanduser()
    try:
        for number in count(1):
            folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
            folder.mkdir(parents=True, exist_ok=True)
            if not any(folder.iterdir()) and _claim(folder):
                return folder
    except OSError as error:
        raise ValueError(
            f"output={str(path)!r} cannot be used as an output folder: {error.strerror or error}."
            " Give a folder that you may write to, on a disk with space left"
        ) from error
    raise AssertionError("the numbers never end")


def _claim(folder: Path) -> bool:
    try:
        # Of several runs started at once only one can create it
        (folder / ".run").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """
    :param path: the file to write atomically
    :param text: its new content, written as UTF-8
    """
    with atomic_path(path) as draft:
        draft.write_text(text, encoding="utf-8")
