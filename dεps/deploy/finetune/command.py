"""`deps finetune`: a subnet chosen as `deps export` does, trained on, as a file to take away."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dεps.core.console import say
from dεps.core.device import best_device, set_up
from dεps.core.params import section
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.command import Validation, Wish, check_wish, chosen, default_path, source
from dεps.deploy.export.config import macs_text
from dεps.deploy.export.formats import save_model
from dεps.deploy.export.subnet import card_of, comparison_batches
from dεps.deploy.finetune.training import Gain, finetuning, gains, spent_on
from dεps.deploy.onnx.file import Comparison
from dεps.evaluation.accuracy import recalibrated
from dεps.evaluation.inputs import load_net, recalibration
from dεps.methods.finetune import FineTuneConfig
from dεps.search.nsga2 import SearchConfig
from dεps.training.config import TrainConfig
from dεps.training.run import train
from dεps.workspace.identity import FINETUNE, finetuned_method
from dεps.workspace.live import LiveFile
from dεps.workspace.locks import exclusive
from dεps.workspace.outputs import FINETUNED, SUMMARY, SUPERNET
from dεps.workspace.tables import weights_stamp


@dataclass(frozen=True)
class FineTuned:
    """What was written."""

    path: Path
    format: str
    card: ModelCard
    comparison: Comparison
    #: on validation
    gain: Gain
    #: 10¹² MACs of the fine-tuning, and together with the supernet's training
    own_tmacs: float
    train_tmacs: float

    def to_json(self) -> str:
        data = {"file": str(self.path), "format": self.format, **vars(self.card), "gain": self.gain._asdict()}
        data |= {"own_tmacs": self.own_tmacs, "train_tmacs": self.train_tmacs, "check": vars(self.comparison)}
        return json.dumps(data, indent=1, ensure_ascii=False)


def finetune(
    params: dict[str, Any],
    experiment: str,
    method: str | None,
    seed: int | None,
    wish: Wish,
    given: dict[str, Any],
    format: str = "onnx",
    out: Path | None = None,
) -> FineTuned:
    """Choose as `deps.deploy.export.command.export`, train on, recalibrate, write, and compare with PyTorch.

    Args:
        params: the content of `params.yaml`.
        experiment: whose supernet, of the method and the seed that are by default the first of params.
        wish: which subnet.
        given: keys of the section `finetune` to use in the place of params'.
        format: as of `export`.
        out: by default `<experiment>-<method>-<MACs>-finetuned<suffix>` here.

    Test images are not looked at. A training that is interrupted goes on where it was when the same is asked again.
    Raises `UserError` where something is missing, wrong or impossible.
    """
    set_up()
    limit = check_wish(wish, format, out)
    params = deepcopy(params)
    section(params, "experiments", experiment).setdefault(FINETUNE, {}).update(given)
    context, weights, data, net = source(params, experiment, method, seed, FINETUNE)
    config, train_config = context.section(FineTuneConfig, FINETUNE), context.section(TrainConfig, "train")
    spent = spent_on(context.needed("train", SUMMARY).parent)
    images = recalibration(context, data, context.section(SearchConfig, "search").recalibration_images)
    arch, _ = chosen(context, net, wish, limit, Validation(net, data, images))
    own, stamp = replace(context, arch=str(arch)), weights_stamp(weights)
    name = finetuned_method(context.the_method, str(arch))
    with exclusive(own.state("locks", ".lock"), "fine-tunes this arch"):
        folder = own.state("scratch")
        shutil.rmtree(folder, ignore_errors=True)
        trainer = finetuning(net.cpu(), arch, data, train_config, config, own.the_seed, spent)
        train(own, name, trainer, folder, LiveFile.of(own, name, data.manifest), begins_at=(stamp, str(arch)))
        before, after = net.to(best_device()), load_net(folder / SUPERNET, data, own, name).to(best_device())
        (gain,) = gains(before, after, arch, data, [data.validation], images)
        of: dict[str, Any] = {"experiment": experiment, "method": own.the_method, "seed": own.the_seed}
        card = card_of(after, data, arch, gain.after, None, **of, finetuned=str(config))
        path = out or default_path(card, format, FINETUNED)
        batches = comparison_batches(after, data, data.validation, arch, len(data.validation))
        plain = recalibrated(after, arch, data, images)
        comparison = save_model(format, plain, after.space, card, path, batches)
        for kind in ("scratch", "resume"):
            shutil.rmtree(own.state(kind), ignore_errors=True)
    costs = (round(macs / 1e12, 6) for macs in (trainer.macs - spent, trainer.macs))
    return FineTuned(path, format, card, comparison, gain, *costs)


def print_finetuned(result: FineTuned) -> None:
    """What was written, in a few lines."""
    card, gain, check = result.card, result.gain, result.comparison
    noise = ", within noise" if gain.is_noise else ""
    say(f"{result.path}: {card.experiment} {card.method}-{card.seed}, {card.finetuned}")
    say(f"  arch        {card.arch}")
    say(f"  cost        {macs_text(card.macs)} MACs, {card.params:,} parameters")
    say(f"  validation  {gain.before:.2f} → {gain.after:.2f} % ({gain.points:+.2f} ± {gain.error:.2f} points{noise})")
    say(f"  training    {result.own_tmacs:.3f} TMACs, {result.train_tmacs:.3f} with the supernet's")
    within = f"logits within {check.max_logit_difference:.1e}"
    say(f"  checked     {check.images:,} validation images: same top-1 as PyTorch, {within}")
