"""docs/own_images.md: its commands and its YAML, as they stand there, on images from a folder."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from dεps.data.folder import EXTENSIONS
from tests.conftest import ROOT, draw_image_folder
from tests.pipelines.clone import DRAWN, OVERRIDES, Clone

pytestmark = pytest.mark.slow
#: a run of a minute instead of an hour
SHRUNK = [
    override.replace("experiments.quick.", "experiments.mine.")
    for override in OVERRIDES
    if override not in DRAWN and not override.startswith(("methods", "experiments.quick.tuning"))
]
#: of the images in DEPS_IMAGES, and of drawn ones
CLASSES, IMAGES = 4, 40
#: of an experiment that the recipe does not select
OTHER = "reports/experiments/quick/results.md"


def section() -> str:
    return re.split("^## What is refused", (ROOT / "docs/own_images.md").read_text(), flags=re.MULTILINE)[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", section(), re.DOTALL)


def commands() -> list[list[str]]:
    (text,) = blocks("console")
    return [shlex.split(line.removeprefix("$ "), comments=True) for line in text.splitlines()]


def put_images(root: Path) -> None:
    """A folder a class: some of those in DEPS_IMAGES, which has such folders at any depth, or drawn ones."""
    if given := os.environ.get("DEPS_IMAGES"):
        images = (path for path in Path(given).rglob("*") if path.suffix.lower() in EXTENSIONS)
        folders = sorted({path.parent for path in images})
        for folder in folders[:CLASSES]:
            (root / folder.name).mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.iterdir())[:IMAGES]:
                shutil.copy2(path, root / folder.name)
    else:
        drawn = draw_image_folder(root.with_name("drawn"), {"all": IMAGES}, size=48, classes=CLASSES)
        shutil.move(drawn / "all", root)


def test_the_recipe_is_short():
    (yaml,) = blocks("yaml")
    assert len(yaml.splitlines()) == 5
    assert [command[0] for command in commands()] == ["deps", "dvc", "deps"]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    """A copy in which the recipe was followed up to `dvc repro`."""
    clone = Clone(tmp_path_factory.mktemp("clone"), overrides=[])
    (text,) = blocks("yaml")
    assert "path/to/images," in text
    root = clone.folder / "my images"
    put_images(root)
    preset = clone.folder / re.search(r"`(params/experiment/\w+\.yaml)`", section())[1]
    preset.write_text(text.replace("path/to/images", str(root)))
    report = clone.folder / OTHER
    report.parent.mkdir(parents=True)
    report.write_text("quick: as it was\n")
    for command in (["add", "-A"], ["commit", "-qm", "a report of another experiment"]):
        clone.call("git", *command)
    first, second, _ = commands()
    clone.call(*first, *SHRUNK)
    clone.output = clone.call(*second)
    return clone


def test_a_supernet_is_trained_on_own_images(clone):
    manifest = json.loads((clone.folder / "runs/mine/prepare/manifest.json").read_text())
    each = round(0.1 * IMAGES) * CLASSES
    assert manifest["images"] == {"train": IMAGES * CLASSES - 2 * each, "validation": each, "test": each}
    assert (manifest["name"], len(manifest["classes"]), manifest["size"]) == ("mine", CLASSES, 32)
    metrics = json.loads((clone.folder / "runs/mine/evaluate/deps-0/metrics.json").read_text())
    assert 0 <= metrics["pareto/mean_top1"] <= 100
    assert (clone.folder / "reports/index.html").exists()


def test_reports_that_are_not_selected_stay(clone):
    assert clone.call("git", "status", "--porcelain", "reports/experiments/quick") == ""
    assert (clone.folder / OTHER).read_text() == "quick: as it was\n"
    assert (clone.folder / "reports/experiments/mine/results.md").exists()
    assert "experiments/quick/results.md" in (clone.folder / "reports/index.html").read_text()


def test_a_model_is_exported(clone):
    *_, export = commands()
    before = set(clone.folder.glob("*.onnx"))
    printed = clone.call(*export)
    (model,) = set(clone.folder.glob("*.onnx")) - before
    assert model.name in printed
    assert model.stat().st_size > 10_000


def test_too_few_images_are_one_line(clone):
    root = clone.folder / "my images"
    spared = next(path for path in sorted(root.iterdir()) if path.is_dir())
    kept = sorted(spared.iterdir())[3:]
    aside = clone.folder / "aside"
    aside.mkdir()
    for path in kept:
        shutil.move(path, aside)
    try:
        output = clone.call("python", "-m", "pipelines.prepare", "--experiment", "mine", check=False)
    finally:
        for path in aside.iterdir():
            shutil.move(path, spared)
    assert (
        f"class '{spared.name}' has too few images in train (3) to hold out 'validation'; expected 6 or more" in output
    )
    assert "Traceback" not in output
