import copy
import json
import shutil
from dataclasses import replace

import pytest
import yaml

from dεps.core.errors import UserError
from dεps.core.randomness import python_rng
from dεps.core.schema import structured
from dεps.data.config import DatasetConfig
from dεps.methods import full_model, registry, standalone
from dεps.planning.check import check_params, composed
from dεps.planning.plan import EXACT_STEPS, plan_experiment, plan_experiments, training_set
from dεps.planning.show import duration, print_plan, save_figure, to_json, units
from dεps.sources.prepare import prepare
from dεps.spaces.cost import macs_counter
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from tests.conftest import ROOT, draw_image_folder, made_up_manifest, quick_params, zipped

METHODS = {
    "deps": {"method": "deps", "shrink_start": 0.5, "ramp_epochs": 1.0},
    "ofa": {"method": "ofa", "epochs_ratio": 0.5},
    "compofa": {"method": "compofa", "kernels": [3, 5, 3], "epochs_ratio": 0.5},
    "bignas": {"method": "bignas"},
    "rss": {"method": "rss", "epochs_ratio": 2.0},
}


@pytest.fixture
def params() -> dict:
    """`quick` with all methods on so much data that an epoch has 6 steps of 32, without prepared data."""
    params = quick_params()
    own = params["experiments"]["quick"]
    own["train"] |= {"epochs": 2, "batch_size": 32, "warmup_epochs": 0, "teacher_recalibration": 40, "device": "cpu"}
    own["dataset"] |= {"name": "drawn", "source": "image_folder", "root": "images"}
    own["dataset"] |= {"train_images": 240, "class_count": 4, "holdout": 0.2}
    own["methods"] = METHODS
    return {**params, "methods": list(METHODS), "seeds": [3]}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def by_method(plan):
    return {method.method: method for method in plan.methods}


@pytest.mark.parametrize("sizes", [[28], [16, 20, 28]])  # of several, a batch has one that is drawn
def test_training_cost_is_what_a_real_training_counts(params, micro, data, sizes):
    params["experiments"]["quick"]["space"]["resolution"] = sizes
    micro = replace(micro, resolution=sizes)
    plans = by_method(plan_experiment(params, "quick", steps=0))
    config = TrainConfig(
        epochs=2, batch_size=32, validate_every=99, validate_recalibration=20, teacher_recalibration=40
    )
    setup = config.setup(micro, data)
    assert list(plans) == ["full_model", *METHODS]
    for method, plan in plans.items():
        method = (
            full_model.build(full_model.Options(), setup)
            if method == "full_model"
            else registry.build(METHODS[method], "m", setup)
        )
        trainer = Trainer(micro, data, config, method, seed=3)
        list(trainer.run())
        assert plan.macs == trainer.macs, method
        assert all(phase.error == 0 for phase in plan.phases)
        assert plan.epochs * setup.steps_per_epoch == trainer.step
        assert [phase.name for phase in plan.phases] == [phase.name for phase in trainer.phases]
    assert plans["bignas"].macs > plans["deps"].macs > plans["full_model"].macs


def test_a_plan_says_what_each_phase_trains(params):
    plans = by_method(plan_experiment(params, "quick", steps=0))

    def of(method, key):
        return [getattr(phase, key) for phase in plans[method].phases]

    assert of("deps", "subnets") == [1, 4]
    assert of("deps", "full") == [True, True]
    assert of("deps", "teacher") == [False, False]
    start, *_, end = plans["deps"].phases[1].weights
    assert start[0] == 1.0
    assert 0 < start[1] < 0.3
    assert end == (2.0, 1.0)
    assert plans["deps"].phases[0].weights == ()
    assert of("ofa", "subnets") == [1, 1, 2, 2, 4, 4]
    assert of("ofa", "teacher") == [False, True, True, True, True, True]
    assert of("bignas", "subnets") == [4]
    assert plans["bignas"].phases[0].weights == ((0.0, 1.0), (2.0, 1.0))
    assert of("rss", "full") == [False]


def test_long_phases_are_sampled_within_their_standard_error(params, micro):
    own = params["experiments"]["quick"]
    own["train"]["epochs"] = EXACT_STEPS // 6 + 1
    plan = by_method(plan_experiment({**params, "methods": ["rss"]}, "quick", steps=0))
    macs_of, steps = macs_counter(micro, 4, 1), round(plan["rss"].epochs * 6)
    exact = 32 * 3 * sum(macs_of(micro.sample(python_rng(3, "archs", step))) for step in range(steps))
    (phase,) = plan["rss"].phases
    assert 0 < phase.error < 0.02 * exact
    assert abs(phase.macs - exact) < 4 * phase.error
    assert plan["full_model"].phases[0].error == 0  # every step costs the same


def test_times_are_measured_and_a_branch_saves_the_trunk(params):
    plan = plan_experiment({**params, "methods": ["deps", "ofa", "rss"], "seeds": [0, 1]}, "quick", steps=1)
    plans = by_method(plan)
    assert all(method.seconds > 0 for method in plan.methods)
    full = plans["full_model"].seconds
    assert plans["deps"].phases[0].seconds == pytest.approx(full / 2)
    assert plans["ofa"].phases[0].seconds == full
    assert [method.branch for method in plan.methods] == [0, 1, 2, 0]
    assert plan.seconds == pytest.approx(2 * (sum(method.seconds for method in plan.methods) - 1.5 * full))
    assert "2 seeds" not in plan.device


def test_measuring_diverges_at_no_rate(params):
    """A few images of noise a step at a whole batch's rate would."""
    params["experiments"]["quick"]["train"]["learning_rate"] = 1000.0
    assert plan_experiment({**params, "methods": ["deps"]}, "quick", steps=6).seconds > 0


def test_json_holds_all_numbers(params):
    plan = json.loads(to_json(plan_experiments(params, steps=0)))["experiments"]["quick"]
    assert (plan["train_images"], plan["classes"], plan["seconds"], plan["device"]) == (192, 4, None, None)
    deps = plan["methods"]["deps"]
    assert deps["relative_to_deps"] == 1.0
    assert sum(phase["macs"] for phase in deps["phases"]) == deps["macs"]
    assert [phase["epochs"] for phase in deps["phases"]] == [1.0, 1.0]
    assert deps["published_gpu_hours"] is None


def test_published_cost_is_shown_for_imagenet_only(params):
    imagenet = copy.deepcopy(params)
    own = imagenet["experiments"]["quick"]
    own["space"] = yaml.safe_load((ROOT / "params/space/mbv3_224.yaml").read_text())
    own["dataset"] |= {"name": "imagenet1k", "image_size": 224, "channels": 3}
    plan = plan_experiment({**imagenet, "methods": ["deps", "bignas", "rss"]}, "quick", steps=0)
    methods = plan.to_json()["methods"]
    assert methods["bignas"]["published_gpu_hours"] == 1778
    assert methods["bignas"]["published_relative_to_deps"] == pytest.approx(2.54)
    assert methods["rss"]["published_gpu_hours"] is None
    assert plan_experiment(params, "quick", steps=0).published == {}


MINI = {"source": "fashion_mnist_mini", "name": "fashion_mnist_mini", "image_size": 28, "channels": 1}
FOLDER = {"source": "image_folder", "name": "mine", "image_size": 28, "channels": 1, "root": "images"}


def config_of(dataset: dict) -> DatasetConfig:
    return structured(DatasetConfig, dataset, "dataset")


CIFAR = {"train_images": 50_000, "class_count": 10}


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (MINI, (7000, 10)),
        ({**MINI, "source": "torchvision", "name": "cifar10", "root": "x", **CIFAR}, (45_000, 10)),
        ({**FOLDER, "train_images": 1000, "class_count": 5}, (900, 5)),
        ({**FOLDER, "train_images": 1000, "class_count": 5, "splits": {"test": None}}, (810, 5)),
    ],
)
def test_images_and_classes_are_known_without_prepared_data(dataset, expected):
    assert training_set(config_of(dataset), "quick") == expected


SPLITS = [{}, {"validation": None}, {"test": None}, {"validation": None, "test": None}]


@pytest.mark.parametrize("as_zip", [False, True])
@pytest.mark.parametrize("splits", [*SPLITS, "plain"])
def test_images_that_are_not_prepared_are_counted_as_prepare_divides_them(tmp_path, splits, as_zip):
    root = draw_image_folder(tmp_path / "images", {"train": 17, "validation": 6, "test": 5}, classes=3)
    for number, name in enumerate(("class0/copy.png", "class1/copy.png", "class2/.hidden.png")):
        shutil.copy(root / f"train/class{number}/003.png", root / "train" / name)
    root = root / "train" if splits == "plain" else root
    if as_zip:
        root = zipped(root, tmp_path / "images.zip")
    config = config_of({**FOLDER, "root": str(root), "holdout": 0.3, "splits": {} if splits == "plain" else splits})
    counted = training_set(config, "quick")
    (tmp_path / "out").mkdir()
    prepared = prepare(config, tmp_path / "out")["images"]
    assert counted == (prepared["train"], 3)
    # 17 different images a class, of which 5 and then 4 are held out; a copy stays with its image.
    different = {0: 51, 1: 36, 2: 24}[2 if splits == "plain" else list(splits.values()).count(None)]
    assert prepared["train"] - different in (0, 1, 2)
    if not splits:
        assert prepared == {"train": 53, "validation": 18, "test": 15}


def test_what_prepare_would_refuse_is_not_counted(tmp_path):
    root = draw_image_folder(tmp_path / "images", {"train": 4, "test": 4}, classes=2)
    shutil.copy(root / "train/class0/000.png", root / "test/class0/copy.png")
    with pytest.raises(UserError, match=r"'train/class0/000\.png' and 'test/class0/copy\.png'"):
        training_set(config_of({**FOLDER, "root": str(root)}), "quick")


def test_prepared_data_count_where_they_are_of_this_data_set(tmp_path):
    config = config_of({**FOLDER, "train_images": 1000, "class_count": 5})
    manifest = made_up_manifest(params=config.facts(), images={"train": 77, "validation": 9, "test": 9})
    (tmp_path / "runs/quick/prepare").mkdir(parents=True)
    (tmp_path / "runs/quick/prepare/manifest.json").write_text(json.dumps(manifest))
    assert training_set(config, "quick") == (77, 2)
    assert training_set(replace(config, holdout=0.2), "quick") == (800, 5)
    assert training_set(config_of(MINI), "quick") == (7000, 10)
    # Prepared from another folder than the one that is asked about.
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"experiments": {"quick": {"dataset": {"root": "other"}}}}))
    assert training_set(config, "quick") == (900, 5)
    (tmp_path / "params.yaml").unlink()
    assert training_set(config, "quick") == (77, 2)
    (tmp_path / "runs/quick/prepare/manifest.json").write_text("{")
    assert training_set(config, "quick") == (900, 5)


@pytest.mark.parametrize("key", ["train_images", "class_count"])
def test_unknown_numbers_name_the_key_to_set(key):
    known = {"train_images": 100, "class_count": 4}
    del known[key]
    with pytest.raises(UserError, match=rf"experiments\.mine\.dataset\.{key} is not set and images is not") as caught:
        training_set(config_of({**FOLDER, **known}), "mine")
    assert "\n" not in str(caught.value)


def test_a_batch_larger_than_the_data_is_refused(params):
    params["experiments"]["quick"]["train"]["batch_size"] = 500
    with pytest.raises(UserError, match=r"train\.batch_size is 500; expected at most the 192 images"):
        plan_experiments(params, steps=0)


def test_on_imagenet_deps_is_cheapest_as_published():
    params, _ = composed(["experiment=[imagenet1k]"], ROOT / "params")
    (plan,) = plan_experiments(params, steps=0)
    assert (plan.images, plan.classes) == (round(1_281_167 * 0.99), 1000)
    relative = {method.method: plan.relative(method) for method in plan.methods}
    assert relative["deps"] == 1.0 < relative["compofa"] < min(relative["ofa"], relative["bignas"])
    assert plan.published == {"ofa": 1256, "compofa": 782, "bignas": 1778, "deps": 700}
    assert plan.error < 0.01


def test_the_default_experiment_can_be_planned():
    params = quick_params()
    check_params(params)
    (plan,) = plan_experiments(params, steps=0)
    assert (plan.images, plan.classes) == (7000, 10)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf"])
def test_the_figure_has_a_bar_a_method(params, tmp_path, suffix):
    plans = plan_experiments(params, steps=0)
    save_figure(plans, tmp_path / f"plan{suffix}")
    assert (tmp_path / f"plan{suffix}").stat().st_size > 5000
    assert [bar.method for bar in plans[0].methods] == ["full_model", *METHODS]


def test_units_and_durations_are_short():
    assert [units(value) for value in (1.0e12, 12.34e12, 123.4e9, 999.9e9, 5e3)] == [
        "1.00 T",
        "12.3 T",
        "123 G",
        "1.00 T",
        "5000",
    ]
    assert [duration(value) for value in (3.21, 45, 95, 1800, 40_000, 900_000)] == [
        "3.2 s",
        "45 s",
        "1.6 min",
        "30 min",
        "11 h",
        "10 days",
    ]


def test_the_page_shows_what_is_printed(capsys):
    """But for the time, which is the machine's; of the command that the page names, not of a smaller experiment."""
    command = next(line for line in (ROOT / "docs/plan.md").read_text().splitlines() if line.startswith("$ deps plan "))
    params, _ = composed([word for word in command.split()[3:] if "=" in word])
    print_plan(plan_experiments(params, 0))
    printed = {cells[0]: cells for cells in _rows(capsys.readouterr().out)}
    shown = {cells[0]: cells for cells in _rows((ROOT / "docs/plan.md").read_text()) if len(cells) == 7}
    assert list(shown) == ["full model", "DεpS", "OFA", "BigNAS (cosine)", "RSS"]
    for method, cells in shown.items():
        assert (cells[1], *cells[3:6]) == (printed[method][1], *printed[method][3:6])


def _rows(text: str) -> list[list[str]]:
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│ ")]
    return [row for row in rows if row[0]]


def test_archs_alone_and_fine_tuning_are_counted_as_their_trainings_count(params, micro, data, capsys):
    own = params["experiments"]["quick"]
    own["export"] |= {"budgets": [{"name": "small", "max_macs": 0.1}, {"name": "fast", "max_ms": 1.0}]}
    params |= {"standalone": ["smallest", "largest"], "finetuned": ["small", "fast"], "methods": ["deps"]}
    own["finetune"] = {"epochs": 3, "teacher": "full_model", "learning_rate_ratio": 0.1}
    plan = plan_experiment(params, "quick", steps=0)
    config = TrainConfig(epochs=2, batch_size=32, validate_every=99, validate_recalibration=20)
    method = standalone.build(standalone.Options("smallest"), config.setup(micro, data))
    trainer = Trainer(micro, data, config, method, 3, {"alone": micro.smallest()})
    for _ in trainer.run():
        pass
    assert plan.alone["smallest"] == trainer.macs
    # 3 epochs of 6 steps of 32 images: forward of the full model, forward and backward of what the budget allows.
    macs_of = macs_counter(micro, 4, 1)
    least, most = macs_of(micro.smallest()), macs_of(micro.largest())
    assert plan.finetuned["fast"] == 3 * 6 * 32 * (most + 3 * most)
    assert plan.finetuned["small"] == 3 * 6 * 32 * (most + 3 * (least + int(0.1 * (most - least))))
    found = plan.to_json()
    assert found["standalone_macs"] == plan.alone
    assert found["finetuned_macs_at_most"] == plan.finetuned
    print_plan([plan])
    shown = " ".join(capsys.readouterr().out.split())
    words = (
        f"fine-tuning small (3 epochs with the full model as teacher) at most {units(plan.finetuned['small'])} after"
    )
    assert words in shown
