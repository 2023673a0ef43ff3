import json
import os
from pathlib import Path

import pytest
import torch
import yaml

from dεps.core.energy import EnergyMeter
from dεps.core.errors import OUT_OF_MEMORY, UserError
from dεps.workspace.locks import exclusive
from dεps.workspace.stage import Context, run


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(yaml.dump({"experiments": {"quick": {"train": {}}}}))
    return tmp_path


ARGV = ["--experiment", "quick", "--method", "deps", "--seed", "0"]


def call(work, argv=ARGV):
    run("train", work, ("experiment", "method", "seed"), argv=argv)


def test_results_go_to_the_stages_folder(workspace, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("MKL_CBWR", "AUTO")
    call(lambda context, out: (out / "file").write_text(context.label))
    assert Path("runs/quick/train/deps-0/file").read_text() == "train quick deps-0"
    note = json.loads(Path(".state/timing/quick/train/deps-0.json").read_text())
    assert (note["threads"], note["kernels"]) == (3, {"OPENBLAS_CORETYPE": "Haswell"})
    note.pop("joules", None)  # where the machine tells
    assert list(note) == ["started", "seconds", "computing", "computing_cores", "peak_mib", "threads", "kernels"]
    assert not [path for path in Path(".state/scratch").rglob("*") if path.is_file()]


@pytest.mark.parametrize("joules", [{}, {"cpu": 1.5}])
def test_energy_is_noted_where_it_is_known_and_lies_outside_the_results(workspace, monkeypatch, joules):
    monkeypatch.setattr(EnergyMeter, "joules", lambda meter: joules)
    call(lambda context, out: (out / "file").write_text(context.label))
    note = json.loads(Path(".state/timing/quick/train/deps-0.json").read_text())
    assert note.get("joules", {}) == joules
    assert ("joules" in note) == bool(joules)
    assert [path.name for path in Path("runs").rglob("*") if path.is_file()] == ["file"]


@pytest.mark.parametrize("path", ["", "locks", "scratch/quick", "resume/quick/train", "live/quick", "timing", "tune"])
def test_a_file_where_a_folder_of_the_state_belongs_is_removed(workspace, capsys, path):
    path = Path(".state", path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("no folder")
    call(lambda context, out: (out / "file").write_text(context.label))
    assert Path("runs/quick/train/deps-0/file").exists()
    assert Path(".state/timing/quick/train/deps-0.json").exists()
    assert capsys.readouterr().out == f"train quick deps-0: {path} is a file where a folder belongs; it is removed\n"


def test_a_stage_can_be_about_one_arch(workspace):
    argv = ["--experiment", "quick", "--arch", "smallest", "--seed", "0"]
    run(
        "standalone",
        lambda context, out: (out / "file").write_text(context.arch),
        ("experiment", "arch", "seed"),
        argv=argv,
    )
    assert Path("runs/quick/standalone/smallest-0/file").read_text() == "smallest"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("key is wrong; allowed: right"), 2, "error: key is wrong; allowed: right\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (OSError(28, "No space left on device", "some/file"), 2, "error: some/file: No space left on device\n"),
        (MemoryError(), 2, f"{OUT_OF_MEMORY}\n"),
        (torch.OutOfMemoryError("CUDA out of memory."), 2, f"{OUT_OF_MEMORY}\n"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, f"{OUT_OF_MEMORY}\n"),
        (RuntimeError("CUDA error: out of memory"), 2, f"{OUT_OF_MEMORY}\n"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), 2, f"{OUT_OF_MEMORY}\n"),
    ],
)
def test_errors_are_one_line_and_leave_nothing(workspace, capsys, error, code, message):
    def fail(context, out):
        (out / "half").touch()
        raise error

    with pytest.raises(SystemExit) as caught:
        call(fail)
    assert caught.value.code == code
    assert capsys.readouterr().err == message
    assert not Path("runs").exists()


def test_an_unknown_experiment_is_named(workspace, capsys):
    with pytest.raises(SystemExit):
        call(lambda context, out: None, ["--experiment", "slow", "--method", "deps", "--seed", "0"])
    assert "no 'experiments.slow'; there is: quick" in capsys.readouterr().err


def test_two_processes_cannot_run_the_same_instance(workspace, capsys):
    path = Context("train", "quick", "deps", 0).state("locks", ".lock")
    assert path == Path(".state/locks/quick/train/deps-0.lock")
    with exclusive(path, "runs this stage"), pytest.raises(SystemExit):
        call(lambda context, out: (out / "file").touch())
    assert capsys.readouterr().err == (
        f"error: {path} is held: process {os.getpid()} runs this stage; wait for it or end it\n"
    )
    call(lambda context, out: (out / "file").touch())  # free again


def test_a_stage_without_a_seed_has_none_to_compute_with():
    assert (Context("train", "quick", "deps", 3).the_seed, Context("train", "quick", "deps", 3).the_method) == (
        3,
        "deps",
    )
    assert Context("standalone", "quick", arch="smallest", seed=0).the_seed == 0
    for name in ("seed", "method", "arch"):
        with pytest.raises(TypeError, match=f"a stage without --{name} has no {name}"):
            getattr(Context("report", "quick"), f"the_{name}")
