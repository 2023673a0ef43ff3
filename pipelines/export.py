"""Stage `export`: under each budget the best arch on validation as an ONNX file, and what it does on test."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from dεps.cost import arch_cost
from dεps.data.batches import Normalise, plain_batches
from dεps.device import best_device, set_up
from dεps.evaluation import accuracies, evaluation_batch, recalibrated, recalibration_indices
from dεps.experiment import load_data, load_net
from dεps.exporting.card import ModelCard
from dεps.exporting.choice import candidates, known_accuracies, most_accurate, read_front
from dεps.exporting.config import ExportConfig, budget_macs
from dεps.exporting.onnx_file import save_onnx
from dεps.files import write_json
from dεps.identity import digest
from dεps.measurement import measure_each
from dεps.search import SearchConfig
from dεps.search_space import Arch, SearchSpace
from dεps.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write `<budget>.onnx` for each budget, and `models.json`."""
    set_up()
    config, space = context.section(ExportConfig, "export"), context.section(SearchSpace, "space")
    images, data = context.section(SearchConfig, "search").recalibration_images, load_data(context)
    weights, front = context.folder("train") / "supernet.safetensors", read_front(context)
    net = load_net(weights, data, space).to(best_device())
    cost = {arch: arch_cost(space, arch, net.classes, net.channels) for arch in (space.smallest(), space.largest())}
    ends = [own.macs for own in cost.values()]
    limits = {name: budget_macs(value, *ends) for name, value in config.budgets.items()}
    # A method that offers a part of the space may have no arch as small as another's.
    least = int(front.macs.min())
    if missed := [name for name, limit in limits.items() if limit < least]:
        print(f"{context.label}: no arch under {', '.join(missed)}; the smallest has {least:,} MACs")
    where = ".".join(context.keys("export", "budgets"))
    asked = {
        name: candidates(front, limit, config.candidates, f"{where}.{name}")
        for name, limit in limits.items()
        if name not in missed or len(missed) == len(limits)
    }

    indices = recalibration_indices(data.train, images, context.seed)
    known = known_accuracies(front)
    unknown = dict.fromkeys(Arch.parse(arch) for archs in asked.values() for arch in archs if arch not in known)
    measured = measure_each(
        context,
        weights,
        data.manifest,
        images,
        unknown,
        lambda some: [{"top1": round(top1, 4)} for (top1,) in accuracies(net, some, data, [data.validation], indices)],
    )
    known |= {str(arch): row["top1"] for arch, row in measured.items()}
    chosen = {name: Arch.parse(most_accurate(front, archs, known)) for name, archs in asked.items()}

    # Nothing is chosen from here on.
    final = list(dict.fromkeys(chosen.values()))
    tests = dict(zip(final, accuracies(net, final, data, [data.test], indices), strict=True))
    checked = torch.arange(min(len(data.test), config.check_images))
    batch = evaluation_batch(space, data.channels, torch.device("cpu"))
    models = {}
    for name, arch in chosen.items():
        own = arch_cost(space, arch, net.classes, net.channels)
        card = ModelCard(
            experiment=context.experiment,
            method=context.method,
            seed=context.seed,
            space=space.name,
            arch=str(arch),
            classes=data.classes,
            channels=data.channels,
            size=data.manifest["size"],
            resolution=arch.resolution,
            mean=data.manifest["mean"],
            std=data.manifest["std"],
            macs=own.macs,
            params=own.params,
            data=data.manifest["name"],
            data_hash=digest(data.manifest["sha256"]),
            val_top1=known[str(arch)],
            test_top1=round(tests[arch][0], 4),
        )
        file = out / f"{name}.onnx"
        plain = recalibrated(net, arch, data, indices)
        batches = plain_batches(
            data.test,
            Normalise.of(data),
            batch_size=batch,
            indices=checked,
            workers=data.config.workers,
            size=arch.resolution,
        )
        comparison = save_onnx(plain, card, file, batches)
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        facts = {"file": file.name, "sha256": content, "budget": config.budgets[name], "max_macs": limits[name]}
        models[name] = {**facts, **vars(card), "onnx": comparison.to_json()}
    write_json(out / "models.json", models)
    best = ", ".join(f"{name} {model['val_top1']:.2f} %" for name, model in models.items())
    print(f"{context.label}: {best} on validation; ONNX Runtime agrees with PyTorch")


if __name__ == "__main__":
    run("export", work, ("experiment", "method", "seed"))
