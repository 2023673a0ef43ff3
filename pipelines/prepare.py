"""Stage `prepare`: from a data source to split tensors and a manifest."""

from __future__ import annotations

from pathlib import Path

from dεps.data.config import DatasetConfig
from dεps.data.prepare import prepare
from dεps.progress import progress
from dεps.resume import Checkpoints, work_folder, work_key
from dεps.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write `<split>.safetensors` and `manifest.json`."""
    config, parent = context.section(DatasetConfig, "dataset"), context.state("resume")

    def keeping(split: str, files: str) -> Checkpoints:
        folder = work_folder(parent / split, work_key(config.size, config.channels, files), context.label)
        return Checkpoints(folder, context.checkpoint().seconds, keep=None)

    manifest = prepare(config, out, progress, keeping)
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest["images"].items())
    print(f"{context.label}: {counts}, {len(manifest['classes'])} classes")


if __name__ == "__main__":
    run("prepare", work, out=Context.data_folder)
