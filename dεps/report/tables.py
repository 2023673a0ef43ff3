"""Makes the tables of the report, as frames of text, and turns them into Markdown and LaTeX."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dεps.core.console import plural
from dεps.core.hashing import SHORT
from dεps.core.tables import column, matching, records, rows_where
from dεps.deploy.export.config import macs_text
from dεps.report.quantities import few_archs
from dεps.report.results import Results, training_cost
from dεps.report.statistics import Sample, spread
from dεps.report.study import complete, has
from dεps.report.style import label
from dεps.tuning.identity import STAGE
from dεps.tuning.verdict import verdict
from dεps.workspace.identity import FULL_MODEL
from dεps.workspace.outputs import BEST, INT8, SHOWN, TRAIN_COST, Metric

PAGE = Path("reports/index.html")
#: words that a reader may not know, in the order in which tables need them
WORDS = {
    "mean Pareto top-1": "mean over MACs of the line through the Pareto points, the archs that methods are compared by",
    "TMACs": "10¹² multiply-accumulates, forward and backward, over the whole training",
    "τ": "Kendall's rank correlation of predicted and measured accuracy; 1 is the same order, 0 no relation",
    "τ of test accuracy": "how a second measurement of the same archs, on test images, orders them; luck is in "
    "both, so a good predictor may be above it",
    "D2E2K5": "the arch with depth 2, expand ratio 2 and kernel 5 in every stage",
    "k5e2-k3e3_k5e2_r28": "an arch written out: blocks of a stage joined by -, stages by _, then the image size",
}
#: folder with a folder of figures and tables for each experiment
EXPERIMENTS = Path("reports/experiments")
#: the same for each published experiment
FIGURES = Path("reports/figures")
#: of a trial, in the order of tables
OPTIONS = ("shrink_start", "ramp_shape", "ramp_epochs", "epsilon", "temperature")
#: after the label of a method whose Pareto points are other archs than the whole space's
MARK = "†"


def summary(results: Results) -> pd.DataFrame:
    """One row per method, mean ± standard deviation over seeds; then the full model, archs alone and the baseline."""
    rows = []
    for method in results.methods:
        own = matching(results.metrics, method=method)
        row = {"method": marked(method) if method in results.other_archs else label(method)}
        rows.append(row | {metric.heading: over_seeds(own, metric) for metric in SHOWN})
    reference = results.reference
    heading = _heading("largest")
    mean, std = reference["reference/full_model_top1"], reference["reference/full_model_top1_std"]
    several = f" ± {std:.2f}" if len(results.seeds) > 1 else ""
    cost = training_cost(matching(results.history, method=FULL_MODEL)).mean()
    training = {TRAIN_COST.heading: f"{cost:.{TRAIN_COST.decimals}f}"}
    rows.append({"method": "full model alone", heading: f"{mean:.2f}{several}", **training})
    rows += _alone(results)
    logistic = reference["reference/logistic_regression_top1"]
    rows.append({"method": "logistic regression", heading: f"{logistic:.2f}"})
    return pd.DataFrame(rows).fillna("–")


def study_table(results: Results) -> pd.DataFrame:
    """A column for the default and one for the best trial, or one for both in one; a row a measure and an option."""
    trials = results.trials
    default, best = matching(trials, point="base"), matching(trials, best=True)
    sides = {"default": default, "best of the study": best}
    if len(best) and set(best.trial) <= set(default.trial):
        sides = {"default, the best of the study": default}
    found: dict[str, dict[str, str]] = {}
    for name, own in sides.items():
        confirmed = results.confirmation
        others = list(confirmed["best_val_top1" if own is best else "default_val_top1"]) if len(confirmed) else []
        for trial in records(own):
            top1 = {"mean Pareto top-1, validation (%)": f"{trial['val_top1']:.2f}"}
            top1 |= {"on other seeds (%)": spread(others)} if len(others) else {}
            top1 |= {f"{size} (%)": f"{trial[f'val_{size}_top1']:.2f}" for size in ("smallest", "largest")}
            options = {key: trial[key] if has(trial, key) else "–" for key in (*OPTIONS, "distill")}
            texts = {key: f"{it:.4g}" if type(it) in (int, float) else str(it) for key, it in options.items()}
            found[name] = top1 | {"training (TMACs)": f"{trial['train_tmacs']:.3f}"} | texts
    return pd.DataFrame(found).rename_axis("").reset_index()


def models_table(results: Results) -> pd.DataFrame:
    """One row per exported model: MACs, parameters, latency where a table predicts it, accuracy, remark."""
    several, timed = len(results.seeds) > 1, results.models.ms.notna().any()
    budgets = [budget["name"] for budget in results.params["export"]["budgets"]]
    rows = []
    for method, seed in dict.fromkeys(zip(results.models.method, results.models.seed, strict=True)):
        which = {"method": label(method), **({"seed": str(seed)} if several else {})}
        models = {model["budget"]: model for model in records(matching(results.models, method=method, seed=seed))}
        for budget in dict.fromkeys([*budgets, *models]):
            row = {**which, "budget": budget}
            own = ("MACs (k)", "parameters", *(["latency (ms)"] if timed else []), "validation (%)", "test (%)")
            row |= dict.fromkeys(own, "–")
            if model := models.get(budget):
                row |= {"MACs (k)": f"{model['macs'] / 1000:,.0f}", "parameters": f"{model['params']:,}"}
                row |= {"latency (ms)": f"{model['ms']:.3f}"} if timed and pd.notna(model["ms"]) else {}
                row |= {"validation (%)": model["validation"] or "–", "test (%)": model["test"] or "–"}
            rows.append(row | {"remark": model["remark"] if model else "no arch within it"})
    return pd.DataFrame(rows)


def finetuned_table(results: Results) -> pd.DataFrame:
    """One row per method and budget: MACs, accuracy before and after on each split, gain, cost; over seeds."""
    rows, found = [], results.finetuned
    for method, budget in dict.fromkeys(zip(found.method, found.budget, strict=True)):
        own = matching(found, method=method, budget=budget)
        row = {"method": label(method), "budget": budget, "MACs (k)": spread(own.macs / 1000, 0)}
        for split in ("validation", "test"):
            row[f"{split} before (%)"] = spread(column(own, f"{split}_before"))
            row[f"after (%), {split}"] = spread(column(own, f"{split}_top1"))
            row[f"gain, {split} (points)"] = _gain(own, split)
        row["fine-tuning (TMACs)"] = f"{own.own_tmacs.mean():.{TRAIN_COST.decimals}f}"
        rows.append(row | {TRAIN_COST.heading: f"{own.train_tmacs.mean():.{TRAIN_COST.decimals}f}"})
    return pd.DataFrame(rows)


def _gain(own: pd.DataFrame, split: str) -> str:
    """Paired by seed with its interval; of one seed paired by image, with its standard error."""
    points = Sample.of(column(own, f"{split}_points"))
    return (
        points.text() if points.count > 1 else f"{points.text()} ± {float(column(own, f'{split}_error').iloc[0]):.2f}"
    )


def finetuned_caption(results: Results) -> str:
    """Caption that says how subnets were fine-tuned, and what intervals and costs mean."""
    ways = "; ".join(dict.fromkeys(results.finetuned.how))
    several = results.finetuned.seed.nunique() > 1
    interval = "paired by seed, in brackets the 95 % interval" if several else "± standard error on the same images"
    return (
        f"{results.experiment}: exported subnets trained on, {ways}; top-1 before and after, BN recalibrated alike; "
        f"gains are {interval}; {TRAIN_COST.title} includes the supernet's, which all its subnets share"
    )


def models_caption(results: Results) -> str:
    """Caption that says how the models were chosen, and what ± means."""
    images, tables = results.manifest["images"], sorted({*results.models.by} - {""})
    latency = f"; latency is {' or '.join(tables)}" if tables else ""
    return (
        f"{results.experiment}: exported models, under each budget the best arch on validation; top-1 ± "
        f"binomial standard error on {images['validation']:,} validation and {images['test']:,} test images; a "
        "remark gives the difference in points where a model is worse than a smaller one, on the same images"
        f"{latency}{_int8_words(results)}"
    )


def _int8_words(results: Results) -> str:
    if not results.models.budget.str.endswith(INT8).any():
        return ""
    return (
        f"; …{INT8} are the same archs with 8-bit weights and activations, and their remarks say what that costs and "
        "whether it would rank the archs measured under the budget otherwise"
    )


def study_caption(results: Results) -> str:
    """Caption that says what the study was, what it found and what it cost."""
    study, text = results.study, verdict(results.study)
    cost = study.get("tune/confirm_tmacs", 0)
    confirmed = f"confirming trained {cost:.3f} more beside the full models of its seeds; " if cost else ""
    return (
        f"{results.experiment}: Optuna study of {study['tune/trials']} trials ({study['tune/pruned']} pruned), 1 seed; "
        f"{text and f'{text}; '}{_dearer(results)}"
        f"trials branch from the full model: {study['tune/trained_tmacs']:.3f} TMACs trained instead of "
        f"{study['tune/from_scratch_tmacs']:.3f} from scratch, {study['tune/saved_percent']:.0f} % saved, without "
        f"the full model's own {study['tune/trunk_tmacs']:.3f}; {confirmed}"
        f"the head of {results.file(STAGE, '', BEST).as_posix()} says how to take the best parameters over"
    )


def _dearer(results: Results) -> str:
    """Words on the most accurate trial that costs more than the best one, where it is more accurate."""
    trials = complete(results)
    if not trials.best.any():
        return ""
    (best,) = records(matching(trials, best=True))
    dearer = rows_where(trials, (trials.train_tmacs > best["train_tmacs"]) & (trials.val_top1 > best["val_top1"]))
    if not len(dearer):
        return ""
    own = records(dearer.sort_values("val_top1", kind="stable"))[-1]
    return (
        f"trial {own['trial']}, which costs {own['train_tmacs'] / best['train_tmacs']:.2f} × as much and was not "
        f"measured again, had {own['val_top1']:.2f} % for {best['val_top1']:.2f} %; "
    )


def _alone(results: Results) -> list[dict[str, str]]:
    """One row per arch trained alone; its accuracy is in the column of the same arch, if there is one."""
    rows = []
    for name, own in results.standalone.groupby("name", sort=False):
        cost = f"{own.train_tmacs.mean():.{TRAIN_COST.decimals}f}"
        values = {_heading(str(name)): spread(own.test_top1), TRAIN_COST.heading: cost}
        rows.append({"method": f"{name} trained alone", **values})
    return rows


def _heading(name: str) -> str:
    """The column for the top-1 of the Pareto point of that name; a column apart where there is none."""
    return next((metric.heading for metric in SHOWN if metric.key == f"pareto/{name}_top1"), "this arch (%)")


def over_seeds(metrics: pd.DataFrame, metric: Metric) -> str:
    """Mean of a metric over seeds, and its standard deviation: over the folds of one seed where it has folds."""
    if not metric.std:
        return spread(column(metrics, metric.key), metric.decimals)
    deviation = (column(metrics, str(metric.std)) ** 2).mean() ** 0.5
    return f"{column(metrics, metric.key).mean():.{metric.decimals}f} ± {deviation:.{metric.decimals}f}"


def caption(results: Results) -> str:
    """Caption with data, space, seeds, images, and methods whose Pareto points are other archs."""
    count = len(results.seeds)
    seeds = f"{count} seeds (mean ± standard deviation of a sample)" if count > 1 else "1 seed"
    data, space = results.manifest["name"], results.params["space"]["name"]
    images = results.manifest["images"]["test"]
    text = (
        f"{results.title}: {data}, {space}, {seeds}; top-1 on {images:,} test images, BN recalibrated; "
        "τ ± its standard deviation over folds"
    )
    if init := results.params["train"].get("init"):
        own = results.params["train"].get("init_sha256") or ""
        text += f"; trainings begin with the weights of {Path(init).name} (SHA-256 {own[:SHORT]}), whose cost is not "
        text += "counted"
    text += f"; not shown: {results.left_out}" if results.left_out else ""
    few = few_archs(results).items()
    text += "".join(f"; τ of {label(one)} is of {plural(count, 'arch')} a seed" for one, count in few)
    return f"{text}; {MARK} {others}" if (others := other_archs(results)) else text


def marked(method: str) -> str:
    """The label of a method, marked since its Pareto points are other archs."""
    return f"{label(method)} {MARK}"


def other_archs(results: Results) -> str:
    """Sentence that names methods whose Pareto points are other archs than the whole space's; empty for none.

    What was trained alone, and methods that are not named here, are archs of the space's own points.
    """
    methods: dict[tuple[str, ...], list[str]] = {}
    for method, archs in results.other_archs.items():
        methods.setdefault(archs, []).append(method)

    def ends(points: pd.DataFrame) -> str:
        return f"{macs_text(points.macs.min())} to {macs_text(points.macs.max())}"

    usual, texts = ends(results.space_points), []
    for same in methods.values():
        names, own = ", ".join(map(label, same)), matching(results.pareto, method=same[0])
        range_ = f"of {ends(own)} MACs" + (f" instead of {usual}" if ends(own) != usual else " too")
        texts.append(f"Pareto points of {names} are other archs, {range_}: a mean over them is another quantity")
    return "; ".join(texts)


def markdown(frame: pd.DataFrame, title: str) -> str:
    """A Markdown table below its caption."""
    rows = [list(frame.columns), ["---"] + ["---:"] * (len(frame.columns) - 1), *frame.to_numpy().tolist()]
    return f"{title}\n\n" + "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


def latex(frame: pd.DataFrame, title: str) -> str:
    """A LaTeX table (booktabs)."""
    written = {"%": r"\%", "_": r"\_", "–": "--", "±": r"$\pm$", "ε": r"$\varepsilon$", "τ": r"$\tau$", MARK: r"\dag{}"}
    table = str.maketrans(written)

    def escape(text: object) -> str:
        return str(text).translate(table)

    styled = frame.map(escape).rename(columns=escape).style.hide(axis="index")
    form = "l" + "r" * (len(frame.columns) - 1)
    return styled.to_latex(column_format=form, position_float="centering", caption=escape(title), hrules=True)
