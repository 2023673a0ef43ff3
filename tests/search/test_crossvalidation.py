import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from dεps.core.errors import UserError
from dεps.search.crossvalidation import CrossValidation, agreement, cross_validate, folds
from dεps.search.predictor import PredictConfig, fit, load_predictor, predict
from dεps.spaces.encoding import encode_genomes
from dεps.spaces.space import Arch
from dεps.workspace.stage import Context
from pipelines import predict as stage
from tests.conftest import quick_params

CANDIDATES = ["ridge", "gaussian_process", "boosting"]


def test_agreement_by_hand():
    result = agreement([0.1, 0.2, 0.3, 0.4], [0.1, 0.3, 0.2, 0.4])
    assert result["kendall_tau"] == pytest.approx(4 / 6, abs=1e-4)
    assert result["spearman"] == pytest.approx(0.8)
    assert result["rmse_points"] == pytest.approx(100 * np.sqrt(0.02 / 4), abs=1e-4)
    assert agreement([0.5, 0.5], [0.1, 0.2])["kendall_tau"] == 0.0


def test_folds_share_the_archs_out():
    fold = folds(13, 5, 0)
    assert sorted(np.bincount(fold)) == [2, 2, 3, 3, 3]
    assert folds(13, 5, 0).tolist() == fold.tolist() != folds(13, 5, 1).tolist()


def test_no_arch_is_predicted_by_what_has_seen_it(micro):
    rng = np.random.default_rng(0)
    codes, accuracy = (rng.random((40, 12)) < 0.5).astype(np.float32), rng.random(40)
    found = cross_validate(codes, accuracy, PredictConfig(candidates=["ridge"], folds=4), 0)
    for number in range(4):
        held = found.fold == number
        own = predict(fit("ridge", codes[~held], accuracy[~held], PredictConfig(), 0), codes[held])
        assert found.predicted["ridge"][held].tolist() == own.tolist()
        assert found.taus["ridge"][number] == kendalltau(own, accuracy[held]).statistic


def test_the_choice_is_not_flattered_by_its_luck():
    """In each fold stands the candidate that is best on the other folds."""
    taus = {"a": np.array([0.9, 0.2, 0.2]), "b": np.array([0.3, 0.4, 0.5])}
    predicted = {name: np.full(6, value) for name, value in (("a", 0.1), ("b", 0.2))}
    found = CrossValidation(np.array([0, 0, 1, 1, 2, 2]), np.zeros(6), predicted, taus)
    assert found.chosen == "a"  # means 0.433 and 0.4
    values, own = found.of_the_choice()
    assert own.tolist() == [0.3, 0.2, 0.2]  # over folds 1 and 2 b is best, over 0 and 2 a, over 0 and 1 a
    assert values.tolist() == [0.2, 0.2, 0.1, 0.1, 0.1, 0.1]


def test_of_equal_candidates_the_smaller_error_is_taken():
    taus = {"a": np.zeros(2), "b": np.zeros(2)}
    predicted = {"a": np.full(4, 0.3), "b": np.full(4, 0.1)}
    assert CrossValidation(np.array([0, 0, 1, 1]), np.zeros(4), predicted, taus).chosen == "b"


@pytest.fixture
def measured(tmp_path, monkeypatch, micro):
    """Measured archs, whose accuracy is noisy; gives the context of stage `predict`."""
    from random import Random

    monkeypatch.chdir(tmp_path)
    archs = list(dict.fromkeys(micro.sample(Random(seed)) for seed in range(60)))
    rng = np.random.default_rng(0)
    blocks = np.array([sum(block.expand for stage in arch.stages for block in stage) for arch in archs])
    true = 70 + 0.3 * blocks
    table = pd.DataFrame({"bucket": 0, "arch": list(map(str, archs)), "macs": rng.permutation(len(archs)) + 1})
    table = table.assign(val_top1=true + rng.normal(size=len(true)), test_top1=true + rng.normal(size=len(true)))
    folder = Path("runs/quick/evaluate/deps-0")
    folder.mkdir(parents=True)
    table[:50].to_csv(folder / "population.csv", index=False)
    table[50:].assign(name="D").to_csv(folder / "pareto.csv", index=False)
    params = quick_params()
    params["experiments"]["quick"]["predict"] |= {"candidates": CANDIDATES}
    return Context("predict", "quick", "deps", 0, params)


def run(context, name="out"):
    out = Path(name)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    stage.work(context, out)
    return json.loads((out / "metrics.json").read_text()), pd.read_csv(out / "predictions.csv")


def test_the_stage_states_tau_macs_and_ceiling_on_the_same_folds(measured, micro):
    metrics, table = run(measured)
    tables = [pd.read_csv(f"runs/quick/evaluate/deps-0/{name}.csv") for name in ("population", "pareto")]
    test = pd.concat(tables).drop_duplicates("arch").test_top1.to_numpy()
    groups = [table[table.fold == number] for number in range(5)]
    for key, values in {"": table.predicted, "macs_": table.macs, "ceiling_": pd.Series(test)}.items():
        taus = [kendalltau(values[own.index], own.measured).statistic for own in groups]
        assert metrics[f"predictor/{key}kendall_tau"] == pytest.approx(np.mean(taus), abs=1e-4)
        assert metrics[f"predictor/{key}kendall_tau_std"] == pytest.approx(np.std(taus, ddof=1), abs=1e-4)
    error = np.sqrt(((table.predicted - table.measured) ** 2).mean())
    assert metrics["predictor/rmse_points"] == pytest.approx(error, abs=1e-3)
    assert abs(metrics["predictor/macs_kendall_tau"]) < 0.2 < metrics["predictor/kendall_tau"]
    assert metrics["predictor/archs"] == len(test)
    # The choice is written down, and it is the best.
    chosen = {name: metrics[f"predictor/{name}_chosen"] for name in CANDIDATES}
    best = max(CANDIDATES, key=lambda name: metrics[f"predictor/{name}_kendall_tau"])
    assert chosen == {name: int(name == best) for name in CANDIDATES}
    # What search gets has seen all archs.
    config = measured.section(PredictConfig, "predict")
    model = load_predictor(Path("out/predictor.safetensors"), micro, config)
    assert model.kind == best
    codes = encode_genomes(micro, np.array([micro.to_genome(Arch.parse(arch)) for arch in table.arch]))
    own = fit(best, codes, table.measured.to_numpy() / 100, config, 0)
    assert predict(model, codes) == pytest.approx(predict(own, codes), abs=1e-5)


def test_test_accuracy_decides_nothing(measured):
    metrics, _ = run(measured)
    whole = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    for name in ("population", "pareto"):
        path = Path(f"runs/quick/evaluate/deps-0/{name}.csv")
        table = pd.read_csv(path)
        table.assign(test_top1=table.test_top1.to_numpy()[::-1]).to_csv(path, index=False)
    other, _ = run(measured)
    again = {path.name: path.read_bytes() for path in Path("out").iterdir()}
    assert {name for name in whole if whole[name] != again[name]} == {"metrics.json"}
    assert {key for key in metrics if metrics[key] != other[key]} <= {
        "predictor/ceiling_kendall_tau",
        "predictor/ceiling_kendall_tau_std",
    }
    assert metrics["predictor/ceiling_kendall_tau"] != other["predictor/ceiling_kendall_tau"]


def test_too_few_archs_for_the_folds_are_said(measured):
    measured.params["experiments"]["quick"]["predict"]["folds"] = 40
    with pytest.raises(UserError, match=r"predict\.folds is 40; expected at most \d+, for 2 of the \d+ measured archs"):
        run(measured)


def test_accuracies_without_spread_are_no_error(measured):
    for name in ("population", "pareto"):
        path = Path(f"runs/quick/evaluate/deps-0/{name}.csv")
        pd.read_csv(path).assign(val_top1=10.0).to_csv(path, index=False)
    metrics, table = run(measured)
    assert metrics["predictor/kendall_tau"] == metrics["predictor/macs_kendall_tau"] == 0.0
    assert table.predicted.tolist() == pytest.approx([10.0] * len(table), abs=1e-3)
