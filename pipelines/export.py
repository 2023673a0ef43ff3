"""Stage `export`: under each budget the best arch on validation as an ONNX file, and what it does on test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.files import write_json
from dεps.core.hashing import sha256
from dεps.deploy.export.choice import candidates, known_accuracies, most_accurate, read_front, worse_than
from dεps.deploy.export.classes import Answers, write_classes
from dεps.deploy.export.config import ExportConfig
from dεps.deploy.export.subnet import card_of, comparison_batches
from dεps.deploy.onnx.file import save_onnx
from dεps.evaluation.accuracy import accuracies, observe, recalibrated
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.evaluation.measure import measure_each
from dεps.evaluation.noise import difference
from dεps.evaluation.prefix_tree import likeliest
from dεps.search.nsga2 import SearchConfig
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.outputs import MODELS, SUPERNET
from dεps.workspace.stage import Context, run
from dεps.workspace.tables import weights_stamp


def work(context: Context, out: Path) -> None:
    """Write `<budget>.onnx` for each budget, `models.json`, and what they get right and wrong by class."""
    set_up()
    config, space = context.section(ExportConfig, "export"), context.section(SearchSpace, "space")
    count, data = context.section(SearchConfig, "search").recalibration_images, load_data(context)
    weights, front = context.folder("train") / SUPERNET, read_front(context, space)
    net = load_net(weights, data, context).to(best_device())
    ends = [arch_cost(space, arch, net.classes, net.channels).macs for arch in (space.smallest(), space.largest())]
    limits = {budget.name: budget.macs(*ends) for budget in config.budgets}
    asked = _asked(context, front, limits, config.candidates)

    images = recalibration(context, data, count)
    known = known_accuracies(front)
    unknown = dict.fromkeys(Arch.parse(arch) for archs in asked.values() for arch in archs if arch not in known)
    measured = measure_each(
        context,
        weights,
        data.manifest,
        images,
        unknown,
        lambda some: [{"top1": round(top1, 4)} for (top1,) in accuracies(net, some, data, [data.validation], images)],
    )
    known |= {str(arch): row["top1"] for arch, row in measured.items()}
    # What was measured for a smaller budget is under a larger one too, so more MACs never cost accuracy on validation.
    macs = dict(zip(front.arch, front.macs, strict=True))
    under = {name: [arch for arch in known if macs[arch] <= limits[name]] for name in asked}
    chosen = {name: Arch.parse(most_accurate(front, archs, known)) for name, archs in under.items()}

    # Nothing is chosen from here on.
    final = sorted(dict.fromkeys(chosen.values()), key=lambda arch: macs[str(arch)])
    splits = [data.validation, data.test]
    rows = observe(net, final, data, splits, images, likeliest)
    answers = {arch: [Answers(*_answers(some)) for some in row] for arch, row in zip(final, rows, strict=True)}
    right = {
        arch: [own.classes == split.labels.numpy() for own, split in zip(both, splits, strict=True)]
        for arch, both in answers.items()
    }
    models, of = {}, {"experiment": context.experiment, "method": context.method, "seed": context.seed}
    for name, arch in chosen.items():
        file = out / f"{name}.onnx"
        test_top1 = round(100.0 * float(right[arch][1].mean()), 4)
        card = card_of(net, data, arch, known[str(arch)], test_top1, **of)
        batches = comparison_batches(net, data, data.test, arch, config.check_images)
        comparison = save_onnx(recalibrated(net, arch, data, images), card, file, batches)
        content = sha256(file.read_bytes())
        facts = {"file": file.name, "sha256": content, "max_macs": limits[name], "weights": weights_stamp(weights)}
        smaller = [other for other in chosen if macs[str(chosen[other])] < card.macs]
        worse = {other: found for other in smaller if (found := _against(right[arch], right[chosen[other]]))}
        models[name] = {**facts, **vars(card), "worse_than": worse, "onnx": comparison.to_json()}
        say(f"{context.label}: {name} {', '.join(map(card.accuracy, ('val', 'test')))}")
        for line in worse_than(models[name]):
            say(f"{context.label}: {name} {line}")
    write_json(out / MODELS, models)
    write_classes(data, {name: answers[arch] for name, arch in chosen.items()}, out)
    say(f"{context.label}: ONNX Runtime agrees with PyTorch")


def _answers(found: Tensor) -> tuple[np.ndarray, np.ndarray]:
    classes, probabilities = found.numpy()
    return classes.astype(np.int64), probabilities


def _against(larger: list[np.ndarray], smaller: list[np.ndarray]) -> dict[str, dict[str, float | bool]]:
    """On which split a larger model is worse than a smaller one, and whether by more than noise."""
    found = zip(("validation", "test"), map(difference, larger, smaller), strict=True)
    return {split: {**one._asdict(), "is_noise": one.is_noise} for split, one in found if one.points < 0}


def _asked(context: Context, front: pd.DataFrame, limits: dict[str, int], count: int) -> dict[str, list[str]]:
    """Archs to choose from under each budget that has any.

    A method that offers a part of the space may have no arch as small as another's. Raises `UserError` where no
    budget has one.
    """
    least = int(front.macs.min())
    missed = [name for name, limit in limits.items() if limit < least]
    if 0 < len(missed) < len(limits):
        say(f"{context.label}: no arch under {', '.join(missed)}; the least is {least:,} MACs")
    kept = {name: limit for name, limit in limits.items() if name not in missed} or limits
    where = ".".join(context.keys("export", "budgets"))
    return {name: candidates(front, limit, count, f"{where}: {name}") for name, limit in kept.items()}


if __name__ == "__main__":
    run("export", work, ("experiment", "method", "seed"))
