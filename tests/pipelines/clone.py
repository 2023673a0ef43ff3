"""The project copied and shrunk, and its commands as users type them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.conftest import ROOT, draw_image_folder

#: keeps the folder of published results, of which copies have none
README = "reports/published/README.md"
#: the images that a copy draws
DRAWN = [
    "dataset@experiments.quick.dataset=image_folder",
    "experiments.quick.dataset.name=drawn",
    "experiments.quick.dataset.root=images",
    "experiments.quick.dataset.image_size=28",
    "experiments.quick.dataset.channels=1",
]
OVERRIDES = [
    *DRAWN,
    "space@experiments.quick.space=mbv3_micro",
    "experiments.quick.train.epochs=2",
    "experiments.quick.train.batch_size=32",
    "experiments.quick.methods.rss.epochs_ratio=1.0",
    "experiments.quick.train.validate_recalibration=40",
    "experiments.quick.evaluate.recalibration_images=40",
    "experiments.quick.evaluate.population.buckets=2",
    "experiments.quick.evaluate.population.per_bucket=4",
    "experiments.quick.predict.epochs=3",
    "experiments.quick.search.generations=3",
    "experiments.quick.search.population=8",
    "experiments.quick.search.measured=2",
    "experiments.quick.search.recalibration_images=40",
    "experiments.quick.tuning.trials=3",
    "experiments.quick.tuning.confirm_seeds=[1]",
    "experiments.quick.tuning.startup_trials=2",
    "experiments.quick.tuning.search.shrink_start=[0.0,0.5]",
    "experiments.quick.tuning.points=[{ramp_epochs: 0.0}]",
    "methods=[deps,rss]",
]


class Clone:
    """A copy of the tracked files, as a repository of its own."""

    def __init__(self, folder: Path, train_images: int = 24, overrides: Sequence[str] = OVERRIDES) -> None:
        self.folder, self.train_images, self.overrides = folder, train_images, overrides
        listed = self._run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).exists() and (name == README or not name.startswith(("reports/", "dvc.lock"))):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        draw_image_folder(folder / "images", {"train": train_images, "validation": 8, "test": 8})
        (folder / ".gitignore").open("a").write("/images/\n")
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
            self._run("git", *command)
        self.call("deps", "params", *overrides)

    def environment(self) -> dict[str, str]:
        """Of commands in this copy."""
        bin_folder = Path(sys.executable).parent
        environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "DVC_ROOT")}
        # dvc exp run makes commits; do not depend on whoever runs the tests having told git a name.
        environment |= {f"GIT_{role}_{key}": "t@t" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
        return environment | {"PATH": f"{bin_folder}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder)}

    def _run(self, *command: str, cwd: Path | None = None, check: bool = True) -> str:
        done = subprocess.run(command, cwd=cwd or self.folder, env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done.stdout + done.stderr

    def repro(self, *targets: str) -> set[str]:
        """Do what `dvc repro` does in a fraction of the time; the stage instances that ran, by their logs.

        An item that `deps repro` says is done may have come from DVC's cache.
        """
        output = self.call("deps", "repro", "-j", "2", *targets)
        done = re.findall(r"^(\S+): done in ", output, re.MULTILINE)
        return {name for name in done if ran((self.folder / f".state/logs/{name}.log").read_text())}

    def call(self, *command: str, check: bool = True) -> str:
        """Output of a command, both streams."""
        return self._run(*command, check=check)

    def outputs(self) -> dict[str, list]:
        """What `dvc.lock` says of each stage's outputs: their paths and hashes."""
        stages = yaml.safe_load((self.folder / "dvc.lock").read_text("utf-8"))["stages"]
        return {name: stage["outs"] for name, stage in stages.items()}


def ran(output: str) -> set[str]:
    """Stage instances that `dvc repro` ran."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}
