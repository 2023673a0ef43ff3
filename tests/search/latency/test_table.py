import json
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.nets.supernet import Supernet
from dεps.search.latency.layers import Layers
from dεps.search.latency.table import LatencyTable, given_table, latency_of_archs
from dεps.search.nsga2 import SearchConfig
from tests.tools.latency import latency_table


@pytest.fixture(scope="module")
def table(micro) -> LatencyTable:
    return latency_table(micro)


def test_latency_of_genomes_is_offset_and_sum_of_layers(micro, table):
    archs = [micro.smallest(), micro.largest(), *(micro.sample(Random(seed)) for seed in range(5))]
    latency_of, layers = latency_of_archs(table, micro, 10, 1), Layers(Supernet(micro, 10, 1))
    found = latency_of(np.array([micro.to_genome(arch) for arch in archs]))
    expected = [0.5 + 2.0 * sum(table.layers[str(kind)] for kind in layers.kinds(arch)) for arch in archs]
    assert found.tolist() == pytest.approx(expected, rel=1e-12)
    assert len(set(found.tolist())) > 2


def test_a_table_that_lacks_a_layer_is_refused_before_the_search(micro, table):
    short = replace(table, layers=dict(list(table.layers.items())[:-1]))
    with pytest.raises(UserError, match=f"the latency table of {micro.name} has no layer '.*'; measure it again"):
        latency_of_archs(short, micro, 10, 1)


def test_the_table_of_a_search_is_known_by_its_content(micro, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert given_table(SearchConfig(), micro, 10, 1) is None
    write_json(tmp_path / "phone.json", vars(table))
    config = SearchConfig(latency="phone.json")
    assert given_table(config, micro, 10, 1) == given_table(config, micro, None, 1) == table
    with pytest.raises(UserError, match=r"phone.json has classes 10; expected 4, or run 'deps latency' again"):
        given_table(config, micro, 4, 1)
    with pytest.raises(UserError, match=r"other.json cannot be read .*; expected a latency table, as 'deps latency'"):
        given_table(SearchConfig(latency="other.json"), micro, 10, 1)
    other = SearchConfig(latency="phone.json", latency_sha256="0" * 64)
    with pytest.raises(UserError, match=r"^search.latency: phone.json is another file than latency_sha256 names"):
        given_table(other, micro, 10, 1)
    with pytest.raises(UserError, match="latency_sha256 is set; expected latency too, the file that has it"):
        SearchConfig(latency_sha256="0" * 64)
    (tmp_path / "phone.json").write_text(json.dumps({"space": micro.name}))
    with pytest.raises(UserError, match=r"phone.json"):
        given_table(config, micro, 10, 1)


def test_a_space_of_the_same_name_is_another_one(micro, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "phone.json", vars(table))
    other = replace(micro, head=replace(micro.head, expand=2 * micro.head.expand))
    with pytest.raises(UserError, match=f"phone.json is of another space that is called {micro.name}"):
        given_table(SearchConfig(latency="phone.json"), other, 10, 1)


def test_a_table_that_predicts_no_time_is_refused(micro, table):
    latency_of = latency_of_archs(replace(table, offset_ms=-100.0), micro, 10, 1)
    with pytest.raises(UserError, match=r"predicts -.* ms for .*; measure it again"):
        latency_of(np.array([micro.to_genome(micro.smallest())]))
