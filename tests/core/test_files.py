import pytest

from dεps.core.errors import UserError
from dεps.core.files import output_folder, read_json, replace_atomic, write_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, "old")

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        replace_atomic(path, fail)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_output_folder_is_whole_or_absent(tmp_path):
    out, scratch = tmp_path / "a/out", tmp_path / "scratch"
    with pytest.raises(RuntimeError), output_folder(out, scratch) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert not out.exists()
    assert list(scratch.iterdir()) == []
    for content in ("1", "2"):
        with output_folder(out, scratch) as folder:
            (folder / "file").write_text(content)
    assert (out / "file").read_text() == "2"


def test_json_is_stable_and_damaged_json_is_named(tmp_path):
    write_json(tmp_path / "a.json", {"ε": [1, 2.5]})
    assert read_json(tmp_path / "a.json") == {"ε": [1, 2.5]}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json cannot be read"):
        read_json(tmp_path / "a.json")
