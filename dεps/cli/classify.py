"""`deps classify`: what an exported model sees in images."""

from __future__ import annotations

from pathlib import Path

import click

from dεps.cli._names import FILE
from dεps.core.console import say


@click.command()
@click.argument("model", type=FILE)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="So many classes an image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def classify(model: Path, images: tuple[Path, ...], top: int, as_json: bool) -> None:
    """Say what an exported MODEL sees in IMAGES, which may be folders.

    MODEL is an .onnx, .safetensors or .tflite file of `deps export`; no data and no params.yaml are needed.
    """
    from dεps.deploy.export.classify import classify as guesses
    from dεps.deploy.export.classify import to_json

    found = guesses(model, images, top)
    if as_json:
        return say(to_json(found))
    for guess in found:
        say(f"{guess.image}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in guess.top))
