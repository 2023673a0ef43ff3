"""Stage `export`: under each budget the best arch on validation as an ONNX file, and what it does on test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.files import write_json
from dεps.core.hashing import sha256
from dεps.core.tables import matching
from dεps.deploy.export.choice import (
    LATENCY,
    Limit,
    candidates,
    check_latency,
    known_accuracies,
    most_accurate,
    read_front,
    worse_than,
)
from dεps.deploy.export.classes import Answers, write_classes
from dεps.deploy.export.config import ExportConfig
from dεps.deploy.export.int8 import quantise, ranking, save_int8
from dεps.deploy.export.subnet import card_of, comparison_batches
from dεps.deploy.onnx.file import save_onnx
from dεps.evaluation.accuracy import correct, observe, recalibrated
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.evaluation.measure import measure_each
from dεps.evaluation.noise import difference
from dεps.evaluation.prefix_tree import likeliest
from dεps.search.latency.table import LatencyTable, given_table
from dεps.search.nsga2 import SearchConfig
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch, SearchSpace
from dεps.workspace.outputs import FRONT, INT8, MODELS, SUPERNET
from dεps.workspace.stage import Context, run
from dεps.workspace.tables import weights_stamp

SPLITS = ("validation", "test")


def work(context: Context, out: Path) -> None:
    """Write `<budget>.onnx` for each budget, in int8 too where asked, `models.json`, and what is right by class."""
    set_up()
    config, space = context.section(ExportConfig, "export"), context.section(SearchSpace, "space")
    search, data = context.section(SearchConfig, "search"), load_data(context)
    weights, front = context.folder("train") / SUPERNET, read_front(context, space)
    net = load_net(weights, data, context).to(best_device())
    ends = [arch_cost(space, arch, net.classes, net.channels).macs for arch in (space.smallest(), space.largest())]
    limits = {budget.name: Limit(budget.macs(*ends), budget.max_ms) for budget in config.budgets}
    table = given_table(search, space, net.classes, net.channels, ".".join(context.keys("search")))
    if table is not None:
        check_latency(front, str(search.latency_sha256), str(context.folder("search") / FRONT.file))
    asked = _asked(context, front, limits, config.candidates)

    images = recalibration(context, data, search.recalibration_images)
    known = known_accuracies(front)
    unknown = dict.fromkeys(
        Arch.parse(arch) for archs in asked.values() for arch in archs if config.int8 or arch not in known
    )

    def measure(some: Sequence[Arch]) -> list[dict[str, float]]:
        rows = []
        for arch, (right,) in zip(some, correct(net, some, data, [data.validation], images), strict=True):
            rows.append({"top1": round(100.0 * float(right.double().mean()), 4)})
            if config.int8:
                plain = recalibrated(net, arch, data, images)
                (rows[-1]["int8"],) = quantise(plain, net, arch, data, [data.validation], images).top1
        return rows

    measured = measure_each(context, weights, data.manifest, images, unknown, measure)
    known = {str(arch): row["top1"] for arch, row in measured.items()} | known
    in_int8 = {str(arch): row["int8"] for arch, row in measured.items() if config.int8}
    # What was measured for one budget counts under all that it keeps to, so more of everything never costs accuracy on
    # validation.
    macs = dict(zip(front.arch, front.macs, strict=True))
    under = {name: [arch for arch in limits[name].within(front).arch if arch in known] for name in asked}
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
        plain = recalibrated(net, arch, data, images)
        comparison = save_onnx(plain, card, file, batches)
        facts = {**_file(file), **_cost(limits[name], front, arch, table), "weights": weights_stamp(weights)}
        smaller = [one for one in chosen if macs[str(chosen[one])] < card.macs and str(chosen[one]) in under[name]]
        worse = {other: found for other in smaller if (found := _against(right[arch], right[chosen[other]]))}
        models[name] = {**facts, **vars(card), "worse_than": worse, "onnx": comparison.to_json()}
        say(f"{context.label}: {name} {', '.join(map(card.accuracy, ('val', 'test')))}")
        for line in worse_than(models[name]):
            say(f"{context.label}: {name} {line}")
        if config.int8:
            file, own = out / f"{name}{INT8}.onnx", quantise(plain, net, arch, data, splits, images)
            card8 = save_int8(own, card, file)
            both = zip(SPLITS, own.against(right[arch]), strict=True)
            lost = {split: {**one._asdict(), "is_noise": one.is_noise} for split, one in both}
            among = {arch: top1 for arch, top1 in in_int8.items() if arch in under[name]}
            of_float = {key: value for key, value in facts.items() if key not in LATENCY}  # int8 takes another time
            models[name + INT8] = of_float | _file(file) | vars(card8) | {"int8": lost | ranking(known, among, macs)}
            say(f"{context.label}: {name}{INT8} {', '.join(map(card8.accuracy, ('val', 'test')))}")
    write_json(out / MODELS, models)
    write_classes(data, {name: answers[arch] for name, arch in chosen.items()}, out)
    say(f"{context.label}: ONNX Runtime agrees with PyTorch")


def _file(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"file": path.name, "sha256": sha256(content), "bytes": len(content)}


def _cost(limit: Limit, front: pd.DataFrame, arch: Arch, table: LatencyTable | None) -> dict[str, Any]:
    """What the arch may cost, and with a latency table the milliseconds that this predicts."""
    facts = {f"max_{key}": most for key, most in vars(limit).items() if most is not None}
    if table is None:
        return facts
    (ms,) = matching(front, arch=str(arch)).ms
    error = {"unseen_archs": table.unseen_archs, "median_error_percent": table.median_error_percent}
    return facts | {"ms": ms, "latency_table": {"of": table.of, **error}}


def _answers(found: Tensor) -> tuple[np.ndarray, np.ndarray]:
    classes, probabilities = found.numpy()
    return classes.astype(np.int64), probabilities


def _against(larger: list[np.ndarray], smaller: list[np.ndarray]) -> dict[str, dict[str, float | bool]]:
    """On which split a larger model is worse than a smaller one, and whether by more than noise."""
    found = zip(SPLITS, map(difference, larger, smaller), strict=True)
    return {split: {**one._asdict(), "is_noise": one.is_noise} for split, one in found if one.points < 0}


def _asked(context: Context, front: pd.DataFrame, limits: dict[str, Limit], count: int) -> dict[str, list[str]]:
    """Archs to choose from under each budget that has any.

    A method that offers a part of the space may have no arch as small as another's. Raises `UserError` where no
    budget has one.
    """
    missed = [name for name, limit in limits.items() if limit.within(front).empty]
    if 0 < len(missed) < len(limits):
        for name in missed:
            say(f"{context.label}: no arch under {name}, {limits[name].unmet(front)}")
    kept = {name: limit for name, limit in limits.items() if name not in missed} or limits
    where = ".".join(context.keys("export", "budgets"))
    return {name: candidates(front, limit, count, f"{where}: {name}") for name, limit in kept.items()}


if __name__ == "__main__":
    run("export", work, ("experiment", "method", "seed"))
