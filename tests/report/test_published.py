import subprocess

import pandas as pd
import pytest

from dεps.report.published import (
    FOLDER,
    MEDIANS,
    SPACES,
    dataset_of,
    gpu_hours,
    medians_of,
    pareto_points,
    rss_medians,
)
from dεps.spaces.pareto import mean_pareto_accuracy
from tests.conftest import ROOT, load_space

COSTS = pd.read_csv(FOLDER / "training_cost.csv", index_col="method")


@pytest.mark.parametrize(("method", "expected"), [("deps", 75.8), ("ofa", 75.8), ("bignas", 72.5)])
def test_mean_pareto_accuracy_on_imagenet_is_the_papers(method, expected):
    points = pareto_points("imagenet1k")[method]
    mean = mean_pareto_accuracy([point.macs for point in points], [point.top1 for point in points])
    assert round(mean, 1) == expected
    assert mean == pytest.approx(COSTS.mean_pareto_top1[method], abs=0.05)


@pytest.mark.parametrize(
    ("dataset", "gain"), [("cifar10", 1.36), ("cifar100", 2.1), ("imagenet100", 1.345), ("imagenet1k", 1.85)]
)
def test_the_smallest_subnets_gain_over_ofa_is_the_papers(dataset, gain):
    points = pareto_points(dataset)
    (ours, theirs) = points["deps"][0], points["ofa"][0]
    assert ours.arch == theirs.arch == "D2E3K7"
    assert ours.top1 - theirs.top1 == pytest.approx(gain, abs=0.05)


@pytest.mark.parametrize("dataset", SPACES)
def test_published_points_are_the_archs_that_we_report_with_the_same_macs(dataset):
    from dεps.spaces.cost import arch_cost

    space = load_space(SPACES[dataset])
    classes = {"cifar10": 10, "cifar100": 100, "imagenet100": 100, "imagenet1k": 1000}[dataset]
    ours = {name: arch_cost(space, arch, classes).macs for name, arch in space.pareto_archs().items()}
    for points in pareto_points(dataset).values():
        assert [point.arch for point in points] == list(ours)
        for point in points:
            # The papers give one column of MACs for data sets of 10, 100 and 1000 classes.
            assert point.macs == pytest.approx(ours[point.arch], rel=0.01)


def test_training_costs():
    assert gpu_hours() == {"ofa": 1256, "compofa": 782, "bignas": 1778, "deps": 700}
    assert (COSTS.epochs * COSTS.gpu_minutes_per_epoch / 60).to_dict() == pytest.approx(gpu_hours(), rel=0.01)


def test_rss_medians_rise_with_macs():
    medians = rss_medians()
    assert list(medians) == ["ofa", "rss_short", "rss"]
    assert medians["rss"][0] == (4e6, 51.9, "")
    for points in medians.values():
        assert list(points) == sorted(points)


def test_the_published_medians_are_of_six_ranges_of_their_space():
    from dεps.spaces.cost import arch_cost

    space = load_space(MEDIANS[1])
    ends = [arch_cost(space, arch, 100).macs / 1e6 for arch in (space.smallest(), space.largest())]
    assert ends == pytest.approx([4.05, 15.31], abs=0.01)  # 4 to 14 in steps of 2 begin, or are, its six buckets
    assert medians_of({"dataset": {"name": "CIFAR-100"}, "space": {"name": MEDIANS[1]}}) == rss_medians()
    assert medians_of({"dataset": {"name": "cifar100"}, "space": {"name": "mbv3_32"}}) == {}


def test_an_experiment_has_published_results_only_for_the_papers_data_and_space():
    def of(dataset, space):
        return dataset_of({"dataset": {"name": dataset}, "space": {"name": space}})

    assert of("cifar10", "mbv3_32") == "cifar10"
    assert of("ImageNet-1k", "mbv3_224") == "imagenet1k"
    assert of("cifar10", "mbv3_micro") is None
    assert of("fashion_mnist_mini", "mbv3_micro") is None
    assert pareto_points("nothing") == {}


def test_the_files_are_in_git_and_so_in_the_wheel():
    listed = subprocess.run(["git", "check-ignore", *FOLDER.glob("*.csv")], cwd=ROOT, capture_output=True, text=True)
    assert listed.stdout == ""
    assert len(list(FOLDER.glob("*.csv"))) == 3
