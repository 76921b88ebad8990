"""Files that are written whole or not at all, and models' files checked before they are loaded."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """
    A path to write to, which becomes ``path`` when all went well and vanishes otherwise, so that nobody ever sees half
    a file, or loses the previous one to a crash.

    :param path: the file to be; its folder is created
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # Same folder, as renaming is atomic only within a disk; same suffix, as writers choose the format by it
    draft = final.with_name(f".{final.stem}-{os.getpid()}{final.suffix}")
    try:
        yield draft
        os.replace(draft, final)
    finally:
        draft.unlink(missing_ok=True)


def check_model_file(path: Path | IO[bytes]) -> None:
    """
    :param path: a model's zip file, or one that is open
    :raises FileNotFoundError: when there is none
    :raises ValueError: when it is not a complete zip file of one of this package's models
    """
    if isinstance(path, Path) and not path.exists():
        raise FileNotFoundError(f"There is no model file {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            data = archive.read("data")
    # A file cut short can pass for the zip file inside it, which holds no "data": a KeyError.
    except (zipfile.BadZipFile, KeyError) as error:
        raise ValueError(
            f"{path} is not a complete model file: is it cut short? Load one that a model's save() wrote."
        ) from error
    finally:
        if not isinstance(path, Path):
            path.seek(0)
    if damaged is not None:
        raise ValueError(f"{path} is damaged: its part {damaged!r} does not match its checksum. Load another copy.")
    if b'"double_q"' not in data:
        raise ValueError(
            f"{path} is not a model of sb3_dqn_ext. To take over the weights of an SB3 DQN, create a ComposableDQN with "
            "the same policy and call model.set_parameters(DQN.load(path).get_parameters())."
        )
