import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

from dεps.core.errors import UserError
from dεps.core.files import read_json, write_json
from dεps.report import claims, published
from dεps.report.claims import ALONE, DIP, MEDIANS, Claim, Row, rows, short_table, table
from dεps.report.publishing.results import PublishedResults
from dεps.report.results import Results, all_results
from dεps.report.statistics import Sample
from dεps.report.tables import caption
from dεps.spaces.pareto import mean_pareto_accuracy
from tests.conftest import ROOT
from tests.report import made_up

ALL = claims.claims()
FACTS = {
    "order": 1,
    "sentence": "RSS is better",
    "paper": "p",
    "place": "q",
    "metric": "pareto/smallest_top1",
    "method": "rss",
    "against": "deps",
    "above": 0.0,
    "experiments": ["quick"],
}


def claim(**changes) -> Claim:
    return Claim(**FACTS | changes)


def costs(name: str) -> dict[str, float]:
    """OFA : BigNAS : DεpS = 10 : 6 : 4."""
    assert name == "imagenet1k"
    return {"ofa": 10.0, "bignas": 6.0, "deps": 4.0, "compofa": 5.0, "rss": 5.2, "rss_short": 1.6}


# the files


def test_the_claims_of_the_papers_are_there_in_the_order_of_tables():
    assert list(ALL)[:2] == ["deps_smallest", "deps_largest"]
    assert {"deps_early", "deps_late", "deps_no_ramp_dip", "deps_no_ramp_front", "deps_scratch", "deps_labels"} <= {
        *ALL
    }
    assert {"deps_cost", "rss_population", "rss_short_population", "ofa_alone", "compofa_accuracy"} <= {*ALL}
    assert [one.order for one in ALL.values()] == sorted(one.order for one in ALL.values())


@pytest.mark.parametrize("name", ALL)
def test_each_claim_names_methods_and_presets_that_there_are(name):
    groups = {"method": ALL[name].methods, "experiment": (*ALL[name].experiments, *filter(None, [ALL[name].plan]))}
    for group, names in groups.items():
        assert all((ROOT / "params" / group / f"{one}.yaml").exists() for one in names)


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if one.published and not one.plan])
def test_published_differences_are_those_of_the_published_points(name):
    """Read off plots: ±0.05 each, and what the text of a paper says is rounded."""
    one, measure = ALL[name], {"smallest": 0, "largest": -1}
    also = {"deps_early": "deps_start_25", "deps_late": "deps_start_75", "deps_no_ramp": "deps_no_epsilon"}
    for dataset, value in one.published.items():
        if one.metric == DIP or dataset == "paper":
            continue
        if one.metric == MEDIANS:
            medians = [published.rss_medians()[method] for method in one.methods]
            ours, theirs = (sum(point.top1 for point in points) / len(points) for points in medians)
        else:
            found = [published.pareto_points(dataset)[also.get(method, method)] for method in one.methods]
            size = one.metric.removeprefix("pareto/").removesuffix("_top1")
            ours, theirs = (
                points[measure[size]].top1
                if size in measure
                else mean_pareto_accuracy([point.macs for point in points], [point.top1 for point in points])
                for points in found
            )
        assert value == pytest.approx(ours - theirs, abs=0.011), dataset
        assert value in one.claimed, f"the paper's own number of {dataset} is outside of what {name} claims"


def test_published_ratios_lie_in_what_is_claimed():
    for one in ALL.values():
        if one.plan:
            assert all(value in one.claimed for value in one.published.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "pareto/best"}, r"metric is 'pareto/best'; allowed: pareto/mean_top1, "),
        ({"above": None}, "above is null, and so is below; expected one of them, or both"),
        ({"above": 1.0, "below": 0.5}, r"above is 1; expected less than below, 0.5"),
        ({"against": None}, "against is null; expected the method to compare with"),
        ({"metric": ALONE}, "against is deps; expected no method, of archs alone"),
        ({"experiments": []}, "experiments and plan are both given, or neither"),
        ({"experiments": [], "plan": "quick"}, "plan is quick; expected null unless it is about a ratio of cost/"),
        ({"quantity": "sum"}, "quantity is 'sum'; allowed: difference, ratio"),
        ({"sentence": ""}, "sentence is ''"),
        ({"order": "first"}, "order is 'first'; expected a whole number"),
        ({"method": None}, "method is null; expected text"),
        ({"published": {"cifar10": "much"}}, "published.cifar10 is 'much'; expected a number"),
        ({"sure": True}, "sure is no known key; allowed: "),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line(tmp_path, changes, message):
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(FACTS | changes))
    with pytest.raises(UserError, match=rf"^claims/mine\.{message}"):
        claims.claims(tmp_path)


def test_a_file_that_is_no_yaml_is_named(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: b: c")
    with pytest.raises(UserError, match=r"mine\.yaml is no valid YAML"):
        claims.claims(tmp_path)


# what is measured


def set_top1(method: str, seed: int, **values: float) -> None:
    path = Path(f"runs/quick/evaluate/{method}-{seed}/metrics.json")
    write_json(path, read_json(path) | {f"pareto/{name}_top1": value for name, value in values.items()})


def again():
    return all_results(yaml.safe_load(Path("params.yaml").read_text()))[0]


def test_a_metric_is_compared_seed_by_seed(results):
    set_top1("rss", 0, smallest=76.0)
    set_top1("rss", 1, smallest=78.0)  # DεpS has 75 of both
    assert claim().measured(again()).values == (1.0, 3.0)
    ratio = claim(metric="cost/train_tmacs", quantity="ratio")
    write_json(Path("runs/quick/train/rss-1/summary.json"), {"cost/train_tmacs": 0.2})
    assert ratio.measured(again()).values == (1.0, 0.5)
    assert claim(against="ofa").measured(again()) is None


def test_medians_are_compared_in_the_buckets_that_both_have(results):
    def write(method, seed, buckets):
        frame = pd.DataFrame([(bucket, top1) for bucket, top1s in buckets.items() for top1 in top1s])
        frame = frame.set_axis(["bucket", "test_top1"], axis=1).assign(arch="a", macs=1e6, params=9, val_top1=70.0)
        frame.to_csv(f"runs/quick/evaluate/{method}-{seed}/population.csv", index=False)

    write("deps", 0, {0: [50.0, 60.0, 61.0], 1: [70.0], 2: [99.0]})
    write("rss", 0, {0: [62.0], 1: [71.0, 73.0]})  # by 2 and by 2
    write("deps", 1, {0: [50.0], 1: [60.0]})
    write("rss", 1, {1: [65.0]})
    assert claim(metric=MEDIANS).measured(again()).values == (2.0, 5.0)


def test_the_dip_is_that_of_the_epoch_in_which_shrinking_begins(results):
    """Made-up records: DεpS shrinks from the third epoch on, and gains 5 points an epoch."""
    for seed, after in ((0, 61.0), (1, 63.0)):
        folder = Path(f"runs/quick/train/deps_no_ramp-{seed}")
        folder.mkdir()
        lines = [
            json.loads(line) for line in Path(f"runs/quick/train/deps-{seed}/history.jsonl").read_text().split("\n")[:4]
        ]
        lines[2]["val/largest_top1"] = after  # from 65 and 66
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    own = replace(again(), methods=["deps", "deps_no_ramp"])
    found = claim(metric=DIP, method="deps_no_ramp").measured(own)
    assert found.values == (-9.0, -8.0)  # -4 and -3 against +5
    assert claim(metric=DIP, method="rss").measured(again()) is None  # it never shrinks


def test_subnets_are_compared_with_the_same_archs_alone(results):
    archs = results.pareto.arch.unique()[:2]
    frame = [(name, arch, seed, 70.0) for seed in (0, 1) for name, arch in zip("ab", archs, strict=True)]
    table_ = pd.DataFrame(frame, columns=["standalone", "arch", "seed", "test_top1"]).assign(macs=1, params=1)
    for seed in (0, 1):
        for name in "ab":
            write_json(Path(f"runs/quick/standalone/{name}-{seed}/summary.json"), {"cost/train_tmacs": 0.1})
    table_.assign(name=table_.standalone).to_csv("runs/quick/reference/standalone.csv", index=False)
    one = claim(metric=ALONE, against=None, method="deps")  # has 72 and 73, a point more of seed 1
    # and its largest, of 77 and 78, beside the full model, of 83.5 and 84.5
    assert one.measured(again()).values == pytest.approx(((2 + 3 - 6.5) / 3, (3 + 4 - 6.5) / 3))
    assert one.detail(again()) == "of 3 archs"
    assert one.command().split(" && ")[0].endswith("standalone=[smallest,largest]")


# what is said of it


def row(values, **changes) -> Row:
    return Row(claim(**changes), "quick", Sample.of(values), None, 1.25, "deps params")


SIX = (0.8, 1.1, 1.4, 1.5, 2.0, 2.2)


@pytest.mark.parametrize(
    ("values", "changes", "verdict"),
    [
        (SIX, {}, "supported (6 seeds)"),
        ([-value for value in SIX], {}, "contradicted (6 seeds)"),
        (SIX, {"above": None, "below": 0.0}, "contradicted (6 seeds)"),
        (SIX, {"below": 3.0}, "supported (6 seeds)"),
        (SIX[:1], {}, "undecided (1 seed; no fewer than 6 can decide)"),
        (SIX[:5], {}, "undecided (5 seeds; about 6 would decide)"),
        ([*SIX[:5], -2.2], {}, "undecided (6 seeds; about 35 would decide)"),
    ],
)
def test_verdicts_on_made_up_seeds(values, changes, verdict):
    assert row(values, **changes).verdict == verdict


def test_a_planned_ratio_is_decided_without_seeds():
    found = {one.claim.sentence: one for one in rows([], costs)}
    by_name = {name: found[one.sentence] for name, one in ALL.items() if one.plan}
    assert by_name["deps_cost"].measured == "2.50 ×"
    assert by_name["deps_cost"].verdict == "supported"
    assert by_name["deps_cost"].command == "deps plan experiment=[imagenet1k] --steps 0"
    assert by_name["rss_short_cost"].measured == "0.16 ×"
    assert by_name["deps_cost_bignas"].verdict == "supported"
    for bignas in (4.0, 8.6):  # as dear as DεpS, and 2.15 times: neither is 1.5 within a quarter
        other = {**costs("imagenet1k"), "bignas": bignas}
        assert (
            claims._of_plan(ALL["deps_cost_bignas"], "imagenet1k", lambda name, own=other: own).verdict
            == "contradicted"
        )
    dear = rows([], lambda name: costs(name) | {"deps": 6.0})
    assert {one.verdict for one in dear if one.claim is ALL["deps_cost"]} == {"contradicted"}
    assert not any(one.claim.plan for one in rows([]))


def test_claims_that_nothing_here_is_about_name_the_command_that_tests_them():
    found = {one.claim.sentence: one for one in rows([], costs)}
    own = found[ALL["deps_early"].sentence]
    assert (own.verdict, own.measured, own.experiment, own.published) == (
        "not tested here",
        "–",
        None,
        "−0.38 (imagenet1k)",
    )
    first = ALL["deps_early"].experiments[0]
    assert own.command.startswith(f"deps params experiment=[{first}] methods=[deps_early,deps] seeds=[0,1,2,3,4,5] ")
    assert own.command.endswith(f"experiments.{first}.dataset.root=IMAGES && dvc repro")


@dataclass(frozen=True)
class Published(Results):
    """Results as published ones are, but for where they are from."""

    origin = "from elsewhere"
    commit = ""

    def commit_to_add(self, methods):
        return self.commit


@pytest.mark.parametrize(
    ("values", "here", "published"),
    [
        ((1.0, 1.1), "0,1,2,3,4,5", "2,3,4,5"),
        ((1.0, -1.0), "0,1,2,3,4,5,6,7", "2,3,4,5,6,7"),  # more than 1,000 would decide: six more first
    ],
)
def test_the_command_of_what_is_open_trains_the_seeds_that_are_lacking(results, values, here, published, monkeypatch):
    own, sample = again(), Sample.of(values)
    assert f"seeds=[{here}]" in claim().command(own, sample)
    assert not claim().command(own, sample).endswith("deps publish quick")
    there = Published(own.experiment, own.methods, own.seeds, own.params)
    assert f"seeds=[{published}]" in claim().command(there, sample)
    assert claim().command(there, sample).startswith("deps params ")
    assert claim().command(there, sample).endswith("&& dvc repro && deps publish quick")
    monkeypatch.setattr(Published, "commit", "0123456")
    assert claim().command(there, sample).startswith("in a clone at 0123456: deps params ")


def test_the_command_of_what_is_decided_makes_the_same_seeds_again(results):
    own = again()
    there = Published(own.experiment, own.methods, own.seeds, own.params)
    command = claim().command(there, Sample.of(SIX))
    assert "seeds=[0,1]" in command  # made up: the seeds that there are
    assert command.endswith("&& dvc repro")


def test_commands_are_printed_of_claims_that_most_seeds_leave_open(capsys):
    decided, open_ = Sample.of(SIX), Sample.of(SIX[:2])
    found = [
        Row(ALL["deps_smallest"], "a", decided, None, None, "test a"),
        Row(ALL["deps_smallest"], "b", open_, None, None, "test b"),
        Row(ALL["deps_largest"], "b", open_, None, None, "test c"),
    ]
    claims.print_claims(found)
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("to test")] == ["to test: test c"]


def test_the_table_has_a_row_a_claim_and_experiment(results):
    for path in [*Path("runs/quick").glob("*/rss-*")]:
        path.rename(path.with_name(path.name.replace("rss", "ofa")))
    own = replace(again(), methods=["deps", "ofa"])
    frame = table(rows([own, own], costs))
    assert len(frame) == len(ALL) + 3  # twice: smallest, largest, and largest beside the full model alone
    smallest = frame[frame.claim == ALL["deps_smallest"].sentence]
    assert smallest.measured.tolist() == ["+0.00 [+0.00, +0.00]"] * 2
    assert smallest["test images"].tolist() == ["± 1.37"] * 2  # sqrt(2 × 75 × 25 / 2000)
    assert smallest.verdict.tolist() == ["undecided (2 seeds; more than 1,000 would decide)"] * 2
    first = ALL["deps_smallest"].experiments[0]  # quick shows that everything works, not which method is better
    assert smallest["tested by"].iloc[0].startswith(f"deps params experiment=[{first}] methods=[deps,ofa] seeds=[0,1,")
    assert list(short_table(rows([own], costs)).columns) == [
        "claim",
        "in the paper",
        "experiment",
        "measured",
        "verdict",
    ]


def test_the_choice_of_test_images_is_that_of_the_claimed_metric(results):
    """Of 2,000 images at 60 and 75 %: sqrt(0.24 / 2000 + 0.1875 / 2000) is 1.46 points; of the mean, 1.26."""
    for seed in (0, 1):
        set_top1("rss", seed, smallest=60.0)
    own = claims._of_results(claim(), again())
    assert own.images == pytest.approx(1.46, abs=0.01)
    assert claims._of_results(claim(metric=MEDIANS), again()).images == own.images


def test_the_page_and_the_experiments_folder_show_them(report_folder):
    page = (report_folder / "reports/index.html").read_text()
    section = page.split('<section id="claims">')[1].split("</section>")[0]
    assert "smallest subnet is more accurate than OFA" in section
    assert section.count("not tested here</td>") >= 5
    assert "deps plan experiment=[imagenet1k] --steps 0" in section
    assert '<a href="#claims">' in page


def test_a_report_of_methods_that_no_claim_is_about_has_no_table_of_claims(results):
    made_up.write_report()
    assert not Path("reports/experiments/quick/claims.md").exists()
    for path in [*Path("runs/quick").glob("*/rss-*")]:
        path.rename(path.with_name(path.name.replace("rss", "ofa")))
    params = yaml.safe_load(Path("params.yaml").read_text()) | {"methods": ["deps", "ofa"]}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    made_up.write_report()
    text = Path("reports/experiments/quick/claims.md").read_text()
    assert "| DεpS's smallest subnet is more accurate than OFA's | +1.36 (cifar10)" in text
    assert "not tested here" not in text


def test_numbers_as_json(results):
    found = json.loads(claims.to_json([row(SIX), *rows([], costs)][1:]))["claims"]
    assert {one["claim"] for one in found} == set(ALL)
    by_name = {one["claim"]: one for one in found}
    assert by_name["deps_cost"] | {"command": ""} == {
        "claim": "deps_cost",
        "sentence": ALL["deps_cost"].sentence,
        "published": {"imagenet1k": 2.5},
        "experiment": "imagenet1k",
        "by_seed": None,
        "measured": 2.5,
        "interval": None,
        "interval_kind": None,
        "std": None,
        "p": None,
        "of": None,
        "test_images_error": None,
        "verdict": "supported",
        "seeds_needed": None,
        "command": "",
    }
    sure = Row(ALL["deps_smallest"], "quick", Sample.of(SIX), None, 1.0, "")
    (own,) = json.loads(claims.to_json([sure]))["claims"]
    assert (own["verdict"], own["p"], own["interval_kind"]) == ("supported", 2 / 64, "BCa")
    assert own["by_seed"] == list(SIX)


def test_what_is_published_of_an_experiment_is_not_said_twice():
    here, other = (Results(name, ["deps"], [0], {}) for name in ("quick", "cifar10"))
    there = PublishedResults("quick", ["deps"], [0, 1], {})
    found = [
        Row(ALL[claim], title, Sample.of(SIX), None, None, "")
        for claim, title in (
            ("deps_smallest", there.title),
            ("deps_smallest", here.title),
            ("deps_smallest", other.title),
            ("deps_largest", here.title),
        )
    ]
    assert claims.without_repeats(found, [there]) == [found[0], *found[2:]]
    assert claims.without_repeats(found, []) == found
    found[0] = replace(found[0], sample=Sample.of(SIX[:3]))  # fewer than here
    assert claims.without_repeats(found, [there]) == found


def test_in_short_a_claim_counts_once_and_what_experiments_decide_otherwise_is_undecided():
    better, worse = Sample.of(SIX), Sample.of([-value for value in SIX])
    found = [
        Row(ALL[claim], title, sample, None, None, "")
        for claim, title, sample in (
            ("deps_smallest", "a", better),
            ("deps_smallest", "b", Sample.of([1.0])),  # one seed decides nothing
            ("deps_bignas", "a", better),
            ("deps_bignas", "b", worse),
            ("rss_population", "a", worse),
            ("deps_early", None, None),
        )
    ]
    expected = "4 claims of the papers: 1 supported, 1 contradicted, 1 undecided, 1 not tested here"
    assert claims.in_short(found) == expected
    (cost,) = (row for row in rows([], costs) if row.claim is ALL["deps_cost"])
    assert claims.in_short([*found, cost]) == f"{expected}; 1 claim of costs, by plan: 1 supported"


def test_a_table_goes_between_two_lines_of_a_file(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{claims.BEGIN}\nold\n{claims.END}\nafter\n")
    one = Row(ALL["deps_early"], "quick", Sample.of([1.0]), None, None, "")
    claims.write_between(path, [*rows([], costs), one, replace(one, experiment="cifar10", sample=Sample.of(SIX))])
    assert "| cifar10 |" in path.read_text()
    assert "| quick |" not in path.read_text()  # which has fewer seeds
    claims.write_between(path, rows([], costs))
    text = path.read_text()
    assert text.startswith(f"before\n{claims.BEGIN}\nDifferences")
    assert text.endswith(f" |\n{claims.END}\nafter\n")
    assert "old" not in text
    path.write_text(f"{claims.SHORT}\nold\n{claims.END_SHORT}\n{text}")
    claims.write_between(path, rows([], costs))
    assert path.read_text() == f"{claims.SHORT}\n{claims.in_short(rows([], costs))}.\n{claims.END_SHORT}\n{text}"
    path.write_text("nothing")
    with pytest.raises(UserError, match=r"README\.md has not the lines <!-- claims"):
        claims.write_between(path, rows([], costs))
    with pytest.raises(UserError, match=r"absent\.md cannot be read"):
        claims.write_between(tmp_path / "absent.md", [])


def test_what_began_from_a_checkpoint_tests_no_claim_and_its_table_says_so(results):
    """The claims are about training from the beginning, at a cost that is counted."""
    for path in [*Path("runs/quick").glob("*/rss-*")]:
        path.rename(path.with_name(path.name.replace("rss", "ofa")))
    own = replace(again(), methods=["deps", "ofa"])
    train = {**own.params["train"], "init": "somewhere/ofa.pth", "init_sha256": "0123456789abcdef" * 4}
    begun = replace(own, params={**own.params, "train": train})
    assert len(claims.tested(own)) == 3
    assert claims.tested(begun) == []
    said = "trainings begin with the weights of ofa.pth (SHA-256 0123456789abcdef), whose cost is not counted"
    assert said in caption(begun)
    assert "trainings begin" not in caption(own)
    assert "somewhere" not in caption(begun)
