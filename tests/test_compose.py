import shutil

import pytest
import yaml

from dεps.compose import check_params, compose_params
from dεps.errors import UserError
from tests.conftest import ROOT

PARAMS = ROOT / "params"


def compose(tmp_path, *overrides):
    return compose_params(overrides, PARAMS, tmp_path / "params.yaml")


def test_the_committed_file_is_what_the_groups_compose(tmp_path):
    compose(tmp_path)
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text()


def test_overrides_reach_the_file(tmp_path):
    compose(tmp_path, "experiments.quick.methods.deps.shrink_start=0.25", "seeds=[3]")
    written = yaml.safe_load((tmp_path / "params.yaml").read_text())
    assert written["experiments"]["quick"]["methods"]["deps"]["shrink_start"] == 0.25
    assert written["seeds"] == [3]
    assert written["names"] == ["quick"]


def test_an_image_folder_needs_three_keys(tmp_path):
    keys = ["name=cifar", "root=c.zip", "size=28", "channels=1"]
    overrides = [f"experiments.quick.dataset.{key}" for key in keys]
    params = compose(tmp_path, "dataset@experiments.quick.dataset=image_folder", *overrides)
    assert params["experiments"]["quick"]["dataset"]["source"] == "image_folder"


def test_an_experiment_can_say_only_what_differs(tmp_path):
    readme = (ROOT / "README.md").read_text()
    start = readme.index("# @package experiments.mine")
    groups = tmp_path / "params"
    shutil.copytree(PARAMS, groups)
    (groups / "experiment/mine.yaml").write_text(readme[start : readme.index("```", start)])
    params = compose_params(["experiment=[quick,mine]"], groups, tmp_path / "params.yaml")
    quick, mine = params["experiments"]["quick"], params["experiments"]["mine"]
    assert params["names"] == ["quick", "mine"]
    assert mine["dataset"]["source"] == "image_folder"
    assert mine["train"] == {**quick["train"], "epochs": 30}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("experiments.quick.methods.deps.shrink_start=1.5", r"experiments\.quick\.methods\.deps\.shrink_start is 1\.5"),
        ("experiments.quick.methods.rss.strategy=nope", r"methods\.rss\.strategy is 'nope'; allowed: .*deps"),
        ("method@experiments.quick.methods=[]", r"methods\.deps has no 'strategy'"),
        ("method@experiments.quick.methods=[nope]", r"'method/nope' is not in params/; allowed: .*deps"),
        ("experiment=[nope]", r"'experiment/nope' is not in params/; allowed: quick"),
        ("experiment=[]", r"no experiment is selected"),
        ("methods=[]", r"methods is \[\]; expected a non-empty list"),
        ("methods=[nope]", r"no 'experiments\.quick\.methods\.nope'; there is: deps, rss"),
        (
            "standalone=[]",
            r"standalone is \[\]; expected a non-empty list of archs to train alone, such as \[smallest\]",
        ),
        ("standalone=smallest", r"standalone is 'smallest'; expected a non-empty list of archs"),
        ("standalone=[tiny]", r"standalone, in experiment quick, is 'tiny'; allowed: smallest, largest, D1E2K5"),
        ("standalone=[smallest,D1E2K5]", r"standalone holds smallest and D1E2K5, the same arch in experiment quick"),
        (
            "+experiments.quick.methods.standalone-smallest={strategy: rss}",
            r"methods\.standalone-smallest: such names are taken by archs trained alone; choose another",
        ),
        ("seeds=[1,1]", r"seeds is \[1, 1\]; expected a non-empty list of different whole numbers"),
        ("seeds=[-1]", r"seeds is \[-1\]"),
        ("seeds=2", r"seeds is 2"),
        ("names=[other]", r"Key not found: 'experiments\.other\.methods'"),
        ("experiments.quick.space.stages.0.expand=[6,3]", r"space\.stages\[0\]\.expand is \[6\.0, 3\.0\]"),
        (
            "experiments.quick.space.resolution=[32]",
            r"space\.resolution is \[32\]; its largest must be dataset\.size, 28",
        ),
        ("+experiments.quick.train.lr=1", r"experiments\.quick\.train\.lr is no known key; allowed: epochs"),
        ("experiments.quick.train.lr=1", r"Key 'lr' is not in struct"),
        ("experiments.quick.train.epochs=ten", r"train\.epochs: Value 'ten'"),
        ("experiments.quick.dataset.source=web", r"dataset\.source is 'web'; allowed: fashion_mnist_mini, torchvision"),
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


def test_checking_reads_every_section():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    check_params(params)
    del params["experiments"]["quick"]["search"]
    with pytest.raises(UserError, match=r"no 'experiments\.quick\.search'"):
        check_params(params)
