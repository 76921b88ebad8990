import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import sb3_dqn_ext
from sb3_dqn_ext import cli, demo
from sb3_dqn_ext.cli import main
from sb3_dqn_ext.demo_config import DemoConfig


@pytest.fixture
def asked(monkeypatch) -> list[tuple[DemoConfig, str]]:
    calls: list[tuple[DemoConfig, str]] = []
    monkeypatch.setattr(demo, "run_demo", lambda config, command: calls.append((config, command)))
    return calls


def test_demo_without_options_is_the_default_demo(asked):
    assert main(["demo"]) == 0
    assert asked == [(DemoConfig(), "sb3-dqn demo")]


def test_demo_options_arrive(asked):
    options = "demo --game breakout --steps 10 --seed 3 --n-envs 2 --eval-games 4 --minutes 1.5 --output".split()
    assert main([*options, "my runs/a"]) == 0
    config = DemoConfig("breakout", steps=10, seed=3, n_envs=2, n_eval_games=4, max_minutes=1.5, output="my runs/a")
    assert asked == [(config, " ".join(["sb3-dqn", *options, "'my runs/a'"]))]


def test_arguments_of_the_process_are_the_default(asked, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["sb3-dqn", "demo", "--seed", "7"])
    assert main() == 0 and asked[0][0].seed == 7


@pytest.mark.parametrize("error", [ValueError, ImportError])
def test_a_mistake_is_one_line(monkeypatch, capsys, error):
    def refuse(*arguments) -> None:
        raise error("game='pongg' is unknown: did you mean pong?")

    monkeypatch.setattr(demo, "run_demo", refuse)
    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "sb3-dqn: error: game='pongg' is unknown: did you mean pong?\n"


def test_a_setting_out_of_range_is_one_line(capsys):
    assert main(["demo", "--steps", "0"]) == 2
    assert capsys.readouterr().err == "sb3-dqn: error: steps=0 must be at least 1\n"


def test_an_internal_error_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(demo, "run_demo", lambda *arguments: [][0])
    with pytest.raises(IndexError):
        main(["demo"])


def test_an_aborted_command_says_so(monkeypatch, capsys):
    def abort(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", abort)
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "sb3-dqn: aborted\n"


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--steps", "many"]])
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2 and "usage: sb3-dqn" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, taught",
    [
        (["--help"], ["demo", "examples:", "--steps 1000000"]),
        (["demo", "--help"], ["(default: kung_fu_master)", "Ctrl-C", "examples:"]),
    ],
)
def test_help_teaches(arguments, taught, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    text = " ".join(capsys.readouterr().out.split())  # argparse breaks lines by the terminal's width
    assert exit_info.value.code == 0 and all(part in text for part in taught)


def test_version(capsys, monkeypatch):
    monkeypatch.setattr(cli, "version", lambda package: "1.2.3")
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == "sb3-dqn 1.2.3\n"

    def missing(package: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr(cli, "version", missing)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == "sb3-dqn (not installed)\n"


def test_help_loads_nothing_heavy():
    # The package itself may load what it likes; the command's own modules don't
    folder = str(Path(sb3_dqn_ext.__file__).parent)
    code = (
        "import sys, types; package = types.ModuleType('sb3_dqn_ext');"
        f"package.__path__ = [{folder!r}]; sys.modules['sb3_dqn_ext'] = package;"
        "import sb3_dqn_ext.cli; sb3_dqn_ext.cli.build_parser().format_help();"
        "heavy = {'torch', 'numpy', 'stable_baselines3', 'gymnasium'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "sb3_dqn_ext", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sb3-dqn ")
