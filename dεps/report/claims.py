"""The papers' claims as data, and what the results here say of each: a file of `params/claims/` is a claim.

    claim ── metric of method and against, seed by seed ──▶ Sample ── range claimed ──▶ supported
    (YAML)   (difference or ratio)                        (statistics)                  contradicted
                                                                                        undecided

A claim about training cost at the published lengths needs no training: `deps plan` counts it, whose numbers are handed
in, since planning stands on the report.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field, model_validator

from dεps.core.console import plural, say, show_table
from dεps.core.errors import UserError
from dεps.core.files import write_atomic
from dεps.core.params import read_params
from dεps.core.schema import checked, structured
from dεps.core.tables import column, columns, matching
from dεps.report.blocks import between, read_text
from dεps.report.quantities import (
    DIP,
    against_alone,
    bucket_medians,
    comparable,
    dips,
    mean_by_seed,
    shared_archs,
)
from dεps.report.results import Results
from dεps.report.statistics import CONFIDENCE, DECIDING, Range, Sample, paired, paired_ratio, sampling_error
from dεps.report.tables import markdown
from dεps.workspace.outputs import EVALUATED, TRAIN_COST
from dεps.workspace.presets import preset
from dεps.workspace.project import groups

#: training cost in MACs of each method of a preset, by the method's name
Planned = Callable[[str], Mapping[str, float]]
#: metrics that need more of a run than its numbers, as `DIP` does: the medians of random archs, averaged over the MAC
#: buckets that both methods have; subnets at archs that were trained alone too, minus those
MEDIANS, ALONE = "population/bucket_median_top1", "alone/top1"
METRICS = (*(metric.key for metric in EVALUATED if metric.unit == "%"), TRAIN_COST.key, MEDIANS, DIP, ALONE)
#: verdict of a claim that no result here is about
UNTESTED = "not tested here"
#: lines of a Markdown file between which the table stands
BEGIN, END = "<!-- claims: deps show claims --into -->", "<!-- end of claims -->"
#: and a sentence about it
SHORT, END_SHORT = "<!-- claims in short: deps show claims --into -->", "<!-- end of claims in short -->"


@checked(kw_only=True)
class Claim:
    """One claim of one paper; its file's name is its name."""

    #: in the order of tables, ascending
    order: int
    sentence: Annotated[str, Field(min_length=1)]
    #: such as "DεpS, arXiv 2407.06167", and where in it
    paper: Annotated[str, Field(min_length=1)]
    place: Annotated[str, Field(min_length=1)]
    #: what is measured: `metric` of `method` minus that of `against`, or divided by it
    metric: str
    method: str
    against: str | None = None
    quantity: Literal["difference", "ratio"] = "difference"
    #: the open range that the quantity lies in if the claim holds; in points, or a ratio
    above: float | None = None
    below: float | None = None
    #: the quantity in the paper, by data set; `paper` where it does not say of which
    published: dict[str, float] = Field(default_factory=dict)
    #: presets that can test it, the first of which its command names …
    experiments: list[str] = Field(default_factory=list)
    #: … or the one whose planned training cost does
    plan: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> Claim:
        if self.metric not in METRICS:
            raise ValueError(f"metric is {self.metric!r}; allowed: {', '.join(METRICS)}")
        if (self.against is None) != (self.metric == ALONE):
            expected = "no method, of archs alone" if self.metric == ALONE else "the method to compare with"
            raise ValueError(f"against is {self.against or 'null'}; expected {expected}")
        if self.above is None and self.below is None:
            raise ValueError("above is null, and so is below; expected one of them, or both")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError(f"above is {self.above:g}; expected less than below, {self.below:g}")
        if bool(self.experiments) == bool(self.plan):
            raise ValueError("experiments and plan are both given, or neither; expected one of them")
        if self.plan and (self.metric != TRAIN_COST.key or self.quantity != "ratio"):
            raise ValueError(f"plan is {self.plan}; expected null unless it is about a ratio of {TRAIN_COST.key}")
        return self

    @property
    def claimed(self) -> Range:
        """Where the quantity lies if the claim holds."""
        return Range(self.above, self.below)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it is about."""
        return (self.method,) if self.against is None else (self.method, self.against)

    def measured(self, results: Results) -> Sample | None:
        """The quantity, once a seed; None where an experiment cannot tell, since it lacks a method or a number."""
        if not set(self.methods) <= set(results.methods):
            return None
        if self.metric == ALONE:
            return mean_by_seed(against_alone(results, self.method))
        other = str(self.against)
        if self.metric == MEDIANS:
            return mean_by_seed(bucket_medians(results, self.method, other))
        metrics = dips(results) if self.metric == DIP else comparable(results, self.method, other)
        join = paired_ratio if self.quantity == "ratio" else paired
        return join(metrics, self.metric, self.method, other)

    def detail(self, results: Results) -> str:
        """What a mean hides: how many archs it is of, or its parts from few MACs to many."""
        if self.metric == ALONE:
            return f"of {plural(against_alone(results, self.method).arch.nunique(), 'arch')}"
        other = str(self.against)
        if self.metric == MEDIANS:
            parts = pd.Series(bucket_medians(results, self.method, other).groupby("bucket")["difference"].mean())
            return "from few MACs to many " + ", ".join(Sample.of([part]).text() for part in parts.tolist())
        shared = shared_archs(results, self.method, other) if self.metric.startswith("pareto/") else None
        return "" if shared is None else f"over the {plural(len(shared), 'arch')} that both have"

    def command(self, results: Results | None = None, sample: Sample | None = None) -> str:
        """What tests it, in the shell: in the experiment of `results` where that can, else in its first preset.

        Of a sample of these results that decides nothing, with the seeds that are lacking, so many at once as decide at
        the least; what is published has only those to add, by the commit that it is of where the code here is another:
        other code is another experiment.
        """
        if self.plan:
            return f"deps plan experiment=[{self.plan}] --steps 0"
        own = results if results and results.experiment in self.experiments else None
        name = own.experiment if own else self.experiments[0]
        own_images = _is_preset(name) and _source(name, groups().resolve()) == "image_folder"
        there = self._seeds(own) if own and sample else []
        lacking = sample.lacking(self.claimed) if own and sample else DECIDING
        more = list(islice((seed for seed in count() if seed not in there), lacking))
        adds = bool(own and own.origin and more)
        seeds = ",".join(map(str, more if adds else sorted([*there, *more])))
        words = [f"experiment=[{name}]", f"methods=[{','.join(self.methods)}]", f"seeds=[{seeds}]"]
        words += ["standalone=[smallest,largest]"] if self.metric == ALONE else []
        words += [f"experiments.{name}.dataset.root=IMAGES"] if own_images else []
        command = f"deps params {' '.join(words)} && dvc repro" + (f" && deps publish {name}" if adds else "")
        commit = own.commit_to_add(self.methods) if own and adds else ""
        return f"in a clone at {commit}: {command}" if commit else command

    def _seeds(self, results: Results) -> list[int]:
        """Seeds that all its methods have."""
        found = [set(matching(results.metrics, method=name).seed.tolist()) for name in self.methods]
        return sorted(set.intersection(*found))


@cache
def _source(name: str, folder: Path) -> str:
    """Where a preset of that folder of groups has its images from; composing it takes half a second."""
    return preset(name, folder)["dataset"]["source"]


@dataclass(frozen=True)
class Row:
    """What one experiment, or a plan, says of one claim."""

    claim: Claim
    #: experiment or preset; None where there is none
    experiment: str | None
    #: None of a plan too, whose ratio is `exact`
    sample: Sample | None
    exact: float | None
    #: of the choice of test images, in points; None where it is not about accuracy
    images: float | None
    command: str
    #: what the quantity is a mean of, where that is not plain
    detail: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is not decided."""
        return not self.verdict.startswith(("supported", "contradicted"))

    @property
    def verdict(self) -> str:
        """In words; of the sample's seeds, where there are several."""
        if self.exact is not None:
            return "supported" if self.exact in self.claim.claimed else "contradicted"
        return self.sample.words(self.claim.claimed) if self.sample else UNTESTED

    @property
    def seeds(self) -> int:
        """Number of seeds that it is measured with."""
        return self.sample.count if self.sample else 0

    @property
    def measured(self) -> str:
        """The quantity with its interval."""
        if self.exact is not None:
            return f"{self.exact:.2f} ×"
        if self.sample is None:
            return "–"
        text = self.sample.text() if self.claim.quantity == "difference" else f"{self.sample.text(signed=False)} ×"
        return f"{text}; {self.detail}" if self.detail else text

    @property
    def published(self) -> str:
        """The paper's numbers, each with its data set and with no more digits than the paper has."""
        ratio = self.claim.quantity == "ratio"
        values = {name: f"{value:g} ×" if ratio else f"{value:+g}" for name, value in self.claim.published.items()}
        texts = [value if name == "paper" else f"{value} ({name})" for name, value in values.items()]
        return ", ".join(texts).replace("-", "−") or "–"


def files(folder: Path | None = None) -> dict[str, Path]:
    """The file of each claim."""
    return {file.stem: file for file in sorted((folder or groups() / "claims").glob("*.yaml"))}


@cache
def claims(folder: Path | None = None) -> Mapping[str, Claim]:
    """All claims by name, in the order of tables. Raises `UserError` naming the claim and the key that is wrong."""
    found = {
        name: structured(Claim, read_params(file, "it is a claim"), f"claims/{name}")
        for name, file in files(folder).items()
    }
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


def rows(experiments: Sequence[Results], planned: Planned | None = None) -> list[Row]:
    """One row a claim and experiment that has its methods; a claim without any has one that says how to test it.

    Claims that a plan tests are left out without `planned`.
    """
    found: list[Row] = []
    for claim in claims().values():
        if claim.plan:
            found += [_of_plan(claim, claim.plan, planned)] if planned else []
        else:
            own = [row for results in experiments if (row := _of_results(claim, results))]
            found += own or [Row(claim, None, None, None, None, claim.command())]
    return found


def tested(results: Results) -> list[Row]:
    """One row a claim that the results of one experiment can test."""
    return [row for row in rows([results]) if row.experiment]


def without_repeats(found: Sequence[Row], published: Iterable[Results]) -> list[Row]:
    """Rows but those of experiments here of which as many published seeds, or more, say something of the same claim."""
    titles = {results.title: results.experiment for results in published}
    said = {(id(row.claim), titles[row.experiment]): row.seeds for row in found if row.experiment in titles}
    return [row for row in found if row.seeds > said.get((id(row.claim), row.experiment or ""), -1)]


def with_most_seeds(found: Sequence[Row]) -> list[Row]:
    """Of each claim the rows of the experiments that have most seeds."""
    counts: dict[int, int] = defaultdict(int)
    for row in found:
        counts[id(row.claim)] = max(counts[id(row.claim)], row.seeds)
    return [row for row in found if row.seeds == counts[id(row.claim)]]


def _of_plan(claim: Claim, name: str, planned: Planned) -> Row:
    costs = planned(name) if _is_preset(name) else {}
    ours, theirs = (costs.get(method) for method in claim.methods)
    return Row(claim, name, None, ours / theirs if ours and theirs else None, None, claim.command())


def _is_preset(name: str) -> bool:
    """Whether it is there; a project may have others."""
    return (groups() / "experiment" / f"{name}.yaml").exists()


def _of_results(claim: Claim, results: Results) -> Row | None:
    if results.params.get("train", {}).get("init"):  # the claims are about training from the beginning
        return None
    results = results.every
    sample = claim.measured(results)
    if sample is None:
        return None
    images, command = _sampling_error(claim, results), claim.command(results, sample)
    return Row(claim, results.title, sample, None, images, command, claim.detail(results))


def _sampling_error(claim: Claim, results: Results) -> float | None:
    if claim.metric in (TRAIN_COST.key, DIP):  # which is of validation images
        return None
    images, metrics = results.manifest["images"]["test"], results.metrics
    key = claim.metric if claim.metric in metrics else "pareto/smallest_top1"  # of many archs: what has most of it
    top1s = [column(matching(metrics, method=method), key).mean() for method in claim.methods]
    return sampling_error(top1s[0], images, top1s[-1])


def table(found: Iterable[Row]) -> pd.DataFrame:
    """One row a claim and experiment: sentence, source, published, measured, test images, verdict, command."""
    return pd.DataFrame(
        {
            "claim": row.claim.sentence,
            "paper": f"{row.claim.paper}: {row.claim.place}",
            "in the paper": row.published,
            "experiment": row.experiment or "–",
            "measured": row.measured,
            "test images": "–" if row.images is None else f"± {row.images:.2f}",
            "verdict": row.verdict,
            "tested by": row.command,
        }
        for row in found
    )


def short_table(found: Iterable[Row]) -> pd.DataFrame:
    """The columns of `table` that fit a narrow page."""
    return columns(table(found), "claim", "in the paper", "experiment", "measured", "verdict")


def caption(found: Iterable[Row]) -> str:
    """Caption of a table of these rows, that says what was measured and what decides."""
    images = max((row.images for row in found if row.images is not None), default=None)
    sampled = (
        ""
        if images is None
        else (
            f". One standard error of up to {images:.2f} points comes from the choice of test images, which more "
            "seeds do not lessen"
        )
    )
    return (
        "Differences in points of top-1 on test, and ratios of training cost; paired by seed, in brackets the "
        f"{CONFIDENCE:.0%} interval (Student's t, from {DECIDING} seeds on BCa bootstrap over seeds). A verdict needs "
        f"that the interval and the exact sign-flip test (p ≤ {1 - CONFIDENCE:.2f}) agree, which takes {DECIDING} "
        f"seeds at the least; verdicts are not corrected for the number of claims{sampled}"
    )


def print_claims(found: Sequence[Row]) -> None:
    """Print the table, then the command that tests each claim that the experiments with most seeds do not decide."""
    frame = short_table(found)
    folded = {name: {"overflow": "fold"} for name in frame.columns}
    show_table(
        [list(map(str, row)) for row in frame.to_numpy().tolist()], folded, "The papers' claims", f"{caption(found)}."
    )
    commands = dict.fromkeys(row.command for row in with_most_seeds(found) if row.is_open)
    for command in commands:
        say(f"to test: {command}")


def to_json(found: Iterable[Row]) -> str:
    """All rows as a JSON object, numbers as numbers."""
    return json.dumps({"claims": [_as_dict(row) for row in found]}, indent=1, ensure_ascii=False)


def _as_dict(row: Row) -> dict[str, Any]:
    name = next(name for name, claim in claims().items() if claim is row.claim)
    sample, interval = row.sample, row.sample.interval if row.sample else None
    return {
        "claim": name,
        "sentence": row.claim.sentence,
        "published": row.claim.published,
        "experiment": row.experiment,
        "by_seed": list(sample.values) if sample else None,
        "measured": row.exact if sample is None else sample.mean,
        "interval": list(interval[:2]) if interval else None,
        "interval_kind": interval.kind if interval else None,
        "std": sample.std if sample else None,
        "p": sample.p_value(min(row.claim.claimed.limits, key=lambda limit: abs(limit - sample.mean)))
        if sample
        else None,
        "of": row.detail or None,
        "test_images_error": row.images,
        "verdict": row.verdict.partition(" (")[0],
        "seeds_needed": sample.seeds_needed(row.claim.claimed) if sample and row.is_open else None,
        "command": row.command,
    }


def in_short(found: Sequence[Row]) -> str:
    """Sentence with the numbers of claims that are supported, contradicted, undecided and not tested.

    Of each claim the experiments with most seeds count; one that these decide otherwise is undecided.
    """
    names, own = ("supported", "contradicted", "undecided", UNTESTED), with_most_seeds(found)
    parts = []
    for planned in (False, True):
        kept = [claim for claim in _claims_of(own) if bool(claim.plan) is planned]
        counts = Counter(_together([row.verdict for row in own if row.claim is claim]) for claim in kept)
        said = ", ".join(f"{counts[name]} {name}" for name in names if counts[name])
        what = "of costs, by plan" if planned else "of the papers"
        parts += [f"{plural(len(kept), 'claim')} {what}: {said}"] if kept else []
    return "; ".join(parts)


def _claims_of(found: Sequence[Row]) -> list[Claim]:
    return list({id(row.claim): row.claim for row in found}.values())


def _together(verdicts: Sequence[str]) -> str:
    words = {verdict.partition(" (")[0] for verdict in verdicts}
    decided = words & {"supported", "contradicted"}
    if len(decided) == 1:
        return decided.pop()
    return UNTESTED if words == {UNTESTED} else "undecided"


def write_between(path: Path, found: Sequence[Row]) -> None:
    """Replace what stands between the lines BEGIN and END of a Markdown file by the table. Raises `UserError`.

    Of each claim it has the experiments with most seeds. Where the file has the lines SHORT and END_SHORT, `in_short`
    goes between those.
    """
    text = read_text(path, BEGIN)
    own = with_most_seeds(found)
    note = f"{caption(own)}. Experiments with fewer seeds than another of the same claim: `deps show claims`."
    whole = between(text, BEGIN, END, markdown(short_table(own), note))
    if whole is None:
        raise UserError(f"{path} has not the lines {BEGIN} and {END}; expected the table's place between them")
    write_atomic(path, between(whole, SHORT, END_SHORT, f"{in_short(found)}.\n") or whole)
