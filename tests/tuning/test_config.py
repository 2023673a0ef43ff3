import re

import pytest

from dεps.core.errors import UserError
from dεps.planning.check import compose_params
from tests.conftest import ROOT

WHERE = r"experiments\.quick\.tuning\."


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("search.ramp_epochs={low: 2, high: 1}", r"search\.ramp_epochs\.low is 2\.0; expected below high, 1\.0$"),
        ("search.shrink_start=[]", r"search\.shrink_start is \[\]; expected a non-empty list of numbers, or null$"),
        ("search.ramp_shape=[]", r"search\.ramp_shape is \[\]; expected a non-empty list of some of: linear, cosine"),
        ("search.ramp_shape=[zigzag]", r"search\.ramp_shape\[0\] is 'zigzag'; allowed: linear, cosine"),
        ("search.shrink_start=[0.9]", r"search\.shrink_start holds 0\.9, epoch 11 of 12; .* epochs 3, 6, 9"),
        ("points=[{shrink_start: 1.0}]", r"points\[0\]\.shrink_start holds 1\.0"),
        ("points=[{ramp: 1}]", r"points\[0\]\.ramp is no known key"),
        ("points=[{}]", r"points\[0\] is {}"),
        ("search.constant_epsilon=null", r"search\.constant_epsilon is null"),
        (
            "search.constant_epsilon.low=0",
            r"search\.constant_epsilon\.log is true, which needs low above 0 and no step$",
        ),
        (
            "search.temperature={low: -1, high: 1, log: false}",
            r"search\.temperature is -1\.0; expected 0\.0001 to 10,000$",
        ),
        ("search.epsilon={low: 0, high: 2}", r"search\.epsilon is 2\.0; expected 0 to 1"),
        ("objectives=[cost]", r"objectives is \['cost'\]; allowed"),
        ("pruner=asha", r"pruner is 'asha', which needs objectives \[accuracy\]"),
        ("pruner=median", r"pruner is 'median'; allowed: none, asha, hyperband"),
        ("sampler=cmaes", r"sampler is 'cmaes'; allowed: tpe, gp, auto, nsga2, random$"),
        (
            "objectives=[accuracy] experiments.quick.tuning.sampler=nsga2",
            r"sampler is 'nsga2', which needs objectives \[accuracy, cost\]; or set it to gp or tpe$",
        ),
        (
            "objectives=[accuracy] experiments.quick.tuning.pruner=asha experiments.quick.tuning.sampler=gp",
            r"sampler is 'gp', which learns nothing of pruned trials; expected tpe, auto or random, or pruner none$",
        ),
        ("cost_limit=0", r"cost_limit is 0; expected above 0, or null$"),
        ("cost_unit=hours", r"cost_unit is 'hours'; allowed: full_model, tmacs"),
        ("confirm_seeds=[1, 1]", r"confirm_seeds is \[1, 1\]; expected different values$"),
        ("confirm_seeds=[-1]", r"confirm_seeds\[0\] is -1; expected 0 to 4,294,967,295$"),
        ("base={method: rss}", r"base is {'method': 'rss'}; expected a mapping with method deps$"),
        ("seed=1", r"seed is 1; expected 0, the first of seeds"),
    ],
)
def test_wrong_values_write_nothing(tmp_path, override, message):
    with pytest.raises(UserError, match=WHERE + message) as caught:
        overrides = re.split(r" (?=experiments)", f"experiments.quick.tuning.{override}")
        compose_params(overrides, ROOT / "params", tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_search_follows_the_trunk_and_the_base_its_method(tmp_path):
    overrides = ["experiment=[cifar10]", "experiments.cifar10.full_model.keep=[0.4,0.5]"]
    overrides += ["experiments.cifar10.methods.deps.temperature=2.0"]
    tuning = compose_params(overrides, ROOT / "params", tmp_path / "p.yaml")["experiments"]["cifar10"]["tuning"]
    assert tuning["search"]["shrink_start"] == [0.4, 0.5]
    assert tuning["base"]["temperature"] == 2.0
    assert tuning["trials"] == 0


def test_a_file_of_overrides_comes_before_others(tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text("experiments: {quick: {methods: {deps: {shrink_start: 0.25, ramp_shape: step, distill: false}}}}")
    own = [f"+from={path}", "experiments.quick.methods.deps.ramp_shape=cosine", "seeds=[2]"]
    params = compose_params(own, ROOT / "params", tmp_path / "params.yaml")
    method = params["experiments"]["quick"]["methods"]["deps"]
    assert (method["shrink_start"], method["ramp_shape"], method["distill"]) == (0.25, "cosine", False)
    assert params["experiments"]["quick"]["tuning"]["seed"] == 2


def test_a_missing_file_of_overrides_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.yaml cannot be read"):
        compose_params(["+from=nowhere.yaml"], ROOT / "params", tmp_path / "params.yaml")


def test_a_start_without_a_stored_state_is_named(tmp_path):
    message = r"base\.shrink_start holds 0\.5, epoch 6 of 12; the trunk keeps states to shrink from after epochs 3 "
    with pytest.raises(UserError, match=WHERE + message):
        compose_params(["experiments.quick.full_model.keep=[0.25]"], ROOT / "params", tmp_path / "params.yaml")
