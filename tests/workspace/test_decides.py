import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from dεps.nets.files import save_supernet
from dεps.nets.supernet import Supernet
from dεps.workspace import decides
from dεps.workspace.stage import Context
from tests.conftest import ROOT, quick_params


def key(params, stage="train", method="deps", seed=0, *more):
    return Context(stage, "quick", method, seed, params).work_key(*more)


def test_the_key_of_work_depends_on_what_decides_its_stage():
    quick = quick_params()
    base = key(quick)
    assert key(quick) == base
    assert key(quick, seed=1) != base
    assert key(quick, method="rss") != base
    assert key(quick, "train", "deps", 0, "more") != base

    def changed(**sections):
        return key({**quick, "experiments": {"quick": {**quick["experiments"]["quick"], **sections}}})

    own = quick["experiments"]["quick"]
    assert changed(search={}, predict={}, export={}, evaluate={}, reference={}, tuning={}) == base
    assert changed(methods={**own["methods"], "rss": {"method": "rss"}}) == base
    assert changed(methods={**own["methods"], "deps": {**own["methods"]["deps"], "shrink_start": 0.75}}) != base
    assert changed(train={**own["train"], "learning_rate": 0.05}) != base
    assert changed(train={**own["train"], "operators": "native"}) != base


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("core/hashing.py", set(decides.STAGES)),
        ("training/loop.py", {"full_model", "standalone", "train", "finetune", "tune"}),
        ("search/nsga2.py", {"predict", "search", "export", "finetune"}),
        ("nets/operators.cpp", set(decides.STAGES) - {"prepare"}),
        ("sources/prepare.py", {"prepare"}),
        ("methods/rss.py", {"train"}),
        ("methods/full_model.py", {"full_model", "tune"}),
        ("report/style.py", set()),
        ("tracking/store.py", set()),
    ],
)
def test_an_edit_changes_the_code_of_the_stages_that_stand_on_it(tmp_path, monkeypatch, file, stages):
    package = tmp_path / "dεps"
    shutil.copytree(ROOT / "dεps", package, ignore=shutil.ignore_patterns("__pycache__", "*.png"))
    monkeypatch.setattr(decides, "PACKAGE", package)
    decides.method_files.cache_clear()

    def hashes() -> dict[str, str]:
        return {
            stage: decides.code_hash(stage, "rss" if said.method else None) for stage, said in decides.STAGES.items()
        }

    before = hashes()
    with (package / file).open("a") as edited:
        edited.write("# edited\n")
    after = hashes()
    decides.method_files.cache_clear()
    assert {stage for stage in decides.STAGES if before[stage] != after[stage]} == stages


def test_the_key_is_the_same_in_every_process():
    code = "from dεps.workspace.decides import code_hash; print(code_hash('train', 'deps'))"
    keys = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(keys) == 1


def test_a_runs_sections_are_those_of_its_stages():
    assert decides.run_sections() == ("dataset", "space", "train", "evaluate", "predict", "search")


def test_values_are_read_by_path_and_none_is_said_of_what_is_not_there():
    own = {"space": {"name": "s"}, "train": {"augment": {"flip": True}}, "evaluate": {"population": 3}}
    assert decides.values("evaluate", own) == {
        "train.augment": {"flip": True},
        "train.recalibrate_on": None,
        "evaluate": {"population": 3},
    }


def test_another_space_is_another_supernet_file(tmp_path, micro):
    """So stages that read weights need not depend on the space in params."""
    for number, space in enumerate((micro, replace(micro, name="other"))):
        save_supernet(Supernet(space, 10, 1, False, 0), tmp_path / f"{number}.safetensors")
    assert (tmp_path / "0.safetensors").read_bytes() != (tmp_path / "1.safetensors").read_bytes()


def test_the_sections_behind_a_result_are_those_of_all_stages_before_it():
    assert decides.sections_behind(["prepare"]) == ("dataset",)
    assert decides.sections_behind(["tune"]) == ("dataset", "space", "train", "full_model", "evaluate", "tuning")
    assert set(decides.sections_behind(["search"])) == {
        *("dataset", "space", "train", "full_model", "evaluate", "predict", "search", "methods")
    }
