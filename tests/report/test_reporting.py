from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_hex

from dεps.core.errors import UserError
from dεps.core.files import write_json
from dεps.core.params import read_params
from dεps.deploy.export.config import macs_text
from dεps.methods.registry import looks
from dεps.report.registry import registered
from dεps.report.results import all_results, results_of
from dεps.report.style import colours, label
from dεps.report.tables import caption, latex, markdown, other_archs, study_table, summary
from pipelines.reference import mean_and_std
from tests.conftest import ROOT, load_space
from tests.report.made_up import SEARCHED, write_report
from tests.tuning.tables import write_study

EVERY = [figure.name for figure in registered() if not figure.needs_study]


def test_the_table_shows_mean_and_spread_over_seeds(results):
    table = summary(results)
    assert table.method.tolist() == [
        "DεpS",
        "RSS",
        "full model alone",
        "smallest trained alone",
        "logistic regression",
    ]
    assert table["mean Pareto top-1 (%)"].tolist() == ["80.50 ± 0.71", "80.50 ± 0.71", "–", "–", "–"]
    assert table["largest (%)"].tolist()[2:] == ["84.00 ± 0.50", "–", "81.25"]
    assert table["smallest (%)"].tolist()[2:] == ["–", "78.50 ± 0.71", "–"]
    assert table["training (TMACs)"].tolist()[2:] == ["0.400", "0.100", "–"]
    assert "2 seeds" in caption(results)


def test_another_arch_trained_alone_has_a_column_of_its_own(results):
    path = Path("runs/quick/reference/standalone.csv")
    pd.read_csv(path).assign(name="D2").to_csv(path, index=False)
    table = summary(results).set_index("method")
    assert table.loc["D2 trained alone", "this arch (%)"] == "78.50 ± 0.71"
    assert table.loc["D2 trained alone", "smallest (%)"] == "–"


def offer_other_archs(method: str, macs: tuple[float, ...] = (0.5e6, 1e6, 1.5e6)) -> None:
    """Let a method's Pareto points be CompOFA's of the space: three, of so many MACs."""
    archs = load_space("mbv3_micro").couple([3, 5, 3]).pareto_archs()
    table = pd.DataFrame({"name": archs.keys(), "pareto": True, "arch": map(str, archs.values())})
    for seed in (0, 1):
        own = table.assign(macs=macs, params=9, val_top1=70.0, test_top1=71.0)
        own.to_csv(f"runs/quick/evaluate/{method}-{seed}/pareto.csv", index=False)


def test_methods_whose_points_are_other_archs_say_so_in_table_and_captions(results, tmp_path):
    write_study(tmp_path / "study", Path("runs/quick/tune"), trials=10)
    (whole,) = all_results(read_params())
    assert whole.other_archs == {}
    assert (other_archs(whole), "†" in caption(whole)) == ("", False)
    assert not any("†" in name for name in summary(whole).method)
    offer_other_archs("rss")
    (part,) = all_results(read_params())
    assert list(part.other_archs) == ["rss"]
    assert summary(part).method.tolist()[:3] == ["DεpS", "RSS †", "full model alone"]
    ends = [macs_text(macs) for macs in (part.space_points.macs.min(), part.space_points.macs.max())]
    text = f"Pareto points of RSS are other archs, of 500 k to 1.5 M MACs instead of {ends[0]} to {ends[1]}"
    text += ": a mean over them is another quantity"
    assert caption(part).endswith(f"; † {text}")
    assert r"RSS \dag{} &" in latex(summary(part), caption(part))
    write_report()
    page = Path("reports/index.html").read_text()
    assert page.count(f" {text}.</figcaption>") == 4  # points, differences, curves, the study's front
    assert '<span class="swatch" style="background:#CC79A7"></span>RSS †</th>' in page


def test_other_archs_between_the_same_ends_are_not_told_apart_by_them(results):
    (whole,) = all_results(read_params())
    least, most = whole.space_points.macs.min(), whole.space_points.macs.max()
    offer_other_archs("rss", (least, least + 1, most))
    (part,) = all_results(read_params())
    range_ = f"{macs_text(least)} to {macs_text(most)}"
    assert (
        other_archs(part)
        == f"Pareto points of RSS are other archs, of {range_} MACs too: a mean over them is another quantity"
    )


def test_other_methods_archs_are_compared_not_their_names(results):
    for method in ("deps", "rss"):
        offer_other_archs(method)
    (part,) = all_results(read_params())
    assert other_archs(part).startswith("Pareto points of DεpS, RSS are other archs, of 500 k to 1.5 M MACs instead")
    assert summary(part).method.tolist()[:3] == ["DεpS †", "RSS †", "full model alone"]


def test_the_table_of_the_study_has_a_column_a_trial_and_one_for_a_default_that_is_the_best(study):
    both = study_table(study)
    assert list(both.columns) == ["", "default", "best of the study"]
    assert both.set_index("").loc["shrink_start", "default"] == "0.5"
    study.__dict__["trials"] = study.trials.assign(ramp_shape="constant")  # which has no length
    assert study_table(study).set_index("").loc["ramp_epochs"].tolist() == ["–", "–"]
    trials = study.trials.assign(best=study.trials.point == "base")
    study.__dict__["trials"] = trials
    assert list(study_table(study).columns) == ["", "default, the best of the study"]


def test_tables_in_markdown_and_latex(results):
    table = summary(results)
    lines = markdown(table, "Title").splitlines()
    assert lines[2].startswith("| method | mean Pareto top-1 (%) |")
    assert len(lines) == 4 + len(table)
    tex = latex(table, "50 % of it")
    assert r"\caption{50 \% of it}" in tex
    assert r"80.50 $\pm$ 0.71" in tex
    assert tex.count(r"\\") == 1 + len(table)


def test_standard_deviations_of_references_are_a_samples():
    assert mean_and_std("x", [1.0, 2.0, 6.0]) == {"reference/x_top1": 3.0, "reference/x_top1_std": 2.6458}
    assert mean_and_std("x", [4.0])["reference/x_top1_std"] == 0.0


def test_the_stage_writes_each_figure_in_three_formats(results):
    write_report()
    written = {path.suffix for path in Path("reports").rglob("*") if path.is_file()}
    assert written == {".svg", ".pdf", ".png", ".md", ".tex", ".csv", ".html", ".json"}
    folder = Path("reports/experiments/quick")
    assert {path.stem for path in folder.glob("*.pdf")} == set(EVERY)
    assert all(path.read_bytes().startswith(b"%PDF") for path in folder.glob("*.pdf"))


def test_reports_of_experiments_that_are_not_selected_stay_and_are_linked_only(results):
    write_report()
    quick = {path: path.read_bytes() for path in Path("reports/experiments/quick").iterdir()}
    Path("runs/quick").rename("runs/mine")
    params = yaml.safe_load(Path("params.yaml").read_text())
    params |= {"names": ["mine"], "experiments": {"mine": params["experiments"]["quick"]}}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    write_report()
    assert {path: path.read_bytes() for path in quick} == quick
    page = Path("reports/index.html").read_text()
    assert '<a href="experiments/quick/results.md">quick</a>' in page
    assert ('id="mine"' in page, 'id="quick"' in page, 'id="others"' in page) == (True, False, True)


def test_each_stage_of_the_report_owns_the_folder_of_its_experiment_only():
    """DVC deletes a stage's outputs before it runs: a folder of all experiments would be emptied by any selection.

    All that is published is drawn at once, whatever is selected.
    """
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outs = [next(iter(out)) for name in ("report", "page") for out in stages[name]["outs"]]
    assert outs == ["reports/experiments/${item.experiment}", "reports/figures", "reports/index.html"]
    for name, stage in stages.items():
        for out in (out if isinstance(out, str) else next(iter(out)) for out in stage.get("outs", [])):
            own = out in ("reports/figures", "reports/index.html", "reports/tracked.json", "reports/checked")
            assert own or "${item.experiment}" in out, f"{name} owns {out}"


def test_missing_results_are_named(results):
    path = Path("runs/quick/evaluate/rss-1/pareto.csv")
    path.unlink()
    with pytest.raises(UserError, match=r"rss-1/pareto\.csv cannot be read.*dvc repro"):
        write_report()


@pytest.mark.parametrize("file", ["reference/standalone.csv", "standalone/smallest-1/summary.json"])
def test_missing_results_of_an_arch_trained_alone_are_named(results, file):
    (Path("runs/quick") / file).unlink()
    with pytest.raises(UserError, match=f"{file} cannot be read"):
        write_report()


def test_every_method_has_its_own_colour():
    assert len(set(colours([*looks(), "mine", "other"]).values())) == len(looks()) + 2
    assert (label("deps"), label("mine")) == ("DεpS", "mine")


def test_a_variant_by_params_is_called_after_its_method():
    assert (label("deps_no_ramp"), label("deps_early")) == ("DεpS no ramp", "DεpS early")
    assert (label("rss_short"), label("rss_short_x"), label("depsy")) == ("RSS-short", "RSS-short x", "depsy")


def test_dvc_shows_figures_that_the_report_has_and_plots_that_name_their_run():
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    shown = [Path(path) for path in pipeline["plots"]]
    assert {path.stem for path in shown} <= set(EVERY)
    assert {path.parent.as_posix() for path in shown} == {"reports/experiments/${names[0]}"}
    plots = [plot for stage in pipeline["stages"].values() for plot in stage.get("plots", [])]
    for (options,) in map(dict.values, plots):
        assert options["title"].startswith("${item.experiment} ")
        assert options["x_label"]
        assert "(%)" in options["y_label"]


def exported(budget: str, macs: int, test: float, worse: dict | None = None) -> dict:
    """What stage `export` says of a model."""
    card = {"experiment": "quick", "method": "deps", "seed": 0, "space": "mbv3_micro", "arch": SEARCHED[0]}
    card |= {"classes": ["a", "b"], "channels": 1, "size": 28, "resolution": 28, "mean": [0.5], "std": [0.5]}
    card |= {"macs": macs, "params": 1234, "data": "d", "data_hash": "h", "val_top1": 70.0, "test_top1": test}
    errors = {"val_std_error": 1.4491, "test_std_error": 1.0247, "val_images": 1000, "test_images": 2000}
    return {**card, **errors, "file": f"{budget}.onnx", "worse_than": worse or {}}


def test_exported_models_stand_in_a_table_with_their_standard_errors(results):
    assert results.models.empty
    worse = {"small": {"test": {"points": -0.5, "error": 0.37, "is_noise": True}}}
    facts = {"small": exported("small", 542_872, 70.5), "large": exported("large", 1_000_000, 70.0, worse)}
    write_json(results.folder / "export/deps-0/models.json", facts)
    results = all_results(read_params())[0]
    write_report()
    written = Path("reports/experiments/quick/models.md").read_text()
    assert "| DεpS | 0 | small | 543 | 1,234 | 70.00 ± 1.45 | 70.50 ± 1.02 |  |\n" in written
    remark = "-0.50 ± 0.37 to small on test, within noise"
    assert written.endswith(f"| DεpS | 0 | large | 1,000 | 1,234 | 70.00 ± 1.45 | 70.00 ± 1.02 | {remark} |\n")
    assert "| DεpS | 0 | medium | – | – | – | – | no arch within it |\n" in written
    page = Path("reports/index.html").read_text()
    assert remark in page
    assert '<a href="#quick-models">Models</a>' in page
    write_json(results.folder / "export/deps-0/models.json", {"small": {**facts["small"], "classes": 3}})
    with pytest.raises(UserError, match=r"models.json: small.classes"):
        _ = all_results(read_params())[0].models


def test_models_of_a_latency_table_have_its_milliseconds(results):
    table = {"of": "torch 2 on a phone, 1 thread, batch 1", "unseen_archs": 50, "median_error_percent": 2.14}
    facts = exported("small", 542_872, 70.5) | {"max_ms": 0.05, "ms": 0.0421, "latency_table": table}
    older = exported("large", 1_000_000, 70.0)
    write_json(results.folder / "export/deps-0/models.json", {"small": facts, "large": older})
    write_report()
    written = Path("reports/experiments/quick/models.md").read_text()
    assert "| DεpS | 0 | small | 543 | 1,234 | 0.042 | 70.00 ± 1.45 | 70.50 ± 1.02 |  |\n" in written
    assert (
        "latency is predicted by a latency table of torch 2 on a phone, 1 thread, batch 1 (median error 2.1 %"
        in written
    )


def test_methods_that_no_file_is_named_after_differ_in_every_figure(results):
    params = yaml.safe_load(Path("params.yaml").read_text())
    names = {"deps": "mine", "rss": "other"}
    for old, new in names.items():
        for path in [*Path("runs/quick").glob(f"*/{old}-*")]:
            path.rename(path.with_name(path.name.replace(old, new)))
        params["experiments"]["quick"]["methods"][new] = params["experiments"]["quick"]["methods"][old]
    own = results_of({**params, "methods": list(names.values())}, "quick")
    expected = set(colours(own.methods).values())
    assert len(expected) == 2
    drawn = {figure.name: figure.draw(own) for figure in registered() if not figure.needs_study}
    for name in ("pareto", "curves", "predictor", "search"):
        lines = [line for axes in drawn[name].axes for line in axes.lines]
        assert expected <= {line.get_color() for line in lines}, name
    for name in ("cost", "timeline", "strips"):
        faces = [shape.get_facecolor() for axes in drawn[name].axes for shape in (*axes.patches, *axes.collections)]
        shown = {to_hex(np.ravel(face)[:3]) for face in faces if len(face)}
        assert {colour.lower() for colour in expected} <= shown, name


@pytest.mark.parametrize("key", ["dataset", "methods", "tuning.seed", "space.name"])
def test_params_that_lack_what_a_report_needs_are_refused_with_the_key(results, key):
    params = yaml.safe_load(Path("params.yaml").read_text())
    *sections, last = ["experiments", "quick", *key.split(".")]
    found = params
    for name in sections:
        found = found[name]
    del found[last]
    with pytest.raises(UserError, match=f"params.yaml has no 'experiments.quick.{key}'"):
        results_of(params, "quick")
