"""`deps repro` on made-up items: the lock, failures, interruptions."""

import os
import random
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from dεps.cli.parallel.launchers import LocalLauncher
from dεps.cli.parallel.run import _fixed_jobs
from tests.tools.toy import Toy

pytestmark = pytest.mark.slow
MANY = 16


@pytest.fixture(scope="module", params=[None, "import torch\n"], ids=["scripts", "forks"])
def imports(request):
    """Of items that are scripts, and of stages, which a server forks."""
    return request.param


@pytest.fixture(scope="module")
def reference(tmp_path_factory, imports):
    """What `dvc repro` writes of many items."""
    toy = Toy(tmp_path_factory.mktemp("reference"), MANY, imports)
    assert toy.run("dvc", "repro").returncode == 0
    return toy


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def begun(toy: Toy, name: str) -> bool:
    """Whether the item's own program runs."""
    log = toy.folder / f".state/logs/{name}.log"
    return log.exists() and "begins" in log.read_text()


def test_many_items_at_once_leave_no_entry_out_of_the_lock(tmp_path, reference, imports):
    toy = Toy(tmp_path, MANY, imports)
    done = toy.run(*toy.repro("-j", "4"))
    assert done.returncode == 0, done.stderr
    assert f"{2 * MANY + 2} of {2 * MANY + 2} items brought up to date" in done.stdout
    assert toy.lock() == reference.lock()
    assert toy.run("dvc", "status", "--quiet").returncode == 0
    assert f"{2 * MANY + 2} items are up to date" in toy.run(*toy.repro()).stdout


def test_an_edit_runs_what_dvc_would_run(tmp_path):
    toy = Toy(tmp_path, 3)
    assert toy.run(*toy.repro("-j", "3")).returncode == 0
    toy.rate(2)
    done = toy.run(*toy.repro("-j", "3"))
    # all trainings, whose outputs stay as they were, so nothing behind them runs
    assert set(re.findall(r"^(\S+): done", done.stderr, re.MULTILINE)) >= {"train@i0", "train@i1", "train@i2"}
    logs = {path.stem: path.read_text() for path in (tmp_path / ".state/logs").iterdir()}
    assert "Running stage 'train@i1'" in logs["train@i1"]
    assert toy.run("dvc", "status", "--quiet").returncode == 0


def test_where_files_may_be_missing_only_edits_run(tmp_path, imports):
    toy = Toy(tmp_path, 3, imports)
    assert toy.run(*toy.repro("-j", "3")).returncode == 0
    shutil.rmtree(tmp_path / "runs/train/i1")
    shutil.rmtree(tmp_path / ".dvc/cache")
    script = tmp_path / ("work.py" if imports is None else "pipelines/work.py")
    script.write_text(f"{script.read_text()}# edited\n")  # prepare runs, and writes what it wrote before
    done = toy.run(*toy.repro("-j", "3", "--allow-missing"))
    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^(\S+): done", done.stderr, re.MULTILINE)) == {"prepare", "report"}
    assert not (tmp_path / "runs/train/i1").exists()


def test_a_failed_item_stops_what_stands_on_it_only_and_the_next_run_goes_on(tmp_path, imports):
    toy = Toy(tmp_path, 3, imports)
    (tmp_path / "fail.txt").write_text("train@i1")
    done = toy.run(*toy.repro("-j", "2"))
    assert done.returncode == 2
    assert "train@i1 failed: error: this item was told to fail; log: .state/logs/train@i1.log" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "error: 1 of 8 items failed, and 2 that stand on them did not run: train@i1; see .state/logs/"
    )
    assert "Traceback" not in done.stderr
    assert set(yaml.safe_load(toy.lock())["stages"]) == {
        "prepare",
        "train@i0",
        "train@i2",
        "evaluate@i0",
        "evaluate@i2",
    }
    (tmp_path / "fail.txt").write_text("")
    done = toy.run(*toy.repro("-j", "2"))
    assert done.returncode == 0
    assert set(re.findall(r"^(\S+): done", done.stderr, re.MULTILINE)) == {"train@i1", "evaluate@i1", "report"}


def test_a_second_one_is_refused(tmp_path):
    toy = Toy(tmp_path, 2)
    (tmp_path / "sleep.txt").write_text("60")
    first = toy.start(*toy.repro("-j", "2"))
    until(lambda: begun(toy, "train@i0"))
    second = toy.run(*toy.repro())
    assert second.returncode == 2
    held = f"error: .state/repro.lock is held: process {first.pid} runs 'deps repro'; wait for it or end it"
    assert second.stderr.strip() == held
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    assert errors.splitlines()[-1] == "interrupted; the same command goes on from what is saved"
    assert toy.processes() == []


def test_params_that_choose_other_kernels_end_it_since_its_items_would_have_the_old_ones(tmp_path, imports):
    toy = Toy(tmp_path, 2, imports)
    (tmp_path / "sleep.txt").write_text("60")
    first = toy.start(*toy.repro("-j", "1"))
    until(lambda: begun(toy, "train@i0") or begun(toy, "train@i1"))
    params, edited = tmp_path / "params.yaml", tmp_path / "edited.yaml"
    before = params.read_text()
    edited.write_text(f"portable: true\n{before}")
    edited.replace(params)
    (tmp_path / "sleep.txt").write_text("0")
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 2
    said = "error: params.yaml: portable has changed since 'deps repro' began; run it again"
    assert errors.splitlines()[-1] == said
    params.write_text(before)
    done = toy.run(*toy.repro())
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^train@\S+: done", done.stderr, re.MULTILINE)) == 1  # the other was finished


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_whatever_ends_it_ends_its_items_and_the_next_run_goes_on(tmp_path, imports, number, code):
    toy = Toy(tmp_path, 2, imports)
    (tmp_path / "sleep.txt").write_text("60")
    first = toy.start(*toy.repro("-j", "2"))
    until(lambda: begun(toy, "train@i0") and begun(toy, "train@i1"))
    first.send_signal(number)
    first.communicate(timeout=60)
    assert first.returncode == code
    if number == signal.SIGTERM:
        assert toy.processes() == []
    until(lambda: toy.processes() == [])
    assert set(yaml.safe_load(toy.lock())["stages"]) == {"prepare"}
    (tmp_path / "sleep.txt").write_text("0")
    assert toy.run(*toy.repro("-j", "2")).returncode == 0
    assert len(yaml.safe_load(toy.lock())["stages"]) == 6


def test_killed_at_any_moment_it_leaves_a_lock_that_the_next_one_completes(tmp_path, reference, imports):
    toy, rng = Toy(tmp_path, MANY, imports), random.Random(0)
    for _ in range(8):
        first = toy.start(*toy.repro("-j", "4"))
        time.sleep(rng.uniform(0.5, 8.0))
        if rng.random() < 0.5:
            first.kill()
        else:
            for number in toy.processes():  # as when a machine dies
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        first.communicate(timeout=60)
    done = toy.run(*toy.repro("-j", "4"))
    assert done.returncode == 0, done.stderr
    assert toy.lock() == reference.lock()


def test_what_a_killed_one_left_unsorted_is_sorted_by_the_next(tmp_path, reference, imports):
    toy = Toy(tmp_path, MANY, imports)
    assert toy.run(*toy.repro("-j", "4")).returncode == 0
    lock = tmp_path / "dvc.lock"
    head, *entries = re.split(r"^(?=  \S)", lock.read_text(), flags=re.MULTILINE)
    lock.write_text(head + "".join(reversed(entries)))
    done = toy.run(*toy.repro("-j", "4"))
    assert done.returncode == 0
    assert "items are up to date" in done.stderr + done.stdout
    assert toy.lock() == reference.lock()


def test_items_at_once_have_a_gpu_each_and_a_single_one_has_them_all(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    two = LocalLauncher(None, ["3", "5"])
    assert two.jobs == 2
    assert [two._own_gpu(place) for place in (0, 1)] == [{"CUDA_VISIBLE_DEVICES": name} for name in ("3", "5")]
    assert LocalLauncher(4, ["3", "5"])._own_gpu(3) == {"CUDA_VISIBLE_DEVICES": "5"}
    assert LocalLauncher(1, ["3", "5"])._own_gpu(0) == {}
    assert LocalLauncher(2, [])._own_gpu(0) == {}


def test_trainings_of_several_processes_run_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for launch, jobs in (("python", None), ("torchrun --nproc-per-node 4", 1)):
        Path("params.yaml").write_text(f"launch: {launch}\n")
        assert _fixed_jobs() == jobs


def test_without_gpus_there_is_an_item_a_core_or_fewer_of_several_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    for threads, jobs in (("1", 4), ("2", 2), ("8", 1), ("odd", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        assert LocalLauncher(None, []).jobs == jobs
