"""Stage `train`: one method's supernet, branching from the full model's trajectory where the method begins with it."""

from __future__ import annotations

from pathlib import Path

from dεps.core.device import set_up
from dεps.core.params import section
from dεps.evaluation.inputs import load_data
from dεps.methods import registry
from dεps.spaces.space import SearchSpace
from dεps.training.config import TrainConfig
from dεps.training.loop import Trainer
from dεps.training.run import branch, train
from dεps.workspace.live import LiveFile
from dεps.workspace.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write the supernet and the history."""
    set_up()
    keys = context.keys("methods", context.the_method)
    params = section(context.params, *keys)
    registry.options(params, ".".join(keys))  # before the data is read
    config, space, data = (
        context.section(TrainConfig, "train"),
        context.section(SearchSpace, "space"),
        load_data(context),
    )
    method = registry.build(params, ".".join(keys), config.setup(space, data))
    trainer = Trainer(space, data, config, method, context.the_seed)
    branch(context, context.label, trainer)
    live = LiveFile.of(context, context.the_method, data.manifest)
    train(context, context.the_method, trainer, out, live)


if __name__ == "__main__":
    run("train", work, ("experiment", "method", "seed"))
