"""States that are removed or damaged at any moment: what comes out is what an undisturbed training gives."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dεps.core.errors import UserError
from dεps.planning.check import compose_params
from dεps.training import run as runner
from dεps.training.loop import Trainer
from dεps.workspace.stage import Context
from pipelines import full_model
from tests.conftest import ROOT
from tests.tools.accidents import as_folder, flip, remove
from tests.tools.refusals import files
from tests.tuning.test_objective import OVERRIDES

EPOCHS = 4
#: two steps an epoch
SMALL = ["experiments.quick.train.batch_size=96", "experiments.quick.train.validate_every=4"]


@pytest.fixture(scope="module")
def prepared(data, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """A workspace with data, and what an undisturbed training of the full model writes."""
    folder = tmp_path_factory.mktemp("workspace")
    shutil.copytree(data.folder, folder / "runs/quick/prepare")
    overrides = [*OVERRIDES, "checkpoint.seconds=0", *SMALL]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        compose_params(overrides, ROOT / "params", folder / "params.yaml")
        whole = files(trained())
        shutil.rmtree("runs/quick/full_model")
        shutil.rmtree(".state")
    assert {f"trunk/epoch-000{epoch}.safetensors" for epoch in (1, 2, 3, 4)} < set(whole)
    return folder, whole


@pytest.fixture
def undisturbed(prepared, tmp_path, monkeypatch) -> dict[str, bytes]:
    """A copy of the workspace as the working folder."""
    shutil.copytree(prepared[0], tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    return prepared[1]


def trained() -> Path:
    from dεps.core.params import read_params

    context = Context("full_model", "quick", None, 0, read_params())
    out = context.folder("full_model")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    full_model.work(context, out)
    return out


def interrupted(monkeypatch, step: int, then: Callable[[], None] = lambda: None) -> None:
    """Train up to so many steps; there do `then`, or by default stop."""
    real = Trainer._step

    def stopping(self, *arguments) -> None:
        if self.step == step:
            raise KeyboardInterrupt
        real(self, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_step", stopping)
        trained()


def states(kind: str) -> list[Path]:
    return sorted(Path(".state/resume").rglob(f"{kind}/[0-9]*"))


def flipped(path: Path) -> None:
    flip(path, 3 * path.stat().st_size // 4)


ACCIDENTS = [remove, flipped, as_folder]


@pytest.mark.parametrize(("number", "accident"), [(0, flipped), *((1, accident) for accident in ACCIDENTS)])
def test_a_kept_epoch_that_is_lost_is_made_again(undisturbed, monkeypatch, capsys, number, accident):
    interrupted(monkeypatch, 5)
    assert len(states("kept")) == 2
    accident(states("kept")[number])
    capsys.readouterr()
    assert files(trained()) == undisturbed
    where = "goes on after step 2" if number else "starts from the beginning"
    assert f"full_model quick 0: {where}; a state after that is lost or damaged, and made again\n" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("accident", [flipped, as_folder])
def test_states_that_are_lost_give_way_to_kept_epochs(undisturbed, monkeypatch, capsys, accident):
    interrupted(monkeypatch, 5)
    for path in states("states"):
        accident(path)
    assert files(trained()) == undisturbed
    assert "full_model quick 0: goes on after step 4" in capsys.readouterr().out


def test_without_any_state_training_begins_anew(undisturbed, monkeypatch):
    interrupted(monkeypatch, 5)
    shutil.rmtree(".state")
    assert files(trained()) == undisturbed


@pytest.mark.parametrize("target", ["kept", ""])
def test_a_file_in_a_folders_place_gives_way(undisturbed, monkeypatch, target):
    interrupted(monkeypatch, 3)
    folder = states("states")[0].parent.parent / target
    shutil.rmtree(folder)
    folder.write_text("")
    assert files(trained()) == undisturbed


def remove_all() -> None:
    shutil.rmtree(".state")


def flip_kept() -> None:
    flipped(states("kept")[0])


@pytest.mark.parametrize(("step", "happens"), [(3, flip_kept), (7, remove_all)])
def test_what_is_lost_while_training_runs_is_made_again(undisturbed, monkeypatch, capsys, step, happens):
    real, done = Trainer._step, []

    def disturbed(self, *arguments) -> None:
        if self.step == step and not done:
            done.append(happens())
        real(self, *arguments)

    monkeypatch.setattr(Trainer, "_step", disturbed)
    assert files(trained()) == undisturbed
    assert "an epoch to keep was lost or damaged meanwhile; it is trained again" in capsys.readouterr().out
    live = Path(".state/live/quick/full_model/0.jsonl")
    if happens is flip_kept:
        epochs = [int(n) for n in re.findall(r'"epoch": (\d+)', live.read_text())]
        assert epochs == list(range(1, EPOCHS + 1))


def test_a_disk_that_loses_all_again_is_no_endless_loop(undisturbed, monkeypatch):
    monkeypatch.setattr(runner.Saver, "publish", lambda self, trunk: False)
    with pytest.raises(UserError, match="loses what is written there"):
        trained()
