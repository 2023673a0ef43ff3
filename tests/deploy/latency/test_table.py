import json
import random
from dataclasses import asdict, replace

import numpy as np
import pytest

from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.deploy.latency import table as module
from dεps.deploy.latency.table import _fit, measure_table
from dεps.deploy.latency.timing import Conditions
from dεps.nets.supernet import Supernet
from dεps.search.latency.layers import Layers
from dεps.search.latency.table import LatencyTable, load_table


@pytest.fixture(scope="module")
def net(micro) -> Supernet:
    return Supernet(micro, 4, channels=1)


@pytest.fixture
def invented(net, monkeypatch) -> LatencyTable:
    """A table of a machine on which a layer takes as long as its name, and a call 50 ms more."""

    def times(runners, conditions, label):
        return np.array([run() for run in runners])

    monkeypatch.setattr(module, "latencies", times)
    monkeypatch.setattr(module, "runner", lambda layer, shape, conditions: lambda: 3.0 + sum(shape) / 100)
    layers = Layers(net)

    def whole(net, archs, conditions):
        return np.array(
            [50 + 0.5 * sum(sum(kind.inputs) / 100 - 0.01 for kind in layers.kinds(arch)) for arch in archs]
        )

    monkeypatch.setattr(module, "measure_archs", whole)
    return measure_table(net, Conditions())


def test_an_arch_is_a_call_and_the_sum_of_its_layers(invented, net):
    assert (invented.offset_ms, invented.scale) == pytest.approx((50, 0.5), abs=1e-3)
    assert invented.median_error_percent == 0.0
    assert invented.unseen_archs == 50
    layers, arch = Layers(net), net.space.sample(random.Random(5))
    expected = 50 + 0.5 * sum(sum(kind.inputs) / 100 - 0.01 for kind in layers.kinds(arch))
    assert invented.predict(layers, arch) == pytest.approx(expected, abs=1e-3)


def test_a_table_comes_back_from_its_file(invented, net, tmp_path, micro):
    path = tmp_path / "table.json"
    write_json(path, vars(invented))
    assert load_table(path, net.space, 4, 1) == invented
    with pytest.raises(UserError, match=r"table.json has classes 4; expected 5"):
        load_table(path, micro, 5, 1)
    path.write_text("[]")
    with pytest.raises(UserError, match=r"table.json holds no mapping; run 'deps latency' again"):
        load_table(path, net.space, 4, 1)
    path.write_text(json.dumps({**asdict(invented), "layers": {}}))
    with pytest.raises(UserError, match=r"table\.json\.layers is {}; expected a non-empty mapping$"):
        load_table(path, net.space, 4, 1)
    path.write_text(json.dumps({**asdict(invented), "layers": {"stem": -1.0}}))
    with pytest.raises(UserError, match=r"table\.json\.layers\.stem is -1\.0; expected 0 to 1,000,000,000$"):
        load_table(path, net.space, 4, 1)


def test_a_table_without_a_kind_says_so(invented, net):
    short = replace(invented, layers={"stem": 1.0})
    with pytest.raises(UserError, match="has no layer 'stem of 1×28×28'; measure it again"):
        short.predict(Layers(net), net.space.smallest())


def test_the_fit_is_of_relative_errors():
    sums = np.array([1.0, 2.0, 10.0])
    assert _fit(sums, 3 + 2 * sums) == pytest.approx((3, 2))
    assert _fit(sums, np.array([2.0, 2.0, 1.0])) == (2.0, 0.0)


def test_large_archs_are_measured_in_portions(net, monkeypatch):
    monkeypatch.setattr(module, "MEMORY", 16 * 127_000 * 3)
    archs = [net.space.sample(random.Random(seed)) for seed in range(7)]
    portions = []

    def times(shapes, conditions, label):
        portions.append(len(shapes))
        return np.array([rows for _, rows, _ in shapes])

    monkeypatch.setattr(module, "latencies", times)
    monkeypatch.setattr(module, "runner", lambda subnet, shape, conditions: shape)
    assert module.measure_archs(net, archs, Conditions()).tolist() == [arch.resolution for arch in archs]
    assert (sum(portions), max(portions)) == (7, 3)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_unseen_archs_are_predicted_within_a_tenth(net, engine):
    found = [measure_table(net, Conditions(engine)).median_error_percent for _ in range(2)]
    assert min(found) < 10  # another process may have disturbed one of them
