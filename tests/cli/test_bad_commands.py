"""Commands that cannot be done say so in one line, and leave everything as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.nets.files import save_supernet
from dεps.nets.supernet import Supernet
from tests.conftest import ROOT, quick_text
from tests.tools.refusals import assert_one_line, assert_refused, files

BAD = {
    "params.yaml of bytes": ("params.yaml", b"\xff\xfe\x00"),
    "params.yaml of a list": ("params.yaml", b"- 1\n"),
    "no names": ("params.yaml", b"experiments: {quick: {}}\n"),
}


@pytest.fixture
def project(tmp_path, monkeypatch, micro) -> Path:
    """The project's folder with its params, a supernet, and things that are none."""
    (tmp_path / "params").symlink_to(ROOT / "params")
    (tmp_path / "params.yaml").write_text(quick_text())
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("just text\n")
    (tmp_path / "bytes.pth").write_bytes(b"\x80\x02\xff\x00")
    save_supernet(Supernet(micro, 4, channels=1), tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPS_STUDY_STORAGE", raising=False)
    return tmp_path


NEEDS_SPACE = ["--space", "mbv3_micro"]
COMMANDS = [
    (["nonsense"], "nonsense"),
    (["--nonsense"], "--nonsense"),
    (["params", "experiment=[nope]"], "nope"),
    (["params", "experiment=nope"], "nope"),
    (["params", "experiment=["], "experiment"),
    (["params", "seeds=[a]"], "seeds"),
    (["params", "seeds=[-1]"], "seeds"),
    (["params", "seeds=[1e9]"], "seeds"),
    (["params", "nonsense"], "nonsense"),
    (["params", "--seeds"], "--seeds"),
    (["params", "\x1b[31m=1"], "override"),
    (["params", "+from=nowhere.yaml"], "nowhere.yaml"),
    (["params", "+from=folder"], "folder"),
    (["params", "+from=net.safetensors"], "net.safetensors"),
    (["params", "+from=text"], "text"),
    (["params", "experiments.quick.train.epochs=nan"], "epochs"),
    (["plan", "--steps", "many"], "--steps"),
    (["plan", "--steps", "-1"], "--steps"),
    (["plan", "--steps"], "--steps"),
    (["plan", "--figure", "folder"], "folder"),
    (["plan", "--figure", "plan.exe"], "plan.exe"),
    (["plan", "--steps", "0", "methods=[deps]", "--figure", "text/plan.svg"], "text"),
    (["plan", "--steps", "0", "methods=[deps]", "--figure", "/proc/plan.svg"], "/proc"),
    (["import"], "FILE"),
    (["import", "bytes.pth"], "--space"),
    (["import", "nowhere", *NEEDS_SPACE], "nowhere"),
    (["import", "folder", *NEEDS_SPACE], "folder"),
    (["import", "text", *NEEDS_SPACE], "text"),
    (["import", "bytes.pth", *NEEDS_SPACE], "bytes.pth"),
    (["import", "bytes.pth", "--space", "../../etc/passwd"], "space"),
    (["import", "net.safetensors", *NEEDS_SPACE, "--out", "x.safetensors"], "net.safetensors"),
    (["export-checkpoint", "net.safetensors"], "OUT"),
    (["export-checkpoint", "text", "out.pth"], "text"),
    (["export-checkpoint", "net.safetensors", "folder"], "folder"),
    (["export-checkpoint", "net.safetensors", "text/out.pth"], "text"),
    (["export-checkpoint", "net.safetensors", "/proc/out.pth"], "/proc"),
    (["export-checkpoint", "net.safetensors", "x" * 300 + ".pth"], "xxx"),
    (["evaluate", "nowhere"], "nowhere"),
    (["evaluate", "text"], "text"),
    (["evaluate", "net.safetensors"], "manifest.json"),
    (["evaluate", "net.safetensors", "--split", "train"], "--split"),
    (["evaluate", "net.safetensors", "--images", "0"], "--images"),
    (["evaluate", "net.safetensors", "--images", "1e3"], "--images"),
    (["evaluate", "net.safetensors", "--arch", "\n"], "--arch"),
    (["evaluate", "net.safetensors", "--experiment", "../quick"], "../quick"),
    (["export"], "EXPERIMENT"),
    (["export", "nope"], "nope"),
    (["export", "../quick"], "../quick"),
    (["export", "quick"], "dvc repro train@quick-deps-0"),
    (["export", "quick", "--method", "nope"], "--method"),
    (["export", "quick", "--seed", "-1"], "--seed"),
    (["export", "quick", "--max-macs", "3 apples"], "--max-macs"),
    (["export", "quick", "--max-macs", "0"], "--max-macs"),
    (["export", "quick", "--max-latency-ms", "0"], "--max-latency-ms"),
    (["export", "quick", "--max-macs", "3M", "--arch", "smallest"], "alternatives"),
    (["export", "quick", "--format", "pickle"], "--format"),
    (["export", "quick", "--out", "net.exe"], ".onnx"),
    (["classify", "net.onnx"], "IMAGES"),
    (["classify", "nowhere.onnx", "text"], "nowhere.onnx"),
    (["classify", "text", "text"], "text"),
    (["classify", "net.safetensors", "text"], "net.safetensors"),
    (["classify", "net.pt2", "text"], ".pt2"),
    (["classify", "folder", "folder"], "folder"),
    (["latency"], "--space"),
    (["latency", "quick", "--space", "mbv3_micro"], "--space"),
    (["latency", "nope"], "nope"),
    (["latency", "--space", "nope"], "nope"),
    (["latency", "quick"], "manifest.json"),
    (["latency", "--space", "mbv3_micro", "--engine", "tpu"], "--engine"),
    (["latency", "--space", "mbv3_micro", "--arch", "huge"], "--arch"),
    (["latency", "--space", "mbv3_micro", "--out", "table.csv"], "table.csv"),
    (["tune", "nope"], "nope"),
    (["tune", "--trials", "0"], "--trials"),
    (["tune", "--workers", "none"], "--workers"),
    (["tune", "quick", "cifar10"], "cifar10"),
    (["show"], "runs/quick"),
    (["show", "me"], "me"),
    (["track", "--uri"], "--uri"),
]


@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_commands_that_cannot_be_done(project, command, name):
    before = files(project)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == "" or "--figure" in command  # the plan itself is printed
    assert result.stderr.endswith("\n")
    assert_one_line(result.stderr[:-1], name)
    assert result.stderr.startswith("error: ")
    assert files(project) == before


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize(
    "command", [["plan", "--steps", "0"], ["evaluate", "net.safetensors"], ["tune"], ["show"], ["track"]]
)
def test_commands_on_params_that_are_none(project, what, command):
    name, content = BAD[what]
    (project / name).write_bytes(content)
    before = files(project)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2, result.output
    assert_one_line(result.stderr[:-1], "params.yaml", "names", "trials", "experiments")
    assert files(project) == before


def test_output_that_nobody_reads_is_no_error(project):
    command = [sys.executable, "-m", "deps", "plan", "--steps", "0", "methods=[deps]"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True)
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait(60)


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


STAGES = [
    (["prepare"], "--experiment"),
    (["prepare", "--experiment", "nope"], "nope"),
    (["train", "--experiment", "quick", "--method", "../../x", "--seed", "0"], "../../x"),
    (["train", "--experiment", "quick", "--method", "nope", "--seed", "0"], "nope"),
    (["full_model", "--experiment", "quick", "--seed", "-1"], "-1"),
]


@pytest.mark.parametrize(("arguments", "name"), STAGES)
def test_stages_that_cannot_run(project, arguments, name):
    before = files(project, [".state"])
    command = [sys.executable, "-m", f"pipelines.{arguments[0]}", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)
    assert_refused(done, 2, name)
    assert files(project, [".state"]) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "content", "name"),
    [
        ("track", b"names: [quick]\n", "methods"),
        ("report", b"\x00", "params.yaml"),
        ("page", b"names: []\n", "names"),
        ("predict", None, "population.csv"),
        ("search", None, "manifest.json"),
        ("export", None, "manifest.json"),
        ("standalone", None, "--arch"),
        ("tune", b"experiments: {quick: {tuning: 1}}\n", "tuning"),
    ],
)
def test_more_stages_that_cannot_run(project, stage, content, name):
    if content is not None:
        (project / "params.yaml").write_bytes(content)
    before = files(project, [".state"])
    own = ["--experiment", "quick"] if stage not in ("track", "page") else []
    own += ["--method", "deps", "--seed", "0"] if stage in ("predict", "search", "export") else []
    command = [sys.executable, "-m", f"pipelines.{stage}", *own]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120)
    assert_refused(done, 2, name)
    assert files(project, [".state"]) == before


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "-x", "a b", "x" * 200])
def test_experiments_and_methods_whose_names_lead_elsewhere(project, name):
    params = yaml.safe_load((project / "params.yaml").read_text())
    methods = params["experiments"]["quick"]["methods"]
    methods[name] = dict(methods["rss"])
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    result = CliRunner().invoke(main, ["plan", "--steps", "0"])
    assert result.exit_code == 2
    assert_one_line(result.stderr[:-1], "methods")
