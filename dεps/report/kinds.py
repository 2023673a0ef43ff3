"""Which figures an experiment has, in which groups, and what each was drawn from."""

from __future__ import annotations

from dεps.report import ablations, figures, strips, training, tuning
from dεps.report.drawing import FigureKind
from dεps.report.results import Results

_TRAINED = ("dataset", "space", "train", "methods")
_HISTORIES = ("full_model/history.jsonl", "train/history.jsonl")
_STUDY = ("dataset", "space", "train", "full_model", "evaluate", "tuning")
_TRIALS = ("tune/trials.csv",)
_FRONTS = (*_TRIALS, "tune/points.csv", "tune/curves.csv", "full_model/history.jsonl")

#: heading: figures of every experiment below it
GROUPS: dict[str, list[FigureKind]] = {
    "Accuracy of subnets": [
        FigureKind(
            "pareto",
            "Pareto points",
            "Line chart of test accuracy over MACs through the Pareto points, one line a method",
            "Each method's subnets at the largest kernel that it offers, cut from its supernet without further "
            "training. A star is the full model trained alone, a diamond an arch trained alone.",
            figures.pareto,
            ("evaluate/pareto.csv", "reference/metrics.json", "reference/standalone.csv"),
            (*_TRAINED, "evaluate", "reference"),
            points=True,
        ),
        FigureKind(
            "population",
            "Population",
            "Line chart of the median test accuracy of random archs per MAC bucket, one line a method",
            "Medians over archs drawn at random in each MAC bucket, all seeds together; bars span the middle half. "
            "A subspace, such as CompOFA's, has fewer archs in some of the same buckets.",
            figures.population,
            ("evaluate/population.csv",),
            (*_TRAINED, "evaluate"),
        ),
    ],
    "Training": [
        FigureKind(
            "cost",
            "Training cost",
            "Bar chart of training cost in MACs, one bar a method, with its ratio to DεpS",
            "Every MAC of every forward and backward counts, those of the full model that a method starts from too, so "
            "the numbers do not depend on the machine.",
            training.cost,
            _HISTORIES,
            _TRAINED,
        ),
        FigureKind(
            "timeline",
            "What is trained when",
            "Timeline of the phases of each method over epochs, by what they train",
            "Bars are as high as the losses weigh: a rising wedge is the ε ramp. First seed; the others do the same.",
            training.timeline,
            _HISTORIES,
            _TRAINED,
        ),
        FigureKind(
            "curves",
            "Training curves",
            "Line charts of validation accuracy over epochs, largest and smallest arch, one line a method",
            "The largest and the smallest arch of the table. Where a method begins with the full model the smallest is "
            "untrained until shrinking starts.",
            training.curves,
            (*_HISTORIES, "evaluate/pareto.csv"),
            _TRAINED,
            points=True,
        ),
    ],
    "Prediction and search": [
        FigureKind(
            "predictor",
            "Accuracy predictor",
            "Scatter plots of predicted over measured accuracy of unseen archs, one panel a method, with Kendall's τ",
            "The closer to the diagonal, the better; τ = 1 would order all archs rightly. Each arch is predicted by "
            "what was fitted without it; ± is the standard deviation over folds. Beside it the τ of MACs alone and the "
            "ceiling: the τ between the same archs' accuracies on validation and on test, about as far as noise lets "
            "any predictor come. It is for comparison: nothing is chosen by test accuracy.",
            figures.predictor,
            ("predict/predictions.csv", "predict/metrics.json"),
            (*_TRAINED, "evaluate", "predict"),
        ),
        FigureKind(
            "search",
            "Fronts found by search",
            "Line chart of predicted accuracy of searched archs over MACs, with dots where it was measured",
            "NSGA-II on predicted accuracy and MACs; dots were measured with the supernet's weights.",
            figures.searched,
            ("search/front.csv",),
            (*_TRAINED, "evaluate", "predict", "search"),
        ),
        FigureKind(
            "strips",
            "Searched archs, layer by layer",
            "Up to three searched archs of each method as strips of blocks: one block a layer, its height the expand "
            "ratio, its strength and number the kernel, beside MACs and top-1",
            "Archs of each front whose accuracy on validation was measured, spread by MACs.",
            strips.strips,
            ("search/front.csv",),
            (*_TRAINED, "evaluate", "predict", "search"),
        ),
    ],
}
#: the same of an experiment that has a study
STUDY_GROUPS: dict[str, list[FigureKind]] = {
    "Ablations": [
        FigureKind(
            "tuning_start",
            "Shrink start",
            "Fronts of DεpS at several shrink starts, and accuracy over shrink start of all trials",
            "Left, fronts of the preset with only its shrink start changed; right, what that does to the largest arch, "
            "the mean and the smallest.",
            ablations.shrink_start,
            (*_TRIALS, "tune/points.csv"),
            _STUDY,
        ),
        FigureKind(
            "tuning_ramp",
            "ε ramp",
            "The full model's accuracy over epochs and the fronts, with and without the ramp",
            "Left, the full model around shrink start; right, the fronts, with the gain of each point above it.",
            ablations.ramp,
            _FRONTS,
            _STUDY,
        ),
        FigureKind(
            "tuning_distillation",
            "In-place distillation",
            "The smallest subnet's accuracy over epochs and the fronts, with and without distillation and from scratch",
            "Subnets distilled from the partially trained full model, trained on labels instead, and distilled from "
            "scratch, as BigNAS does. Numbers: gain of the first over the second.",
            ablations.distillation,
            (*_FRONTS, "train/history.jsonl", "evaluate/pareto.csv"),
            (*_STUDY, "methods"),
            points=True,
        ),
    ],
    "Study": [
        FigureKind(
            "tuning_front",
            "Accuracy and cost",
            "Scatter plot of accuracy over training cost of all trials, with their front and the other methods",
            "The ring is the trial in best.yaml, the star DεpS as preset; diamonds are the other methods.",
            tuning.front,
            (*_TRIALS, "train/summary.json", "evaluate/metrics.json", "evaluate/pareto.csv"),
            (*_STUDY, "methods"),
            points=True,
        ),
        FigureKind(
            "tuning_importance",
            "Importance of options",
            "Bar chart of the share of the variance that each option explains",
            "Of all complete trials, by fANOVA; with few trials it says little.",
            tuning.importance,
            (*_TRIALS, "tune/importance.csv"),
            _STUDY,
        ),
        FigureKind(
            "tuning_slices",
            "Accuracy by option",
            "Scatter plots of accuracy over each option, one panel an option",
            "One dot a trial, later ones brighter.",
            tuning.slices,
            _TRIALS,
            _STUDY,
        ),
        FigureKind(
            "tuning_intermediate",
            "Trials while they train",
            "Line chart of the smallest subnet's validation accuracy over epochs, one line a trial",
            "The smallest Pareto point. A trial begins at its shrink start; a cross ends one that was pruned.",
            tuning.intermediate,
            (*_TRIALS, "tune/curves.csv"),
            _STUDY,
        ),
    ],
}


def groups(results: Results) -> dict[str, list[FigureKind]]:
    """The figures of every experiment, and those of its study where it has one, by heading."""
    return GROUPS | (STUDY_GROUPS if results.has_study else {})


def kinds(results: Results) -> list[FigureKind]:
    """All of these in one list."""
    return [kind for group in groups(results).values() for kind in group]
