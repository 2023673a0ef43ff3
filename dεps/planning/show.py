"""Shows plans as a table, as JSON, and as the timeline figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dεps.core.console import plural, show_table
from dεps.core.files import replace_atomic
from dεps.planning.plan import ExperimentPlan

#: endings of files that `save_figure` can write
FIGURE_FILES = (".svg", ".png", ".pdf")


def to_json(plans: Sequence[ExperimentPlan]) -> str:
    """All plans as one JSON object."""
    return json.dumps({"experiments": {plan.name: plan.to_json() for plan in plans}}, indent=1, ensure_ascii=False)


def save_figure(plans: Sequence[ExperimentPlan], path: Path) -> None:
    """Draw the timelines of all experiments into one of `FIGURE_FILES`."""
    import matplotlib.pyplot as plt

    from dεps.report.figures.timeline import blocks
    from dεps.report.style import STYLE

    with plt.style.context(STYLE):
        drawn = blocks([(f"{plan.name} ({plan.dataset}, {plan.space})", plan.methods) for plan in plans])
        replace_atomic(path, lambda temporary: drawn.savefig(temporary, format=path.suffix[1:]))


def print_plan(plans: Sequence[ExperimentPlan]) -> None:
    """Print one table per experiment."""
    from dεps.report.style import label

    for plan in plans:
        title = f"{plan.name}: {plan.dataset}, {plan.space}, {plan.images:,} training images, {plan.classes:,} classes"
        number = {"justify": "right"}
        columns = {"method": {"no_wrap": True, "style": "cyan"}, "epochs": number, "phases (epochs)": {}}
        columns |= {"subnets a step": {}, "training (MACs)": number, "× DεpS": number}
        columns |= {"time here": number} if plan.device else {}
        columns |= {"published GPU-h (× DεpS)": number} if plan.published else {}
        rows = []
        for method in plan.methods:
            relative, hours = plan.relative(method), plan.published.get(method.method)
            phases = " → ".join(f"{phase.name} ({phase.epochs:.4g})" for phase in method.phases)
            subnets = " → ".join(str(phase.subnets) for phase in method.phases)
            row = [label(method.method), f"{method.epochs:.4g}", phases, subnets, units(method.macs)]
            row.append("–" if relative is None else f"{relative:.2f}")
            row += [duration(method.seconds)] if plan.device else []
            if plan.published:
                row.append("–" if hours is None else f"{hours:,.0f} ({hours / plan.published['deps']:.2f})")
            rows.append(row)
        show_table(rows, columns, f"{title}, batches of {plan.batch_size}", notes(plan))


def notes(plan: ExperimentPlan) -> str:
    """Remarks below the table of a plan."""
    text = "Training cost: forward and backward of every step, the full model's part and frozen teachers included"
    text += f", first seed; sampled steps, standard error {100 * plan.error:.1g} %." if plan.error else ", first seed."
    beside = [f"{arch} alone {units(macs)}" for arch, macs in plan.alone.items()]
    for budget, macs in plan.finetuned.items():
        beside.append(f"fine-tuning {budget} ({plan.finetune}) at most {units(macs)} after each method's training")
    if beside:
        text += f" Beside these, MACs: {'; '.join(beside)}."
    if plan.device:
        text += f" Time: from measured steps ({plan.device}), without validation and later stages; all"
        text += f" {plural(plan.seeds, 'seed')} of all methods, the trunk shared: {duration(plan.seconds)}."
    if plan.published:
        text += " Published: ImageNet-1k, arXiv 2407.06167."
    return text


def units(macs: float) -> str:
    """A number with three digits and an SI prefix."""
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if macs >= 0.9995 * factor:
            value = macs / factor
            return f"{value:.{2 - (value >= 9.995) - (value >= 99.95)}f} {prefix}"
    return f"{macs:.0f}"


def duration(seconds: float | None) -> str:
    """A time with two digits or so, in days, hours, minutes or seconds; a dash where it is not known."""
    if seconds is None:
        return "–"
    for factor, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 1.5 * factor:
            return f"{seconds / factor:.{1 if seconds < 10 * factor else 0}f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 9.5 else f"{seconds:.1f} s"
