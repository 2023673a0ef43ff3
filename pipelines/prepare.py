"""Stage `prepare`: from a data source to split tensors and a manifest."""

from __future__ import annotations

from pathlib import Path

from dεps.data.config import DatasetConfig
from dεps.data.prepare import prepare
from dεps.progress import progress
from dεps.stage import Context, run


def work(context: Context, out: Path) -> None:
    """Write `<split>.safetensors` and `manifest.json`."""
    manifest = prepare(context.section(DatasetConfig, "dataset"), out, progress)
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest["images"].items())
    print(f"{context.label}: {counts}, {len(manifest['classes'])} classes")


if __name__ == "__main__":
    run("prepare", work, out=Context.data_folder)
