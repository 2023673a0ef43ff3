"""The whole pipeline in miniature by `deps repro -j 2`: the bits of `dvc repro`, also when it is killed."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.pipelines.clone import OVERRIDES, Clone
from tests.tools.crash import contents, crash_parallel
from tests.tools.toy import processes_in

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A copy in which `dvc repro` has run."""
    clone = Clone(tmp_path_factory.mktemp("reference"), overrides=[*OVERRIDES, "checkpoint.seconds=0"])
    clone.call("dvc", "repro")
    return clone


def command_of(number: int) -> Path:
    return Path(f"/proc/{number}/cmdline")


def test_two_items_at_once_write_the_same_lock_and_files(tmp_path, reference):
    clone, commands = Clone(tmp_path, overrides=reference.overrides), set[bytes]()
    with ThreadPoolExecutor() as pool:
        output = pool.submit(clone.call, "deps", "repro", "-j", "2")
        while not output.done():
            commands.update(path.read_bytes() for path in map(command_of, processes_in(tmp_path)) if path.exists())
            time.sleep(0.05)
    assert "19 of 19 items brought up to date" in output.result()
    # each is forked from a process that has imported what it needs
    assert not [command for command in commands if b"pipelines." in command or b"parallel.item" in command]
    assert [command for command in commands if b"parallel.forks" in command]
    assert (tmp_path / "dvc.lock").read_bytes() == (reference.folder / "dvc.lock").read_bytes()
    assert contents(tmp_path) == contents(reference.folder)
    assert len(contents(tmp_path)) > 100
    assert "19 items are up to date" in clone.call("deps", "repro")


def test_killed_at_random_it_comes_to_the_same_lock_and_files(tmp_path, reference):
    assert crash_parallel(tmp_path, kills=4, seed=2, reference=reference, jobs=2, say=print) == 4
