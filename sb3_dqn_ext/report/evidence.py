"""What every benchmark and experiment does with its figures: a JSON file that says how they were made."""

import json
import os
import platform
import shlex
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "stable-baselines3", "gymnasium", "ale-py", "numpy")


def processor() -> str:
    """
    :return: the processor's name, as far as the system tells
    """
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0] if names else platform.processor()


def write_evidence(path: Path, figures: dict[str, Any]) -> None:
    """
    :param path: JSON file
    :param figures: what was measured
    """
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "date": date.today().isoformat(),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in PACKAGES},
        **figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"Written to {path}")
