"""Several processes on one training, as `launch: torchrun …` starts them; one of them dies."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.pipelines.clone import OVERRIDES, Clone

pytestmark = pytest.mark.slow

TORCHRUN = ["torchrun", "--standalone", "--nproc-per-node", "2"]
STAGE = ["-m", "pipelines.full_model", "--experiment", "quick", "--seed", "0"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A copy with prepared data, in which training saves its state after every step."""
    clone = Clone(tmp_path_factory.mktemp("ranks"))
    clone.call("deps", "params", *OVERRIDES, "checkpoint.seconds=0", "experiments.quick.train.epochs=20")
    clone.call("python", "-m", "pipelines.prepare", "--experiment", "quick")
    return clone


def ranks(clone: Clone) -> dict[int, int]:
    """Process of each rank that works in this copy."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (
                os.readlink(folder / "cwd") != str(clone.folder)
                or b"pipelines." not in (folder / "cmdline").read_bytes()
            ):
                continue
            rank = re.search(rb"\0RANK=(\d+)", (folder / "environ").read_bytes())
        except OSError:
            continue
        if rank:
            found[int(rank[1])] = int(folder.name)
    return found


def begun(clone: Clone) -> bool:
    """Whether ten steps have been trained and saved."""
    states = [int(path.name.partition("-")[0]) for path in (clone.folder / ".state/resume").rglob("0*-*")]
    return max(states, default=0) >= 20


@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_rank_ends_the_job_and_any_number_goes_on(clone, tmp_path, dead):
    with (tmp_path / "log").open("w") as log:
        job = subprocess.Popen(
            [*TORCHRUN, *STAGE], cwd=clone.folder, env=clone.environment(), stdout=log, stderr=subprocess.STDOUT
        )
        while not begun(clone):
            assert job.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.02)
        os.kill(ranks(clone)[dead], signal.SIGKILL)
        assert job.wait() != 0
    message = (tmp_path / "log").read_text()
    # The other rank says so in one line, unless torchrun was faster to end it; torchrun adds a report of its own.
    assert "error: another process of this job has ended or cannot be reached" in message or "terminated" in message
    assert "pipelines/full_model.py" not in message
    assert not ranks(clone)
    output = clone.call(*(["python"] if dead else TORCHRUN), *STAGE)
    step = int(re.search(r"goes on after step (\d+)", output)[1])
    assert step >= 10
    history = (clone.folder / "runs/quick/full_model/0/history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in history] == list(range(1, 21))
    assert not list((clone.folder / ".state/resume").rglob("0*-*"))


def test_an_evaluation_shared_by_two_processes_is_that_of_one(clone):
    instance = ["--experiment", "quick", "--method", "rss", "--seed", "0"]
    clone.call("python", "-m", "pipelines.train", *instance)
    evaluate, folder = ["-m", "pipelines.evaluate", *instance], clone.folder / "runs/quick/evaluate/rss-0"
    clone.call("python", *evaluate)
    alone = {path.name: path.read_bytes() for path in folder.iterdir()}
    clone.call(*TORCHRUN, *evaluate)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == alone


def test_a_loss_that_is_not_finite_ends_every_process_in_one_line(clone):
    clone.call("deps", "params", *OVERRIDES, "experiments.quick.train.learning_rate=100000.0")
    output = clone.call(*TORCHRUN, *STAGE, check=False)
    line = r"^error: full_model quick 0: .+ is not finite any more (?:in|by) step \d+ of \d+ \(learning rate"
    assert len(re.findall(line, output, re.MULTILINE)) in (1, 2)  # torchrun may be faster to end the other process
    assert "pipelines/full_model.py" not in output
    assert not ranks(clone)
