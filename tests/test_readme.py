"""The README's example runs."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_example_runs_and_prints_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    shorter = {"200_000": "400", "n_eval_episodes=10": "n_eval_episodes=1", "progress_bar=True": "progress_bar=False"}
    for long, short in shorter.items():
        assert long in code
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    mean, std = map(float, capsys.readouterr().out.splitlines()[-1].split("±"))
    assert -21 <= mean <= 21 and std == 0  # a score of Pong, of one game
    assert (tmp_path / "pong.zip").exists()
