import copy
import os
import subprocess

from dεps.workspace.identity import flatten, git_commit, run_identity
from tests.conftest import quick_params

PARAMS = quick_params()
MANIFEST = {"name": "fashion_mnist_mini", "sha256": {"train": "1", "test": "2"}}


def identity(change=lambda params: None, method="deps", manifest=MANIFEST):
    params = copy.deepcopy(PARAMS)
    change(params["experiments"]["quick"])
    return run_identity(params, "quick", method, 0, manifest)


def test_what_changes_results_changes_the_identity():
    base = identity().digest
    assert identity(lambda e: e["methods"]["deps"].update(epsilon=0.5)).digest != base
    assert identity(lambda e: e["train"].update(epochs=7)).digest != base
    assert identity(manifest={**MANIFEST, "sha256": {"train": "3"}}).digest != base
    assert identity(method="rss").digest != base


def test_what_does_not_change_results_does_not():
    base = identity().digest
    assert identity(lambda e: e["methods"]["rss"].update(label_smoothing=0.5)).digest == base
    assert identity(lambda e: e["dataset"].update(root="elsewhere", workers=9)).digest == base


def test_parameters_are_flat_and_carry_no_path():
    run = identity(lambda e: e["dataset"].update(root="/somewhere/private"))
    assert run.params["method.shrink_start"] == "0.5"
    assert run.params["train.augment.flip"] == "false"
    assert "/somewhere" not in str(run)
    assert run.tags["space"] == "mbv3_micro"
    assert run.name == "deps-0"


def test_an_arch_trained_alone_is_a_method_of_its_own():
    run = identity(method="standalone-D1E2K5")
    assert run.name == "standalone-D1E2K5-0"
    assert (run.params["method.method"], run.params["method.arch"]) == ("standalone", "D1E2K5")
    assert run.digest != identity(method="standalone-smallest").digest
    assert run.digest == identity(lambda e: e["methods"]["rss"].update(epsilon=1), "standalone-D1E2K5").digest


def test_long_values_are_cut():
    assert len(flatten({"a": ["x" * 9000]})["a"]) == 6000


def test_the_commit_is_told_without_touching_gits_index(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert git_commit() == "unknown"
    (tmp_path / "file").write_text("1")
    own = ["git", "-c", "user.name=me", "-c", "user.email=me@example.org"]
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*own, *command], check=True)
    commit = git_commit()
    assert len(commit) == 40
    os.utime(tmp_path / "file", (1, 1))  # which `git status` would note in the index, under its lock
    index = (tmp_path / ".git/index").read_bytes()
    assert git_commit() == commit
    assert (tmp_path / ".git/index").read_bytes() == index
    (tmp_path / "params.yaml").write_text("seeds: [0]")
    subprocess.run(["git", "add", "params.yaml"], check=True)
    assert git_commit() == commit
    (tmp_path / "file").write_text("2")
    assert git_commit() == f"{commit}+changes"
