"""
How fast SB3's DQN and ours learn an Atari game from pixels, in environment steps per second.

Every contender has a process of its own, so that none profits from the settings of another, and they take turns, one round
each, so that a machine whose speed drifts is fair to all. The hyper-parameters are the same: batch 32, one update per 4
environment steps, Nature's network on 4x84x84 pixels.

    python scripts/benchmarks/learn_speed.py --rounds 5 --steps 800 --output results/learn_speed.json
"""

import argparse
import multiprocessing as mp
import statistics
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sb3_dqn_ext.report.evidence import write_evidence

GAME = "PongNoFrameskip-v4"
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "SB3 DQN": ("DQN", {}),
    "ours, all off": ("ComposableDQN", {}),
    "ours, double + dueling + prioritized": ("PrioritizedDQN", {"policy_kwargs": {"dueling": True}}),
    "ours, the same + 3-step": ("PrioritizedDQN", {"policy_kwargs": {"dueling": True}, "n_steps": 3}),
    "ours, the same + 3-step, bf16": (
        "PrioritizedDQN",
        {"policy_kwargs": {"dueling": True}, "n_steps": 3, "mixed_precision": "bf16"},
    ),
}


def contend(name: str, n_envs: int, orders: Connection) -> None:
    """
    Learn as many steps as ordered, and answer with the seconds it took.

    :param name: one of ``CONTENDERS``
    :param n_envs: number of environments
    :param orders: where step numbers come from and seconds go to
    """
    algorithm, arguments = CONTENDERS[name]
    if algorithm == "DQN":
        import ale_py
        import gymnasium as gym
        from stable_baselines3 import DQN as Algorithm
        from stable_baselines3.common.env_util import make_atari_env
        from stable_baselines3.common.vec_env import VecFrameStack

        gym.register_envs(ale_py)
        env: Any = VecFrameStack(make_atari_env(GAME, n_envs=n_envs, seed=0), 4)
    else:
        import sb3_dqn_ext

        Algorithm = getattr(sb3_dqn_ext, algorithm)
        env = sb3_dqn_ext.make_atari_vec_env(GAME, n_envs=n_envs, seed=0)
    model = Algorithm(
        "CnnPolicy", env, buffer_size=20_000, learning_starts=500, batch_size=32, train_freq=max(4 // n_envs, 1),
        gradient_steps=max(n_envs // 4, 1), seed=0, exploration_initial_eps=0.1, exploration_final_eps=0.1, **arguments,
    )  # fmt: skip
    model.learn(1_000)  # fills the buffer, and lets every allocation happen
    while steps := orders.recv():
        start, before, updates = time.perf_counter(), model.num_timesteps, model._n_updates
        model.learn(steps, reset_num_timesteps=False)
        seconds = time.perf_counter() - start
        orders.send((seconds, model.num_timesteps - before, model._n_updates - updates))


def main() -> None:
    """Let the contenders take turns and print what they did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender")
    parser.add_argument("--steps", type=int, default=800, help="environment steps in a turn")
    parser.add_argument("--n-envs", type=int, default=1, help="environments of every contender")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    options = parser.parse_args()

    context = mp.get_context("spawn")
    lines, processes = {}, []
    for name in CONTENDERS:
        lines[name], end = context.Pipe()
        process = context.Process(target=contend, args=(name, options.n_envs, end), daemon=True)
        process.start()
        end.close()  # so that recv() below ends when the process does
        processes.append(process)
        lines[name].send(8)  # answered after the warm-up: one contender at a time
        lines[name].recv()
    speeds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name, line in lines.items():
            line.send(options.steps)
            seconds, steps, updates = line.recv()
            assert abs(updates - steps / 4) <= 2, f"{name} did {updates} updates in {steps} steps"
            speeds[name].append(steps / seconds)
            print(f"{name:40} {speeds[name][-1]:6.1f} steps/s", file=sys.stderr)
    for line in lines.values():
        line.send(0)

    baseline = speeds["SB3 DQN"]
    rows = {}
    print(f"\n{GAME}, {options.n_envs} environment(s), median of {options.rounds} turns of {options.steps} steps")
    print(f"{'':40} {'steps/s':>8} {'x SB3':>7}   (range of the ratio, turn by turn)")
    for name, speed in speeds.items():
        ratios = [a / b for a, b in zip(speed, baseline, strict=True)]
        rows[name] = {"steps_per_second": statistics.median(speed), "ratio": statistics.median(ratios), "ratios": ratios}
        print(
            f"{name:40} {rows[name]['steps_per_second']:8.1f} {rows[name]['ratio']:7.2f}"
            f"   {min(ratios):.2f} to {max(ratios):.2f}"
        )
    if options.output is not None:
        write_evidence(options.output, {"game": GAME, "n_envs": options.n_envs, "contenders": rows})


if __name__ == "__main__":
    main()
