"""What the experiments share: their options, the verdict, and where figures and plots go."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sb3_dqn_ext.files import atomic_path
from sb3_dqn_ext.report.curves import STYLE
from sb3_dqn_ext.report.evidence import write_evidence


def make_parser(script: str, doc: str) -> argparse.ArgumentParser:
    """
    :param script: the experiment's ``__file__``
    :param doc: its docstring, which ``--help`` shows
    :return: a parser with the options that every experiment has
    """
    parser = argparse.ArgumentParser(
        prog=f"python scripts/experiments/{Path(script).name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default = Path("results/experiments") / Path(script).stem
    parser.add_argument(
        "--output", type=Path, default=default, help="where NAME.json and NAME.png go, without suffix (default: %(default)s)"
    )
    return parser


def finish(output: Path, figures: dict[str, Any], plot: Figure, claims: Mapping[str, bool]) -> int:
    """
    Write what was measured and drawn, and print which claims hold.

    :param output: path of the two files, without suffix
    :param figures: what was measured
    :param plot: its picture
    :param claims: what the paper says, and whether the figures agree
    :return: exit status, 0 when every claim holds
    """
    for claim, holds in claims.items():
        print(f"{'PASS' if holds else 'FAIL'}  {claim}")
    write_evidence(output.with_suffix(".json"), figures | {"claims": dict(claims)})
    with atomic_path(output.with_suffix(".png")) as draft, rc_context(STYLE):
        plot.savefig(draft, format="png", dpi=110)
    return 0 if all(claims.values()) else 1


def panels(titles: Sequence[str], width: float = 5.0, height: float = 4.0) -> tuple[Figure, list[Any]]:
    """
    :param titles: one for each panel, from left to right
    :param width: of a panel, in inches
    :param height: in inches
    :return: a figure and its axes, in the style of the package's plots
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(width * len(titles), height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(titles), squeeze=False)[0]
        for axis, title in zip(axes, titles, strict=True):
            axis.set_title(title)
    return figure, list(axes)
