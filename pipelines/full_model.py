"""Stage `full_model`: the trunk. Trains the full model once and keeps the epochs that methods may branch from."""

from __future__ import annotations

from pathlib import Path

from dεps.core.device import set_up
from dεps.evaluation.inputs import load_data
from dεps.methods import full_model
from dεps.spaces.space import SearchSpace
from dεps.training.config import FullModelConfig, TrainConfig
from dεps.training.loop import Trainer
from dεps.training.run import train
from dεps.workspace.identity import FULL_MODEL
from dεps.workspace.live import LiveFile
from dεps.workspace.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write `epoch-<n>.safetensors` for each kept epoch, the supernet and the history."""
    set_up()
    keep = context.section(FullModelConfig, "full_model")
    config, space, data = (
        context.section(TrainConfig, "train"),
        context.section(SearchSpace, "space"),
        load_data(context),
    )
    method = full_model.build(full_model.Options(), config.setup(space, data))
    trainer = Trainer(space, data, config, method, context.the_seed)
    live = LiveFile.of(context, FULL_MODEL, data.manifest)
    train(context, FULL_MODEL, trainer, out, live, keep.epochs(config.epochs))


if __name__ == "__main__":
    run(FULL_MODEL, work, ("experiment", "seed"))
