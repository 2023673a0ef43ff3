"""DVC's graph, what it says of items, and dvc.lock."""

import json
import os
import shutil
import subprocess
import sys

import dvc
import pytest
import yaml

from dεps.cli.parallel.dag import Dag, _entries
from dεps.core.errors import UserError
from tests.tools.toy import Toy

pytestmark = pytest.mark.slow
ORDER = ["prepare", "train@i0", "train@i1", "train@i2", "evaluate@i0", "evaluate@i1", "evaluate@i2", "report"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A project in which `dvc repro` has run."""
    toy = Toy(tmp_path_factory.mktemp("toy"), 3)
    assert toy.run("dvc", "repro").returncode == 0
    return toy


@pytest.fixture(autouse=True)
def _inside(toy, monkeypatch):
    monkeypatch.chdir(toy.folder)


def test_items_come_in_the_order_in_which_dvc_repro_writes_them(toy):
    dag = Dag()
    assert dag.order == list(dag.upstream) == list(yaml.safe_load(toy.lock())["stages"])
    assert dag.upstream["prepare"] == ()
    assert dag.upstream["train@i1"] == ("prepare",)
    assert dag.upstream["evaluate@i1"] == ("train@i1",)
    assert set(dag.upstream["report"]) == set(ORDER) - {"report"}


def test_targets_are_those_of_dvc_with_all_that_they_stand_on():
    assert list(Dag(["evaluate@i1"]).upstream) == ["prepare", "train@i1", "evaluate@i1"]
    assert set(Dag(["train"]).upstream) == {"prepare", "train@i0", "train@i1", "train@i2"}
    assert Dag(["train@i1"]).order == Dag().order
    with pytest.raises(UserError, match=r"DVC: .*nothing"):
        Dag(["nothing"])


def test_behind_an_item_is_all_that_stands_on_it():
    assert Dag().behind(["train@i1"]) == {"train@i1", "evaluate@i1", "report"}
    assert Dag().behind([]) == set()


def test_an_item_has_changed_if_its_params_inputs_or_outputs_have(toy):
    dag = Dag()
    assert dag.changed(dag.upstream) == set()
    toy.rate(2)
    assert dag.changed(dag.upstream) == {"train@i0", "train@i1", "train@i2"}
    assert dag.changed(["prepare", "train@i1"]) == {"train@i1"}
    toy.rate(1)
    (toy.folder / "runs/evaluate/i2/c").unlink()
    assert dag.changed(dag.upstream) == {"evaluate@i2", "report"}
    assert toy.run("dvc", "checkout").returncode == 0
    assert dag.changed(dag.upstream) == set()


def test_what_is_missing_has_not_changed_where_that_is_allowed(toy):
    for name in ("train/i1", "evaluate/i1"):
        shutil.rmtree(toy.folder / "runs" / name)
    # `report` stands on all of runs/, which is another folder without them
    assert Dag(allow_missing=True).changed(ORDER) == {"report"}
    assert Dag().changed(ORDER) == {"train@i1", "evaluate@i1", "report"}
    toy.rate(2)
    assert Dag(allow_missing=True).changed(ORDER) == {"train@i0", "train@i1", "train@i2", "report"}
    toy.rate(1)
    assert toy.run("dvc", "checkout").returncode == 0


def test_the_lock_is_sorted_and_what_is_no_item_any_more_comes_last(toy):
    before = toy.lock()
    head, entries = before.decode().split("stages:\n")[0] + "stages:\n", _entries(before.decode())
    gone = "  gone:\n    cmd: echo\n"
    shuffled = gone + "".join(entries[name] for name in reversed(entries))
    (toy.folder / "dvc.lock").write_text(head + shuffled)
    Dag().sort_lock()
    assert toy.lock().decode() == before.decode() + gone
    (toy.folder / "dvc.lock").write_bytes(before)


def test_a_half_written_list_of_readers_is_removed(toy):
    (toy.folder / ".dvc/tmp/rwlock").write_text('{"write": {"')
    dag = Dag()
    assert dag.changed(dag.upstream) == set()


def test_what_killed_items_read_and_wrote_is_free_again_and_nothing_else(toy):
    path, out = toy.folder / ".dvc/tmp/rwlock", str(toy.folder / "runs/data")
    # processes of these numbers exist, which is all that DVC asks
    item = {"pid": 1, "cmd": "/x/dεps/cli/parallel/item.py prepare"}
    path.write_text(json.dumps({"write": {out: item}, "read": {"y": [item]}}))
    assert Dag().changed(["prepare"]) == set()
    other = {"pid": 1, "cmd": "dvc repro"}
    path.write_text(json.dumps({"write": {out: other}, "read": {"y": [item, other]}}))
    with pytest.raises(UserError, match=r"is busy.*PID 1.*dvc repro"):
        Dag().changed(["prepare"])
    assert json.loads(path.read_text()) == {"write": {out: other}, "read": {"y": [other]}}
    path.unlink()


def test_of_dvc_there_is_what_is_relied_on():
    from dvc.dvcfile import Lockfile
    from dvc.repo import Repo, lock_repo
    from dvc.repo.reproduce import get_active_graph, plan_repro
    from dvc.stage import PipelineStage
    from dvc.stage.serialize import to_lockfile
    from dvc.utils.serialize import dumps_yaml

    told = f"DVC {dvc.__version__} lacks something that dεps/cli/parallel/dag.py relies on"
    assert dvc.__version__.startswith("3."), told
    assert callable(Lockfile.dump_stages), told
    assert "_wait_for_lock" in Repo.__init__.__code__.co_varnames, told
    assert all(map(callable, (lock_repo, get_active_graph, plan_repro, to_lockfile, PipelineStage.changed))), told
    assert dumps_yaml({"schema": "2.0", "stages": {}}).startswith("schema: '2.0'\nstages:"), told
    assert os.path.exists(".dvc/tmp/lock"), told


def test_an_error_that_says_nothing_is_named_with_its_place():
    """DVC prints what an error says of itself: nothing, where it is an assertion."""
    program = """
import logging
from dvc.logger import setup
from dεps.cli.parallel.dag import name_causes
setup()
name_causes()
try:
    try:
        assert not "empty"
    except AssertionError as error:
        raise ValueError("failed to reproduce 'x'") from error
except ValueError:
    logging.getLogger("dvc").exception("")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ)
    assert "failed to reproduce 'x': AssertionError in <string>, line 9" in done.stderr
