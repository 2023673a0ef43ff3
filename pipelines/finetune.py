"""Stage `finetune`: the subnet that stage `export` chose under a budget trains on, and is exported once more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.errors import UserError
from dεps.core.files import read_json, write_json
from dεps.core.hashing import sha256
from dεps.deploy.export.choice import COST
from dεps.deploy.export.config import ExportConfig
from dεps.deploy.export.subnet import card_of, comparison_batches
from dεps.deploy.finetune.training import finetuning, gains, spent_on
from dεps.deploy.onnx.file import save_onnx
from dεps.evaluation.accuracy import recalibrated
from dεps.evaluation.inputs import load_data, load_net, recalibration
from dεps.methods.finetune import FineTuneConfig
from dεps.search.nsga2 import SearchConfig
from dεps.spaces.space import Arch
from dεps.training.config import TrainConfig
from dεps.training.run import train
from dεps.workspace.identity import FINETUNE, finetuned_method
from dεps.workspace.live import LiveFile
from dεps.workspace.outputs import FINETUNED, METRICS, MODELS, OWN_COST, SUPERNET, TRAIN_COST
from dεps.workspace.stage import Context, leads, run
from dεps.workspace.tables import CURE, weights_stamp


def work(context: Context, out: Path) -> None:
    """Write supernet and history of the training, `<budget>-finetuned.onnx`, `models.json` and `metrics.json`.

    Where the method has no arch within the budget, `models.json` is empty and all there is.
    """
    set_up()
    config, train_config = context.section(FineTuneConfig, FINETUNE), context.section(TrainConfig, "train")
    source = replace(context, budget=None)
    facts = _exported(source, context.the_budget)
    if facts is None:
        write_json(out / MODELS, {})
        say(f"{context.label}: no arch under {context.the_budget}; nothing to train")
        return
    arch, weights, data = Arch.parse(facts["arch"]), source.needed("train", SUPERNET), load_data(context)
    net, spent, stamp = load_net(weights, data, context), spent_on(source.folder("train")), weights_stamp(weights)
    if facts.get("weights") != stamp:
        raise UserError(f"{source.folder('export') / MODELS} is of other weights than {weights}; {CURE}")
    name = finetuned_method(context.the_method, context.the_budget)
    trainer = finetuning(net, arch, data, train_config, config, context.the_seed, spent)
    live = LiveFile.of(context, name, data.manifest)
    train(context, name, trainer, out, live, begins_at=(stamp, str(arch)))
    if not leads():
        return

    # Nothing is chosen from here on: test images are only for what is reported.
    count = context.section(SearchConfig, "search").recalibration_images
    images, device = recalibration(context, data, count), best_device()
    before, after = net.to(device), load_net(out / SUPERNET, data, context, name).to(device)
    validation, test = gains(before, after, arch, data, [data.validation, data.test], images)
    of: dict[str, Any] = {"experiment": context.experiment, "method": context.the_method, "seed": context.the_seed}
    card = card_of(after, data, arch, validation.after, test.after, **of, finetuned=str(config))
    called = f"{context.the_budget}{FINETUNED}"
    file = out / f"{called}.onnx"
    batches = comparison_batches(after, data, data.test, arch, context.section(ExportConfig, "export").check_images)
    comparison = save_onnx(recalibrated(after, arch, data, images), card, file, batches)
    cost = {TRAIN_COST.key: round(trainer.macs / 1e12, 6), OWN_COST: round((trainer.macs - spent) / 1e12, 6)}
    cost_of = {key: facts[key] for key in COST if key in facts}
    model = {"file": file.name, "sha256": sha256(file.read_bytes()), **cost_of, **vars(card)}
    model |= {"weights": weights_stamp(out / SUPERNET), "onnx": comparison.to_json(), "cost": cost}
    model["gain"] = {"validation": validation._asdict(), "test": test._asdict()}
    write_json(out / MODELS, {called: model})
    numbers = {"val": validation, "test": test}
    metrics = {f"finetune/{split}_top1_before": one.before for split, one in numbers.items()}
    metrics |= {f"finetune/{split}_top1": one.after for split, one in numbers.items()}
    metrics |= {f"finetune/{split}_gain": one.points for split, one in numbers.items()}
    write_json(out / METRICS, metrics | cost)
    say(
        f"{context.label}: {arch}, {config}: {validation.before:.2f} → {validation.after:.2f} % on validation "
        f"({validation.points:+.2f} ± {validation.error:.2f}), {test.before:.2f} → {test.after:.2f} % on test"
    )


def _exported(source: Context, budget: str) -> dict[str, Any] | None:
    """What stage `export` says of the model under a budget; None where no arch is as small."""
    path = source.needed("export", MODELS)
    models = read_json(path, "the stage 'export'")
    facts = models.get(budget)
    if facts is None:
        return None
    if not isinstance(facts, dict) or not isinstance(facts.get("arch"), str):
        raise UserError(f"{path}: {budget} names no arch; {CURE}")
    return facts


if __name__ == "__main__":
    run(FINETUNE, work, ("experiment", "method", "budget", "seed"))
