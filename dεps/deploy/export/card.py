"""What an exported model says of itself: classes, preprocessing, what was measured. Nothing here imports torch."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from dεps.core.errors import UserError
from dεps.core.schema import Channels, checked, structured
from dεps.data.folder import shorter_side

FORMAT = "deps-workbench/1"
# Anybody may have made the file: nothing in it may fill the memory.
Side = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=0, le=2**62)]


@checked(kw_only=True)
class ModelCard:
    """Metadata of one exported subnet."""

    experiment: str
    method: str
    seed: int
    #: name of the search space, and the arch as `str(arch)` writes it
    space: str
    arch: str
    #: names in the order of the logits
    classes: Annotated[list[str], Field(min_length=1, max_length=100_000)]
    #: 1 (grey) or 3 (RGB)
    channels: Channels
    #: side in pixels that images are resized and cropped to
    size: Side
    #: side of the model's input, where it is another: a second, bilinear resize
    resolution: Side
    #: per channel, in units of 1 = white
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]
    macs: Count
    params: Count
    #: name of the data set, and the hash of what was prepared of it
    data: str
    data_hash: str
    #: in percent, BN recalibrated; none where not measured
    val_top1: float | None = None
    test_top1: float | None = None
    #: binomial standard errors in points, and the numbers of images they come from; none in files of older versions
    val_std_error: float | None = None
    test_std_error: float | None = None
    val_images: int | None = None
    test_images: int | None = None
    #: the centre crop's share of the resized shorter side
    crop: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    #: how its weights were trained on after they were cut from the supernet, in words; none: not at all
    finetuned: str | None = None
    #: how weights and activations were quantised, in words; none: they are float32
    quantised: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> ModelCard:
        for key in ("mean", "std"):
            values = getattr(self, key)
            if len(values) != self.channels:
                raise ValueError(f"{key} is {values}; expected {self.channels} numbers, one a channel")
        return self

    def accuracy(self, split: str) -> str:
        """`percent` in words, with the number of images that its error comes from."""
        text, images = self.percent(split), getattr(self, f"{split}_images")
        name = {"val": "validation", "test": "test"}[split]
        return text and f"{text} % on {name}" + (f" ({images:,} images)" if images and "±" in text else "")

    def percent(self, split: str) -> str:
        """Top-1 on `val` or `test` in percent with its standard error where that is known; empty where not measured."""
        top1, error = (getattr(self, f"{split}_{key}") for key in ("top1", "std_error"))
        if top1 is None:
            return ""
        return f"{top1:.2f}" if error is None else f"{top1:.2f} ± {error:.2f}"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of one image as the model takes it."""
        return self.channels, self.resolution, self.resolution

    @property
    def preprocessing(self) -> str:
        """How an image file becomes the model's input, in words."""
        second = f"resize to {self.resolution} (bilinear, antialiased); " if self.resolution != self.size else ""
        colour = "grey" if self.channels == 1 else "RGB"
        return (
            f"decode as {colour}; resize the shorter side to {shorter_side(self.size, self.crop)} (bicubic) and crop "
            f"the centre to {self.size}; {second}divide by 255, subtract mean, divide by std; "
            "float32 in the order (batch, channel, row, column)"
        )

    def to_texts(self) -> dict[str, str]:
        """As pairs of texts, in a fixed order: what is no text becomes JSON. None is left out."""
        own = {"format": FORMAT, **asdict(self), "preprocessing": self.preprocessing}
        known = {key: value for key, value in own.items() if value is not None}
        as_json = {key: json.dumps(value, ensure_ascii=False) for key, value in known.items()}
        return {key: value if isinstance(value, str) else as_json[key] for key, value in known.items()}

    @classmethod
    def from_texts(cls, texts: dict[str, str], path: Path) -> ModelCard:
        """The inverse of `to_texts`. Raises `UserError` naming the file where it says nothing of this kind."""
        if texts.get("format") != FORMAT:
            raise UserError(f"{path} says nothing about classes and images; expected a model that 'deps export' wrote")
        kinds = {key: kind for key, kind in cls.__annotations__.items() if key in texts}
        try:
            data = {
                key: texts[key] if kind.startswith("str") else json.loads(texts[key]) for key, kind in kinds.items()
            }
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is damaged: its metadata cannot be read ({error}); export it again") from None
        return structured(cls, data, f"{path}: metadata")

    @classmethod
    def from_facts(cls, facts: dict[str, Any], where: str) -> ModelCard:
        """From a mapping that has more. Raises `UserError` naming the key below `where` that is missing or wrong."""
        return structured(cls, {key: facts[key] for key in cls.__annotations__ if key in facts}, where)
