"""Items as jobs of a real Slurm: two partitions on this machine, and one job that is preempted."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.pipelines.clone import Clone
from tests.tools import slurm
from tests.tools.toy import Toy

pytest.importorskip("submitit", exc_type=ImportError)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(slurm.why_not() is not None, reason=str(slurm.why_not()))]
LAUNCHER = "kind: slurm\npartition: low\ngpus: 0\ncpus: 1\nmemory_gb: 1.5\nminutes: 60\n"


@pytest.fixture(scope="module", autouse=True)
def commands(tmp_path_factory):
    """A cluster, which all commands of this module find."""
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as environment, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        yield


def until(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def use_slurm(folder: Path) -> None:
    path = folder / "params/launcher/slurm.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(LAUNCHER)


def preempt() -> None:
    """Take both cores for a moment."""
    subprocess.run(["sbatch", "--partition=high", "--ntasks=2", "--wrap=sleep 1", "--output=/dev/null"], check=True)


def restarts(folder: Path) -> int:
    """Jobs that were started more than once, by what submitit writes into their logs."""
    logs = [path.read_text().count("Starting with JobEnvironment") for path in folder.glob(".state/slurm/*_log.err")]
    logs += [path.read_text().count("Starting with JobEnvironment") for path in folder.glob(".state/slurm/*_log.out")]
    return sum(count > 1 for count in logs)


def test_preempted_items_go_back_into_the_queue_and_the_lock_is_that_of_dvc_repro(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    plain, toy = Toy(tmp_path / "one", 2), Toy(tmp_path / "other", 2)
    assert plain.run("dvc", "repro").returncode == 0
    use_slurm(toy.folder)
    (toy.folder / "sleep.txt").write_text("60")
    process = toy.start(*toy.repro("--launcher", "slurm"))
    logs = [toy.folder / f".state/logs/train@i{number}.log" for number in (0, 1)]
    until(lambda: all(log.exists() and "begins" in log.read_text() for log in logs), 120)
    preempt()
    (toy.folder / "sleep.txt").write_text("0")
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, errors
    assert "6 of 6 items brought up to date" in output
    assert restarts(toy.folder) == 2
    assert toy.lock() == plain.lock()


def test_ctrl_c_cancels_the_jobs_and_a_failed_item_is_named(tmp_path):
    toy = Toy(tmp_path, 2)
    use_slurm(toy.folder)
    (toy.folder / "sleep.txt").write_text("60")
    process = toy.start(*toy.repro("--launcher", "slurm"))
    until(lambda: (tmp_path / ".state/logs/train@i0.log").exists(), 120)
    process.send_signal(2)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout.split() == []
    (toy.folder / "sleep.txt").write_text("0")
    (toy.folder / "fail.txt").write_text("train@i1")
    done = toy.run(*toy.repro("--launcher", "slurm"))
    assert done.returncode == 2
    assert "train@i1 failed: error: this item was told to fail; log: .state/logs/train@i1.log" in done.stderr


def test_the_small_experiment_comes_to_the_same_bits_though_a_job_is_preempted(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    plain, clone = Clone(tmp_path / "one"), Clone(tmp_path / "other")
    for one in (plain, clone):
        use_slurm(one.folder)  # all of params is an input of the page
    plain.call("dvc", "repro")
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            ["deps", "repro", "--launcher", "slurm"],
            cwd=clone.folder,
            env=clone.environment(),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    until(lambda: (clone.folder / ".state/locks/quick/train/deps-0.pid").exists() or process.poll() is not None, 900)
    preempt()
    assert process.wait(1800) == 0, log.read_text()
    assert restarts(clone.folder) >= 1
    assert clone.outputs() == plain.outputs()
    assert (clone.folder / "dvc.lock").read_bytes() == (plain.folder / "dvc.lock").read_bytes()
