"""A full disk, a folder that cannot be written, a file that vanishes, Ctrl-C: one line, and nothing is half there."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from dεps.core.files import replace_atomic
from dεps.training.snapshot import Snapshot, load_snapshot, write_snapshot
from dεps.workspace.resume import Checkpoints
from tests.conftest import ROOT, draw_image_folder, quick_params
from tests.tools.refusals import assert_one_line, files

STEP = ["-m", "pipelines.full_model", "--experiment", "quick", "--seed", "0"]


def environment() -> dict[str, str]:
    drop = ("MLFLOW_TRACKING_URI", "DEPS_STUDY_STORAGE", "DVC_ROOT")
    own = {key: value for key, value in os.environ.items() if key not in drop}
    return own | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def stage(folder: Path, *command: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a stage there; `before` is Python to execute first."""
    arguments = [sys.executable, *command]
    if before:
        code = f"{before}; import runpy, sys; sys.argv = ['-m', *{list(command[2:])!r}]; "
        arguments = [sys.executable, "-c", f"{code}runpy.run_module({command[1]!r}, run_name='__main__')"]
    return subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, text=True, timeout=120)


def make_project(folder: Path, **train: object) -> Path:
    """Prepared data and params of a training of a few seconds."""
    params = quick_params() | {"checkpoint": {"epochs": 1, "seconds": 0}}
    quick = params["experiments"]["quick"]
    quick["dataset"] |= {"name": "drawn", "source": "image_folder", "root": str(folder / "images")}
    quick["dataset"] |= {"train_images": None, "class_count": None}
    quick["train"] |= {"epochs": 2, "batch_size": 32, "validate_recalibration": 40, **train}
    quick["full_model"] |= {"keep": [0.5]}
    folder.mkdir(exist_ok=True)
    draw_image_folder(folder / "images", {"train": 24, "validation": 8, "test": 8})
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    done = stage(folder, "-m", "pipelines.prepare", "--experiment", "quick")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The results of an undisturbed training."""
    folder = make_project(tmp_path_factory.mktemp("whole") / "project")
    done = stage(folder, *STEP)
    assert done.returncode == 0, done.stderr
    return files(folder / "runs/quick/full_model")


def temporary(folder: Path) -> list[str]:
    """What no stage may leave: files under names that are theirs for a moment."""
    return [name for name in files(folder / ".state") if "/." in f"/{name}" or name.startswith("scratch/")]


def results(folder: Path) -> dict[str, bytes]:
    """All of them; a folder that is not there has none."""
    return files(folder / "runs/quick/full_model")


def half_written(folder: Path) -> list[str]:
    """Of a stage that has not come to its end."""
    return [*temporary(folder), *results(folder)]


# --- a full disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of its own, where that may be made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def intact_states(folder: Path) -> list[Path]:
    folders = (folder / ".state/resume").rglob("states")
    return [path for states in folders for _, path in Checkpoints(states, 0).intact()]


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training(small_disk, reference):
    folder = make_project(small_disk / "project")
    ballast, state = small_disk / "ballast", 1_200_000  # about the size of a state
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    ballast.write_bytes(bytes(free - int(3.4 * state)))  # room for two states, and a part of what comes next
    done = stage(folder, *STEP)
    assert_refused_among_progress(done, "No space left on device")
    assert half_written(folder) == []
    states = intact_states(folder)
    assert states
    assert all(load_snapshot(path).step > 0 for path in states)
    ballast.unlink()
    done = stage(folder, *STEP)
    assert done.returncode == 0, done.stderr
    assert "goes on after step" in done.stdout
    assert results(folder) == reference


def assert_refused_among_progress(done: subprocess.CompletedProcess[str], *names: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert_one_line(last, *names)
    assert last.startswith("error: ")
    assert done.stderr.count("error: ") == 1


@pytest.mark.slow
def test_a_limit_on_files_stops_a_training_as_a_full_disk_does(tmp_path, reference):
    folder = make_project(tmp_path / "project")
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    done = stage(folder, *STEP, before=limit + "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))")
    assert_refused_among_progress(done, "File too large")
    assert half_written(folder) == []
    done = stage(folder, *STEP)
    assert done.returncode == 0, done.stderr
    assert results(folder) == reference


def test_an_error_of_the_disk_while_a_state_is_written_names_the_file(tmp_path):
    resource = pytest.importorskip("resource")
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            replace_atomic(tmp_path / "x", lambda path: write_snapshot(path, Snapshot({"a": torch.ones(9999)}, 1, 1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "x"))
    assert list(tmp_path.iterdir()) == []


# --- folders and files -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["runs/quick/full_model", ".state"])
def test_a_folder_that_cannot_be_written(tmp_path, name):
    folder = make_project(tmp_path / "project")
    (folder / name).mkdir(parents=True, exist_ok=True)
    readonly = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder / name)]
    mounted = os.getuid() == 0
    if mounted and subprocess.run(readonly, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here, and permissions do not bind root")
    if not mounted:
        (folder / name).chmod(0o555)
    try:
        done = stage(folder, *STEP)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder / name)], check=True)
        else:
            (folder / name).chmod(0o755)
    assert_refused_among_progress(done, "Read-only file system", "Permission denied", "device")
    assert results(folder) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "runs/quick/prepare/manifest.json",
        "runs/quick/prepare/train.safetensors",
        "runs/quick/prepare/validation.safetensors",
    ],
)
def test_a_file_that_vanishes_between_stages(tmp_path, name):
    folder = make_project(tmp_path / "project")
    (folder / name).unlink()
    assert_refused_among_progress(stage(folder, *STEP), name)
    assert half_written(folder) == []


# --- signals ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_signals_at_any_moment_leave_nothing_half_done(tmp_path, reference, number, code, word):
    folder, rng = make_project(tmp_path / "project"), random.Random(int(number))
    for moment in (0.3, 1.0, 2.0, rng.uniform(2.5, 3.5), rng.uniform(3.5, 6)):
        process = subprocess.Popen(
            [sys.executable, *STEP],
            cwd=folder,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        time.sleep(moment)
        os.killpg(process.pid, number)  # as a terminal does it: workers get it too
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        if process.returncode == 0:
            break  # it was faster
        assert process.returncode in (code, -number), errors
        if process.returncode == code:
            assert errors.splitlines().count(word) == 1, errors
        assert temporary(folder) == []
        assert results(folder) in ({}, reference)  # a signal may come when all is done
    done = stage(folder, *STEP)
    assert done.returncode == 0, done.stderr
    assert results(folder) == reference
