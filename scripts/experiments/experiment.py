"""What the experiments share: their options, the verdict, and where figures and plots go."""

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch as th
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sb3_dqn_ext.files import atomic_path
from sb3_dqn_ext.report.curves import STYLE
from sb3_dqn_ext.report.evidence import write_evidence

Result = TypeVar("Result")


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
    print(f"Drawn in {output.with_suffix('.png')}")
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


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """
    :param parser: gets an option ``--jobs``
    """
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes, of one thread each (default: all cores)")


def run_all(function: Callable[..., Result], tasks: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[Result]:
    """
    :param function: of a module
    :param tasks: its arguments, once for each call
    :param jobs: number of processes
    :return: the results in the order in which they are ready
    """
    if jobs == 1:
        yield from (function(*task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=th.set_num_threads, initargs=(1,)) as pool:
        for future in as_completed([pool.submit(function, *task) for task in tasks]):
            yield future.result()


def bootstrap_interval(samples: np.ndarray) -> tuple[float, float]:
    """
    95% percentile bootstrap interval of the mean.

    :param samples: float [runs]
    :return: its bounds
    """
    draws = np.random.default_rng(0).choice(samples, size=(10_000, len(samples)))
    low, high = np.percentile(draws.mean(axis=1), [2.5, 97.5])
    return float(low), float(high)
