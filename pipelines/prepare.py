"""Stage `prepare`: from a data source to split tensors and a manifest."""

from __future__ import annotations

from pathlib import Path

from dεps.core.console import progress, say
from dεps.core.hashing import digest
from dεps.data.config import DatasetConfig
from dεps.sources.prepare import prepare
from dεps.workspace.decides import code_hash
from dεps.workspace.resume import Checkpoints, work_folder
from dεps.workspace.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write `<split>.safetensors` and `manifest.json`."""
    config, parent = context.section(DatasetConfig, "dataset"), context.state("resume")

    def keeping(split: str, files: str) -> Checkpoints:
        key = digest([config.image_size, config.channels, config.crop, files, code_hash("prepare")])
        folder = work_folder(parent / split, key, context.label)
        return Checkpoints(folder, context.checkpoint().seconds, keep=None)

    manifest = prepare(config, out, progress, keeping)
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest["images"].items())
    if held := manifest.get("held_out"):
        share = f"{100 * config.holdout:g} % of train{' each' if held[1:] else ''}, seed {config.holdout_seed}"
        say(f"{context.label}: {' and '.join(held)} held out ({share}), since the source has none")
    if twice := manifest["shared_images"]:
        say(f"{context.label}: {twice:,} images are in two splits, which dataset.duplicates allows")
    say(f"{context.label}: {counts}, {len(manifest['classes'])} classes")


if __name__ == "__main__":
    run("prepare", work, out=Context.data_folder)
