import copy

from dεps.identity import flatten, run_identity
from tests.conftest import default_params

PARAMS = default_params()
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
    assert "/somewhere" not in str(run.to_json())
    assert run.tags["space"] == "mbv3_micro"
    assert run.name == "deps-0"


def test_an_arch_trained_alone_is_a_method_of_its_own():
    run = identity(method="standalone-D1E2K5")
    assert run.name == "standalone-D1E2K5-0"
    assert (run.params["method.strategy"], run.params["method.arch"]) == ("standalone", "D1E2K5")
    assert run.digest != identity(method="standalone-smallest").digest
    assert run.digest == identity(lambda e: e["methods"]["rss"].update(epsilon=1), "standalone-D1E2K5").digest


def test_long_values_are_cut():
    assert len(flatten({"a": ["x" * 9000]})["a"]) == 6000
