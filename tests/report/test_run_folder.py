import pytest

from sb3_dqn_ext.files import atomic_path
from sb3_dqn_ext.report.run_folder import prepare_run_folder, write_text


def test_a_new_folder_is_created(tmp_path):
    folder = prepare_run_folder(tmp_path / "deep" / "run")
    assert folder == tmp_path / "deep" / "run" and folder.is_dir()


def test_an_empty_folder_is_used_and_a_used_one_is_not(tmp_path):
    (tmp_path / "run").mkdir()
    first = prepare_run_folder(tmp_path / "run")
    assert first == tmp_path / "run"
    # Even before the first run has written anything
    assert prepare_run_folder(tmp_path / "run") == tmp_path / "run-2"
    (tmp_path / "run-2" / "model.zip").write_text("precious")
    assert prepare_run_folder(tmp_path / "run") == tmp_path / "run-3"
    assert (tmp_path / "run-2" / "model.zip").read_text() == "precious"


@pytest.mark.parametrize("below", ["", "run"])
def test_an_unusable_folder_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / below
    with pytest.raises(ValueError, match=r"output='.*file.*' cannot be used as an output folder: .*Give a folder"):
        prepare_run_folder(path)


def test_a_failed_write_leaves_the_previous_file_and_no_litter(tmp_path):
    path = tmp_path / "new" / "result.txt"
    write_text(path, "first ±")
    with pytest.raises(RuntimeError), atomic_path(path) as draft:
        assert draft.suffix == ".txt"
        draft.write_text("half a fi")
        raise RuntimeError
    assert path.read_text(encoding="utf-8") == "first ±"
    assert list(path.parent.iterdir()) == [path]
