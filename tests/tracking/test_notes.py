import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from dεps.core.params import section
from dεps.methods.registry import looks
from dεps.planning.check import composed
from dεps.report.style import FAINT, FULL
from dεps.tracking.notes import colour, experiment_tags, run_note, study_note, trial_note
from dεps.tracking.views import VIEW_TAG
from dεps.workspace.identity import FULL_MODEL, finetuned_method, run_identity, standalone_method
from tests.conftest import ROOT, made_up_manifest, quick_params

RESULTS = {"pareto/mean_top1": 80.5, "pareto/smallest_top1": 78.25, "pareto/largest_top1": 83.0, "cost/train_tmacs": 3}
STAGES = ["train", "evaluate", "predict", "search"]
RUN = "0123456789abcdef"


ENDS = {"pareto/smallest_macs": 378_000, "pareto/largest_macs": 2_310_000}


def note_of(params, method="deps", stages=STAGES, seed=0, experiment="quick"):
    identity = run_identity(params, experiment, method, seed, made_up_manifest())
    return run_note(params, identity, stages, RESULTS | ENDS, figures=True)


def test_a_runs_colour_is_the_methods_and_the_full_models_is_not_that_of_archs_alone():
    names = ["deps", finetuned_method("deps", "small"), FULL_MODEL, standalone_method("smallest")]
    params = quick_params()
    params["standalone"], params["finetuned"] = ["smallest"], ["small"]
    found = [colour(run_identity(params, "quick", name, 0, made_up_manifest())) for name in names]
    assert found == [looks()["deps"].colour] * 2 + [FULL, FAINT]


def test_a_methods_note_says_what_it_is_and_shows_its_numbers():
    note = note_of(quick_params())
    text = note.text("7", RUN, "a" * 40)
    assert text.startswith("**deps**, seed 0, on m with mbv3_micro: DεpS, delayed ε-shrinking (arXiv 2407.06167).")
    ends = "Of the Pareto points on offer the smallest has 378 k MACs, the largest 2.31 M."
    assert f"| 80.50 | 78.25 | 83.00 | 3.000 |\n\n{ends}\n" in text
    assert f"![Pareto points](get-artifact?path=figures%2Fpareto.png&run_uuid={RUN})" in text
    assert f"(#/experiments/7/runs/{RUN}/artifacts/supernet/supernet.safetensors?" in text
    assert (
        "git checkout aaaaaaaaaaaa\ndeps params experiment=[quick] +from=deps-0.yaml\ndvc repro search@quick-deps-0\n"
        in text
    )
    assert "--" not in re.sub(r"---:|-{4,}", "", text), "a placeholder is left"
    assert note.kind == "method"


def test_a_variant_of_a_method_has_its_own_name_and_the_methods_description():
    params = quick_params()
    methods = section(params, "experiments", "quick", "methods")
    methods["early"] = methods["deps"] | {"shrink_start": 0.25}
    text = note_of(params, "early").paragraphs[0]
    assert text == "**early**, seed 0, on m with mbv3_micro: DεpS, delayed ε-shrinking (arXiv 2407.06167)."


def test_only_what_is_known_of_the_commit_is_told():
    note = note_of(quick_params())
    assert "git checkout" not in note.text("7", RUN, "unknown")
    assert "git checkout bbbbbbbbbbbb   # and changes that were not committed\n" in note.text(
        "7", RUN, "b" * 40 + "+changes"
    )


def test_notes_of_what_is_no_method():
    full, alone = (
        note_of(quick_params(), method, [stage])
        for method, stage in (("full_model", "full_model"), ("standalone-smallest", "standalone"))
    )
    assert (full.kind, alone.kind) == ("full model", "alone")
    assert full.paragraphs[0].startswith("**full_model**, seed 0, ")
    assert alone.paragraphs[0].startswith("**standalone-smallest**, seed 0, ")
    assert all("dvc repro reference@quick\n" in note.text("7", RUN, "unknown") for note in (full, alone))
    assert yaml.safe_load(alone.params)["standalone"] == ["smallest"]


def test_the_note_of_a_fine_tuned_subnet_makes_it_again():
    note = note_of(quick_params(), finetuned_method("deps", "small"), ["finetune"])
    assert note.kind == "fine-tuned"
    assert note.paragraphs[0].startswith("**finetune-deps@small**, seed 0, on m with mbv3_micro: Fine-tuning: ")
    assert "dvc repro finetune@quick-deps-small-0\n" in note.text("7", RUN, "unknown")
    again = yaml.safe_load(note.params)
    assert (again["finetuned"], again["methods"], again["seeds"]) == (["small"], ["deps"], [0])


def test_a_runs_params_file_composes_to_the_same_run(tmp_path):
    changes = ["dataset@experiments.quick.dataset=image_folder", "experiments.quick.dataset.name=mine"]
    changes += ["experiments.quick.dataset.root=a folder/images.zip", "experiments.quick.dataset.image_size=28"]
    changes += ["experiments.quick.dataset.channels=1", "experiments.quick.methods.deps.shrink_start=0.25"]
    changes += ["experiments.quick.train.learning_rate=1e-2", "methods=[deps,rss]", "seeds=[3,4]"]
    changes += ["experiments.quick.train.augment.color_jitter=[0.1,0.1,0,0]"]
    params, _ = composed(changes, ROOT / "params")
    note = note_of(params, seed=4)
    path = tmp_path / "deps-4.yaml"
    path.write_text(note.params)
    again, _ = composed(["experiment=[quick]", f"+from={path}"], ROOT / "params")
    assert again["methods"] == ["deps"]
    assert again["seeds"] == [4]
    for key in ("dataset", "space", "train", "full_model", "evaluate", "predict", "search"):
        assert section(again, "experiments", "quick", key) == section(params, "experiments", "quick", key), key
    manifest = made_up_manifest()
    digests = [run_identity(one, "quick", "deps", 4, manifest).digest for one in (params, again)]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(("preset", "portable"), [("cifar10", True), ("quick", False), ("quick", True)])
def test_a_runs_params_file_says_which_bits_it_rounds_to(tmp_path, preset, portable):
    params, _ = composed([f"experiment=[{preset}]", f"portable={str(portable).lower()}"], ROOT / "params")
    path = tmp_path / "deps-0.yaml"
    path.write_text(note_of(params, experiment=preset).params)
    again, _ = composed([f"experiment=[{preset}]", f"+from={path}"], ROOT / "params")
    assert again["portable"] is portable
    digests = [run_identity(one, preset, "deps", 0, made_up_manifest()).digest for one in (params, again)]
    assert digests[0] == digests[1]


def test_a_trials_note_gives_its_options(tmp_path):
    params = quick_params()
    study = run_identity(params, "quick", "deps", 0, made_up_manifest())
    tags = {"kind": "trial", "trial": "5", "state": "complete", "point": ""}
    trial = type(study)("quick", "trial-5", 0, "d", {"method.method": "deps", "method.epsilon": "0.25"}, tags)
    text = trial_note(trial, study, "deps").text("7", RUN, "unknown")
    assert text.startswith("**Trial 5**, complete: DεpS")
    assert (
        " methods=[deps] experiments.quick.methods.deps.method=deps experiments.quick.methods.deps.epsilon=0.25\n"
        in text
    )


def test_an_experiment_says_what_it_compares(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = quick_params() | {"methods": ["deps", "rss"], "seeds": [0, 1]}
    bare = experiment_tags(params, "quick", made_up_manifest(), "7", RUN)
    first, *_ = bare["mlflow.note.content"].splitlines()
    assert first.startswith("m, 7,000 training images of 2 classes; mbv3_micro; deps, rss; seeds 0, 1. ")
    assert "(#/experiments/7/runs?viewStateShareKey=deps-methods&" in first
    assert "deps params experiment=[quick] methods=[deps,rss] seeds=[0,1]\ndvc repro\n" in bare["mlflow.note.content"]
    Path("reports/experiments/quick").mkdir(parents=True)
    Path("reports/experiments/quick/results.md").write_text("the table\n")
    Path("reports/experiments/quick/pareto.png").write_bytes(b"png")
    full = experiment_tags(params, "quick", made_up_manifest(), "7", RUN)["mlflow.note.content"]
    assert "the table\n" in full
    assert f"run_uuid={RUN})" in full
    assert VIEW_TAG in bare


def test_the_command_of_a_studys_note_keeps_its_trials(tmp_path):
    params, _ = composed(["experiments.quick.tuning.trials=40"], ROOT / "params")
    identity = replace(run_identity(params, "quick", "deps", 0, made_up_manifest()), tags={"kind": "s", "dataset": "m"})
    text = study_note(params, identity, {"tune/trials": 40}).text("7", RUN, "unknown")
    (command,) = re.findall(r"parameters with `deps params (.*?)`", text)
    best = tmp_path / "best.yaml"
    best.write_text(yaml.safe_dump({"experiments": {"quick": {"methods": {"deps": {"ramp_epochs": 0.0}}}}}))
    again, _ = composed(command.replace("runs/quick/tune/best.yaml", str(best)).split(), ROOT / "params")
    own = section(again, "experiments", "quick")
    assert (own["tuning"]["trials"], own["methods"]["deps"]["ramp_epochs"]) == (40, 0.0)
