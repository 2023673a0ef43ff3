import json
import shutil
from pathlib import Path

import pytest

from dεps.core.errors import UserError
from dεps.workspace.resume import CheckpointConfig, Checkpoints, Journal, work_folder


def save(checkpoints: Checkpoints, number: int) -> None:
    checkpoints.save(number, lambda path: path.write_text(f"state {number}"))


def numbers(checkpoints: Checkpoints) -> list[int]:
    return [number for number, _ in checkpoints.intact()]


def test_the_two_newest_states_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path / "states", 300)
    assert numbers(checkpoints) == []
    for number in (8, 9, 10, 100):
        save(checkpoints, number)
    assert numbers(checkpoints) == [100, 10]
    assert len(list((tmp_path / "states").iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"S" + data[1:]])
def test_a_damaged_state_gives_way_to_the_one_before(tmp_path, capsys, damage):
    checkpoints = Checkpoints(tmp_path, 300)
    save(checkpoints, 1)
    save(checkpoints, 2)
    (newest,) = tmp_path.glob("*2-*")
    newest.write_bytes(damage(newest.read_bytes()))
    assert numbers(checkpoints) == [1]
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_a_folder_in_a_states_place_gives_way(tmp_path):
    checkpoints = Checkpoints(tmp_path / "states", 300)
    save(checkpoints, 1)
    save(checkpoints, 2)
    name = checkpoints.files()[-1]
    name.unlink()
    (name / "inner").mkdir(parents=True)
    assert numbers(checkpoints) == [1]
    save(checkpoints, 2)
    assert numbers(checkpoints) == [2, 1]
    assert name.is_file()


def test_states_after_one_that_is_made_again_are_dropped(tmp_path):
    checkpoints = Checkpoints(tmp_path, 300, keep=None)
    for number in (1, 2, 3, 4):
        save(checkpoints, number)
    save(checkpoints, 2)
    assert numbers(checkpoints) == [2, 1]


def test_a_state_that_cannot_be_written_leaves_the_others(tmp_path):
    checkpoints = Checkpoints(tmp_path, 300)
    save(checkpoints, 1)

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        checkpoints.save(2, fail)
    assert numbers(checkpoints) == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_states_are_due_by_time(tmp_path):
    assert Checkpoints(tmp_path, 0).due()
    assert not Checkpoints(tmp_path, 3600).due()


def test_work_of_another_key_is_removed_and_said(tmp_path, capsys):
    first = work_folder(tmp_path, "a", "train")
    save(Checkpoints(first, 0), 1)
    assert capsys.readouterr().out == ""
    assert work_folder(tmp_path, "a", "train") == first
    assert numbers(Checkpoints(first, 0)) == [1]
    work_folder(tmp_path, "b", "train", lead=False)
    assert first.exists()
    work_folder(tmp_path, "b", "train")
    assert not first.exists()
    assert "train: starts anew" in capsys.readouterr().out


def test_a_journal_gives_back_what_was_added(tmp_path):
    first, second = Journal(tmp_path), Journal(tmp_path, 1)
    first.add("a", {"top1": 12.3456, "arch": "3·3 — ε"})
    second.add("b", {"top1": 0.1})
    assert first.read() == {"a": {"top1": 12.3456, "arch": "3·3 — ε"}, "b": {"top1": 0.1}}


def test_damaged_lines_of_a_journal_are_done_again(tmp_path):
    journal = Journal(tmp_path)
    for name in "abc":
        journal.add(name, name)
    path = tmp_path / "0.jsonl"
    path.write_bytes(path.read_bytes()[:-3])  # killed while writing
    assert set(journal.read()) == {"a", "b"}
    journal.add("c", "c")
    assert set(journal.read()) == {"a", "b", "c"}
    path.write_bytes(path.read_bytes().replace(json.dumps(["a", "a"]).encode(), b'["a", "z"]'))
    assert journal.read() == {"b": "b", "c": "c"}


def test_a_journal_outlives_its_folder(tmp_path):
    journal = Journal(work_folder(tmp_path / "j", "key", "evaluate"))
    journal.add("a", 1)
    shutil.rmtree(tmp_path / "j")
    journal.add("b", 2)
    assert journal.read() == {"b": 2}
    journal.path.unlink()
    journal.path.mkdir()
    assert journal.read() == {}
    journal.add("c", 3)
    assert journal.read() == {"c": 3}


@pytest.mark.parametrize(("key", "value"), [("epochs", 0), ("seconds", -1.0)])
def test_bad_values_are_named(key, value):
    with pytest.raises(UserError, match=rf"^CheckpointConfig\.{key} is {value}; expected "):
        CheckpointConfig(**{key: value})
