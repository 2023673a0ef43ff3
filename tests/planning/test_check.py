import shutil
import subprocess
from dataclasses import replace

import pytest
import yaml

from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.core.hashing import file_sha256
from dεps.core.schema import structured
from dεps.methods import registry
from dεps.methods.base import Setup
from dεps.planning.check import check_params, compose_params
from dεps.spaces.space import SearchSpace
from dεps.training.config import FullModelConfig, TrainConfig
from tests.conftest import ROOT, default_text, load_space, quick_params
from tests.tools.latency import latency_table

PARAMS = ROOT / "params"


def compose(tmp_path, *overrides):
    return compose_params(overrides, PARAMS, tmp_path / "params.yaml")


def test_the_committed_file_is_what_the_groups_compose():
    if subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "params.yaml"], cwd=ROOT, check=False).returncode == 1:
        pytest.skip("params.yaml was changed here by 'deps params'")
    assert default_text() == (ROOT / "params.yaml").read_text()


def test_overrides_reach_the_file(tmp_path):
    compose(tmp_path, "experiments.quick.methods.deps.shrink_start=0.25", "seeds=[3]")
    written = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert written["experiments"]["quick"]["methods"]["deps"]["shrink_start"] == 0.25
    assert written["seeds"] == [3]
    assert written["names"] == ["quick"]


def test_an_image_folder_needs_three_keys(tmp_path):
    keys = ["name=cifar", "root=c.zip", "image_size=28", "channels=1"]
    overrides = [f"experiments.quick.dataset.{key}" for key in keys]
    params = compose(tmp_path, "dataset@experiments.quick.dataset=image_folder", *overrides)
    assert params["experiments"]["quick"]["dataset"]["source"] == "image_folder"


def test_an_experiment_can_say_only_what_differs(tmp_path):
    page = (ROOT / "docs/own_images.md").read_text()
    start = page.index("# @package experiments.mine")
    groups = tmp_path / "params"
    shutil.copytree(PARAMS, groups)
    (groups / "experiment/mine.yaml").write_text(page[start : page.index("```", start)])
    params = compose_params(["experiment=[quick,mine]"], groups, tmp_path / "params.yaml")
    quick, mine = params["experiments"]["quick"], params["experiments"]["mine"]
    assert params["names"] == ["quick", "mine"]
    assert mine["dataset"]["source"] == "image_folder"
    assert mine["space"]["stages"] == quick["space"]["stages"]
    assert mine["train"] == {**quick["train"], "epochs": 30}


VARIANTS = dict.fromkeys(("deps_early", "deps_late", "deps_no_ramp", "deps_labels", "deps_scratch"), 8)
PUBLISHED = {
    "cifar10": {"deps": 200, "rss_short": 200, "bignas": 200, "rss": 656, "ofa": 673, "compofa": 367},
    "cifar100": {"deps": 200, "rss_short": 200, "bignas": 200, "rss": 656, "ofa": 673, "compofa": 367},
    "imagenet100": {"deps": 180, "rss_short": 180, "bignas": 180, "rss": 590, "ofa": 605, "compofa": 330},
    "imagenet1k": {"deps": 270, "rss_short": 180, "bignas": 400, "rss": 590, "ofa": 605, "compofa": 330},
    "cifar10_cpu": {"deps": 10, "rss_short": 10, "bignas": 10, "rss": 33, "ofa": 33, "compofa": 18},
    "imagenet100_cpu": {"deps": 20, "rss_short": 20, "bignas": 20, "rss": 66, "ofa": 68, "compofa": 37},
    "cifar10_small": {"deps": 8, "rss_short": 5, "bignas": 12, "rss": 17, "ofa": 18, "compofa": 13, **VARIANTS},
    "imagenet100_small": {"deps": 8, "rss_short": 5, "bignas": 12, "rss": 17, "ofa": 18, "compofa": 13, **VARIANTS},
}


def preset(tmp_path, name):
    root = [f"experiments.{name}.dataset.root=some.zip"] if name.endswith(("_cpu", "_small")) else []
    return compose(tmp_path, f"experiment=[{name}]", *root)["experiments"][name]


def test_every_preset_is_tested():
    assert {path.stem for path in (PARAMS / "experiment").glob("*.yaml")} == {"quick", *PUBLISHED}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_preset_trains_each_method_as_long_as_published(tmp_path, name):
    chosen = preset(tmp_path, name)
    config = structured(TrainConfig, chosen["train"], "train")
    space = structured(SearchSpace, chosen["space"], "space")
    setup = Setup(space, config.epochs, 1, config.learning_rate, config.warmup_epochs, 0.1, config.dropout)
    built = {method: registry.build(params, method, setup) for method, params in chosen["methods"].items()}
    assert {name: method.phases()[-1].end for name, method in built.items()} == PUBLISHED[name]
    # Five epochs before the named ones, as the public code does.
    starts = {"cifar10": 95, "cifar100": 95, "imagenet100": 85, "imagenet1k": 145}
    assert built["deps"].trunk_steps == starts.get(name, config.epochs // 2)
    assert built["ofa"].trunk_steps == (0 if name == "imagenet1k" else config.epochs)
    keep = structured(FullModelConfig, chosen["full_model"], "full_model").epochs(config.epochs)
    assert built["deps"].trunk_steps in keep  # a state to branch from exactly


def test_published_rates(tmp_path):
    cifar, large = preset(tmp_path, "cifar10"), preset(tmp_path, "imagenet1k")
    assert (cifar["train"]["learning_rate"], cifar["train"]["batch_size"]) == (0.1, 64)
    assert cifar["train"]["learning_rate"] * cifar["methods"]["rss"]["learning_rate_ratio"] == pytest.approx(0.01)
    assert cifar["space"]["name"] == "mbv3_32"
    assert large["train"]["learning_rate"] / 32.5 == pytest.approx(0.08)  # CompOFA's rates for a batch of 2048
    assert large["train"]["learning_rate"] / 10.8 == pytest.approx(0.24, abs=1e-3)
    assert large["train"]["augment"]["auto_augment"] == "imagenet"
    assert large["dataset"]["splits"] == {"train": "train", "validation": None, "test": "val"}
    assert (large["dataset"]["train_images"], large["dataset"]["class_count"]) == (1281167, 1000)


def test_imagenet100_has_a_list_of_its_classes(tmp_path):
    classes = (ROOT / preset(tmp_path, "imagenet100")["dataset"]["classes"]).read_text().split()
    assert len(set(classes)) == 100
    assert all(name.startswith("n") and len(name) == 9 for name in classes)


def test_a_cpu_preset_asks_for_its_images(tmp_path):
    with pytest.raises(UserError, match=r"experiments\.cifar10_cpu\.dataset\.root is not set; expected the path of"):
        compose(tmp_path, "experiment=[cifar10_cpu]")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("experiments.quick.methods.deps.shrink_start=1.5", r"experiments\.quick\.methods\.deps\.shrink_start is 1\.5"),
        ("experiments.quick.methods.rss.method=nope", r"methods\.rss\.method is 'nope'; allowed: .*deps"),
        ("method@experiments.quick.methods.deps=nope", r"'method/nope' is not in params/; allowed: .*deps"),
        ("experiment=[nope]", r"'experiment/nope' is not in params/; allowed: cifar10, .*quick"),
        ("experiment=[]", r"no experiment is selected"),
        ("methods=[]", r"methods is \[\]; expected a non-empty list"),
        ("methods=[nope]", r"no 'experiments\.quick\.methods\.nope'; there is: deps, ofa"),
        (
            "standalone=[]",
            r"standalone is \[\]; expected a non-empty list of words, such as \[smallest\]",
        ),
        ("standalone=smallest", r"standalone is 'smallest'; expected a non-empty list of words, such as \[smallest\]"),
        ("standalone=[tiny]", r"standalone, in experiment quick, is 'tiny'; allowed: smallest, largest, D1E1K3"),
        ("standalone=[smallest,D1E1K3]", r"standalone holds smallest and D1E1K3, the same arch in experiment quick"),
        (
            "+experiments.quick.methods.standalone-smallest={method: rss}",
            r"methods\.standalone-smallest: such names are taken by archs trained alone; choose another",
        ),
        ("finetuned=[tiny]", r"finetuned, in experiment quick, is 'tiny'; allowed: small, medium, large"),
        ("finetuned=[small,small]", r"finetuned is \['small', 'small'\]; expected different values$"),
        ("experiments.quick.finetune.epochs=0", r"experiments\.quick\.finetune\.epochs is 0; expected 1 to 100,000$"),
        (
            "experiments.quick.export.budgets=[{name: a-finetuned, max_macs: 1.0}]",
            r"budgets\[0\]\.name is 'a-finetuned'; expected another end than -finetuned, which fine-tuned models have",
        ),
        (
            "experiments.quick.export.budgets=[{name: phone, max_ms: 0.1}]",
            r"budgets: phone has max_ms; expected experiments\.quick\.search\.latency too, a latency table$",
        ),
        (
            "experiments.quick.search.latency=phone.json",
            r"experiments\.quick\.search\.latency: phone\.json cannot be read \(.*\); expected a latency table",
        ),
        ("checkpoint.seconds=-1", r"checkpoint\.seconds is -1; expected 0 to 1,000,000,000$"),
        ("checkpoint.hours=1", r"checkpoint\.hours is no known key; allowed: epochs, seconds"),
        ("launch=''", r"launch is ''; expected a command"),
        ("seeds=[1,1]", r"seeds is \[1, 1\]; expected different values$"),
        ("seeds=[-1]", r"seeds\[0\] is -1; expected 0 to 4,294,967,295$"),
        ("methods=deps", r"methods is 'deps'; expected a non-empty list of words, such as \[deps, rss\]$"),
        ("methods=[deps,deps]", r"methods is \['deps', 'deps'\]; expected different values$"),
        ("names=['x; touch y']", r"names holds 'x; touch y'; allowed, by experiments: quick"),
        ("+experiments.a b.train={}", r"override .* is not understood"),
        ("seeds=2", r"seeds is 2; expected a non-empty list of whole numbers, such as \[0, 1\]$"),
        ("names=[other]", r"names holds 'other'; allowed, by experiments: quick"),
        (
            "experiments.quick.space.stages.0.expand=[6,3]",
            r"space\.stages\[0\]\.expand is \[6, 3\]; expected ascending values$",
        ),
        (
            "experiments.quick.space.resolution=[32]",
            r"space\.resolution is \[32\]; its largest must be dataset\.image_size, 28",
        ),
        (
            "experiments.quick.train.augment.auto_augment=imagenet",
            r"quick\.train\.augment\.auto_augment is 'imagenet', which needs dataset\.channels 3",
        ),
        (
            "experiments.quick.train.augment.color_jitter=[0.4,0.4,0.4,0.1]",
            r"quick\.train\.augment\.color_jitter .* need dataset\.channels 3",
        ),
        ("experiments.quick.train.augment.crop_padding=30", r"augment\.crop_padding is 30; expected less than .* 28"),
        (
            "experiments.quick.train.augment.mixup=-1",
            r"quick\.train\.augment\.mixup is -1; expected 0 to 1,000$",
        ),
        ("+experiments.quick.train.lr=1", r"experiments\.quick\.train\.lr is no known key; allowed: epochs"),
        ("experiments.quick.dataset.size=32", r"dataset\.size is no known key; it is called image_size now$"),
        ("+experiments.quick.dataset.size=32", r"dataset\.size is no known key; it is called image_size now$"),
        ("experiments.quick.train.lr=1", r"experiments\.quick\.train\.lr is no known key; allowed: epochs, batch_size"),
        ("experiments.cifar10.train.epochs=1", r"cifar10 is not selected; add experiment=\[cifar10\]; selected: quick"),
        ("experiments.tiny.train.epochs=1", r"experiments\.tiny is no known key; allowed: quick"),
        ("experiments.quick.train.epochs=ten", r"train\.epochs is 'ten'; expected a whole number, 1 to 100,000$"),
        ("experiments.quick.dataset.class_count=0", r"dataset\.class_count is 0; expected 1 or more, or null"),
        (
            "experiments.quick.dataset.source=web",
            r"dataset\.source is 'web'; allowed: fashion_mnist_mini, image_folder",
        ),
        ("+experiments.quick.extra=1", r"experiments\.quick\.extra is no known key; allowed: dataset"),
        ("+extra=1", r"extra is no known key"),
        ("not an override", r"override 'not an override' is not understood"),
        ("experiments.quick.train.epochs=${nope}", r"Interpolation key 'nope' not found"),
    ],
)
def test_wrong_overrides_write_nothing(tmp_path, override, message):
    with pytest.raises(UserError, match=message) as caught:
        compose(tmp_path, override)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_portable_bits_are_those_of_torchs_operators(tmp_path):
    assert compose(tmp_path, "portable=true")["portable"] is True
    with pytest.raises(
        UserError, match=r"quick\.train\.operators is native, built for .*; expected torch, or portable=false$"
    ):
        compose(tmp_path, "portable=true", "experiments.quick.train.operators=native")
    with pytest.raises(UserError, match=r"^portable is 'avx2'; expected true or false$"):
        compose(tmp_path, "portable=avx2")


def test_checking_reads_every_section():
    params = quick_params()
    check_params(params)
    del params["experiments"]["quick"]["search"]
    with pytest.raises(UserError, match=r"^experiments\.quick\.search is missing; it has no default$"):
        check_params(params)


def named(*names: str, methods: tuple[str, ...] = ("deps",)) -> dict:
    """Params of experiments of these names, with these methods."""
    params = quick_params()
    quick = params["experiments"]["quick"]
    quick["methods"] = dict.fromkeys(methods, quick["methods"]["deps"])
    return params | {"experiments": dict.fromkeys(names, quick), "names": list(names), "methods": list(methods)}


@pytest.mark.parametrize(
    "name", [".", "..", "a/b", "/tmp", "x; touch y", "$(y)", "a b", "-x", ".x", "a.b", "a@b", "a'", "0o17", ""]
)
def test_names_that_lead_elsewhere_or_run_are_refused(name):
    with pytest.raises(UserError, match=r"expected a (name of up to|word)"):
        check_params(named(name))
    with pytest.raises(UserError, match=r"expected a (name of up to|word)"):
        check_params(named("quick", methods=(name,)))


def test_names_of_letters_digits_dashes_are_allowed():
    check_params(named("quick", "ε-2_b", "1", methods=("deps", "my-deps_2")))


def test_two_instances_of_one_name_are_refused():
    """DVC calls both train@a-b-c-0, and would leave one out without a word."""
    with pytest.raises(UserError, match=r"names and methods make 'a-b-c' in two ways; rename an experiment"):
        check_params(named("a", "a-b", methods=("b-c", "c")))


def test_a_latency_table_is_known_by_its_content_and_of_the_space(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = latency_table(load_space("resnet_28"))
    write_json(tmp_path / "phone.json", vars(table))
    budget = "experiments.quick.export.budgets=[{name: phone, max_ms: 0.1}]"
    params = compose(tmp_path, "experiments.quick.search.latency=phone.json", budget)
    search = params["experiments"]["quick"]["search"]
    assert search["latency_sha256"] == file_sha256(tmp_path / "phone.json")
    assert yaml.safe_load((tmp_path / "params.yaml").read_text())["experiments"]["quick"]["search"] == search
    write_json(tmp_path / "phone.json", vars(replace(table, space="mbv3_32")))
    with pytest.raises(UserError, match=r"phone\.json is another file than latency_sha256 names"):
        check_params(params)
    with pytest.raises(UserError, match=r"phone\.json has space mbv3_32; expected resnet_28"):
        compose(tmp_path, "experiments.quick.search.latency=phone.json")
    write_json(tmp_path / "phone.json", vars(replace(table, layers=dict([*table.layers.items()][1:]))))
    with pytest.raises(UserError, match=r"the latency table of resnet_28 has no layer '.*'; measure it again"):
        compose(tmp_path, "experiments.quick.search.latency=phone.json")
    search["latency_sha256"] = None
    with pytest.raises(UserError, match="latency_sha256 is null, where latency is a file; 'deps params' fills it in"):
        check_params(params)


def test_a_file_of_before_a_key_that_dvc_names_is_refused_at_once():
    params = quick_params()
    del params["experiments"]["quick"]["search"]["latency_sha256"]
    with pytest.raises(UserError, match=r"quick\.search\.latency_sha256 is missing; 'deps params' writes it$"):
        check_params(params)
