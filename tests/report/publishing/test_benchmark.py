"""Questions to published rows, against made-up accuracies."""

import re
from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import dεps
from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.core.params import read_params
from dεps.report.publishing import benchmark
from dεps.report.publishing.publish import publish
from dεps.spaces.space import Arch
from tests.conftest import ROOT, load_space
from tests.tools.published import write_lock, write_project


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """Two seeds of deps and rss: populations of 12 archs, the same for both methods of a seed."""
    folder, space = tmp_path_factory.mktemp("published"), load_space("mbv3_micro")
    write_project(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed in (0, 1):
            rng = Random(seed)
            archs = list(dict.fromkeys(str(space.sample(rng)) for _ in range(12)))
            for method, gain in (("deps", 0.0), ("rss", 1.0)):
                table = pd.DataFrame({"bucket": 0, "arch": archs, "macs": np.arange(1, 13) * 500_000, "params": 9})
                table = table.assign(val_top1=70 + gain + np.arange(12) / 4, test_top1=60 + gain + seed)
                table.to_csv(f"runs/quick/evaluate/{method}-{seed}/population.csv", index=False)
        write_lock(folder)
        list(publish(read_params(), "quick", [], lambda names: set()))
    return folder


@pytest.fixture
def bench(project, monkeypatch):
    monkeypatch.chdir(project)
    return dεps.published("quick")


def test_rows_are_chosen_by_all_that_is_given(bench):
    assert bench.methods == ["full_model", "standalone-smallest", "deps", "rss"]
    assert bench.seeds == [0, 1]
    assert repr(bench) == f"<quick: 4 methods × 2 seeds, {2 * (2 + 2 * (7 + 12 + 3))} rows>"
    rows = bench.rows(method="rss", kind="population", seed=1, max_macs="2M")
    assert rows.macs.tolist() == [500_000, 1_000_000, 1_500_000, 2_000_000]
    assert rows.val_top1.tolist() == [71.0, 71.25, 71.5, 71.75]
    assert rows.test_top1.tolist() == [62.0] * 4
    assert bench.rows(method=["deps", "rss"], kind=["pareto", "least"], max_macs=1e6).macs.tolist() == (
        [900_000] * 4 + [1_000_000] * 4
    )
    assert len(bench.rows(arch="smallest", kind="pareto")) == 4
    assert set(bench.rows(arch=bench.space.largest()).kind) == {"full_model", "pareto", "front"}
    for wrong, text in (
        ({"method": "ofa"}, "method is 'ofa'; allowed: full_model, standalone-smallest, deps, rss"),
        ({"kind": "x"}, "kind is 'x'; allowed: full_model, standalone, pareto, "),
        ({"seed": 7}, "seed is 7; allowed: 0, 1"),
        ({"max_macs": "many"}, "max_macs is 'many'; expected a number of MACs"),
        ({"arch": "none"}, "arch is 'none'"),
    ):
        with pytest.raises(UserError, match=re.escape(text)):
            bench.rows(**wrong)


def test_the_spread_is_over_seeds_and_an_arch_counts_once_a_seed(bench):
    table = bench.over_seeds(bench.rows(kind="pareto"))
    assert len(table) == 12
    first = table.iloc[0]
    assert (first.method, first["name"], first.macs, first.seeds) == ("deps", "D1E2K5", 1_000_000, 2)
    # 70 + number of the method + seed + millions of MACs
    assert (first.test_top1, first.test_top1_std) == (72.5, pytest.approx(0.5**0.5))
    assert first.val_top1_std == 0.0
    # The full model alone, a Pareto point, and found by search: its accuracy is that of the Pareto point.
    whole = bench.over_seeds(bench.rows(arch="largest")).set_index("method")
    assert whole.test_top1.to_dict() == {"full_model": 84.5, "deps": 77.5, "rss": 78.5}
    assert whole.val_top1.dropna().to_dict() == {"deps": 70.0, "rss": 70.0}
    assert whole.seeds.tolist() == [2, 2, 2]
    one = bench.over_seeds(bench.rows(kind="population", seed=0))
    assert one.test_top1_std.isna().all()
    predicted_only = bench.rows(kind="front")
    assert len(bench.over_seeds(predicted_only)) == 2 * 2  # the third was not measured


def test_numbers_over_seeds_are_all_of_the_same_seeds(bench):
    """An arch that search chose in a seed that has not drawn it at random has no accuracy on test there."""
    rows = bench.rows(method="deps", kind="pareto").query("name == 'D1E2K5'")
    found = rows.assign(val_top1=[70.0, 80.0], test_top1=[72.0, float("nan")])
    (one,) = bench.over_seeds(found).itertuples()
    assert (one.val_top1, one.test_top1, one.seeds) == (70.0, 72.0, 1)
    (neither,) = bench.over_seeds(found.assign(test_top1=float("nan"))).itertuples()
    assert (neither.val_top1, neither.seeds) == (75.0, 2)


def test_the_nearest_arch_is_the_one_with_the_fewest_other_choices(bench):
    rows = bench.rows(method="deps", seed=0, kind="population")
    own = Arch.parse(rows.arch[3])
    found = bench.nearest(own, 3, method="deps", seed=0, kind="population")
    assert len(found) == 3
    assert (found.arch[0], found.distance[0]) == (str(own), 0)
    features = bench.encoded(rows.arch)
    expected = sorted(int(value) for value in abs(features - features[3]).sum(1))
    assert found.distance.tolist() == expected[:3]
    space = bench.space
    # The largest differs from its neighbour by a kernel in one block.
    other = space.named("k5e4-k5e4-k5e4_k5e4-k5e4-k5e4_k5e4-k5e4-k3e4_r28")
    assert bench.nearest(other, kind="front").distance.tolist() == [2] * 4
    assert bench.nearest(other, kind="front", max_macs=1).empty


def test_samples_are_different_archs_under_the_limit_and_repeat(bench):
    drawn = [bench.sample(Random(3), 4, kind="population", max_macs="3M") for _ in range(2)]
    assert drawn[0].equals(drawn[1])
    assert drawn[0].arch.nunique() == 4
    assert drawn[0].macs.max() <= 3e6
    assert set(drawn[0].method) == {"deps", "rss"}
    assert bench.sample(Random(0), 99, seed=0, kind="population").arch.nunique() == 12


def test_results_elsewhere_and_those_that_came_with_the_package(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dεps.published("quick", project / "reports/published").seeds == [0, 1]
    monkeypatch.setattr(benchmark, "template", lambda: project)
    assert dεps.published("quick").seeds == [0, 1]
    with pytest.raises(UserError, match=r"^'nothing' is not published in reports/published; there is: quick$"):
        dεps.published("nothing")


def table(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["table", "quick", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_prints_means_and_all_rows(bench):
    printed = table("--kind", "pareto", "--method", "rss", "--max-macs", "2M")
    assert "│ RSS    │ D1E2K5 │  1 M │          9 │   70.00 ± 0.00 │ 73.50 ± 0.71 │     2 │" in printed
    assert printed.count("│ RSS ") == 2
    assert "quick: m, mbv3_micro, top-1" in printed
    assert "; 9 rows more: --limit, or --csv" in table("--kind", "pareto", "--limit", "3")
    rows = table("--arch", "largest", "--nearest", "2", "--kind", "population", "--csv").splitlines()
    assert rows[0].startswith("method,seed,kind,name,bucket,arch,macs,params,val_top1,test_top1,predicted")
    assert rows[0].endswith(",distance")
    assert table("--max-macs", "1k") == "no row fits\n"
    result = CliRunner().invoke(main, ["table", "quick", "--nearest", "2"])
    assert result.output == "error: --nearest says how many archs near --arch; name that too\n"


def test_the_page_is_a_program(bench, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/benchmark.md").read_text(), re.MULTILINE | re.DOTALL)
    exec("\n".join(blocks), {})
    assert capsys.readouterr().out.startswith("<quick: 4 methods × 2 seeds, 92 rows> [")
