"""
What replay costs: the memory of a full buffer of Atari transitions, and the time of a prioritized draw with its update.

    python scripts/benchmarks/replay.py --output results/replay.json
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from gymnasium import spaces

from sb3_dqn_ext import FrameReplayBuffer
from sb3_dqn_ext.replay import SumTree
from sb3_dqn_ext.report.evidence import write_evidence


def fill(n_transitions: int, n_envs: int) -> dict[str, Any]:
    """
    Fill a prioritized 3-step buffer with random frames, episodes of 1,000 steps included, and weigh the process.

    :param n_transitions: size of the buffer
    :param n_envs: number of environments
    :return: bytes, also per transition
    """
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 256, size=(64, n_envs, 84, 84), dtype=np.uint8)
    before = psutil.Process().memory_info().rss
    buffer = FrameReplayBuffer(
        n_transitions, spaces.Box(0, 255, (4, 84, 84), np.uint8), spaces.Discrete(6), device="cpu", n_envs=n_envs,
        frame_stack=4, n_steps=3, alpha=0.6, seed=0,
    )  # fmt: skip
    stack = np.zeros((n_envs, 4, 84, 84), dtype=np.uint8)
    stack[:, -1] = pool[0]
    start = time.perf_counter()
    for step in range(n_transitions // n_envs):
        following = np.concatenate([stack[:, 1:], pool[(step + 1) % 64][:, None]], axis=1)
        done = np.full(n_envs, step % 1000 == 999)
        buffer.add(stack, following, rng.integers(6, size=n_envs), np.zeros(n_envs), done, [{}] * n_envs)
        stack = following
        if done[0]:
            stack = np.zeros_like(following)
            stack[:, -1] = following[:, -1]
    seconds = time.perf_counter() - start
    used = psutil.Process().memory_info().rss - before
    held = buffer.storage.tree.n_positive
    print(f"{held:,} transitions held in {used / 1e9:.3f} GB, {used / held:,.0f} bytes each (SB3: 56,448 of observations)")
    print(f"adding took {seconds / n_transitions * 1e6:.1f} us a transition, {n_envs} at a time")
    timings = []
    for _ in range(500):
        start = time.perf_counter()
        buffer.sample_batch(32, beta=0.5)
        timings.append(time.perf_counter() - start)
    print(f"a batch of 32 (stacks gathered, 3-step, weights): {statistics.median(timings) * 1e6:.0f} us")
    return {"transitions": held, "bytes": used, "bytes_per_transition": used / held, "add_us": seconds / n_transitions * 1e6,
            "sample_batch_32_us": statistics.median(timings) * 1e6}  # fmt: skip


def time_tree(capacity: int, batch_size: int, rounds: int) -> float:
    """
    :param capacity: number of priorities
    :param batch_size: indices in one draw
    :param rounds: draws
    :return: median microseconds of drawing a batch and updating its priorities
    """
    rng = np.random.default_rng(0)
    tree = SumTree(capacity)
    tree.set(np.arange(capacity), rng.random(capacity) + 0.01)
    timings = []
    for _ in range(rounds):
        priorities = rng.random(batch_size) + 0.01
        start = time.perf_counter()
        tree.set(tree.sample(batch_size, rng), priorities)
        timings.append(time.perf_counter() - start)
    return statistics.median(timings) * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transitions", type=int, default=1_000_000, help="size of the buffer to fill (7 GB for a million)")
    parser.add_argument("--n-envs", type=int, default=8, help="environments that fill it")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()
    tree = {}
    for batch_size in (32, 512):
        tree[batch_size] = time_tree(2**20, batch_size, 5_000)
        print(f"sum tree of 2^20 priorities, batch {batch_size}: sample + update {tree[batch_size]:.0f} us")
    figures = {"sum_tree_sample_update_us": tree, "buffer": fill(options.transitions, options.n_envs)}
    if options.output is not None:
        write_evidence(options.output, figures)


if __name__ == "__main__":
    main()
