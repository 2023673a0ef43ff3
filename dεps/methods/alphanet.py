"""AlphaNet (arXiv 2102.07954): BigNAS (cosine) distilled by an adaptive α-divergence, with clipped gradients.

Update: as `bignas`, but a subnet's loss is, image by image, the larger of two α-divergences from the full model's
distribution, with importance clipped at β (`AdaptiveAlpha`), and no element of the summed gradients is larger than 1.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dεps.core.schema import checked
from dεps.methods import bignas
from dεps.methods.base import LARGEST, Look, Setup
from dεps.methods.bignas import Sandwich
from dεps.methods.losses import AdaptiveAlpha, Divergence, InPlaceDistillation

LOOK = Look("AlphaNet", "#882255", 55)


@checked
class Options(bignas.Options):
    """Keys of a method that uses this one."""

    #: what in-place distillation lessens; forward is AlphaNet's own baseline
    divergence: Divergence = "alpha"
    #: α₋ of divergence alpha
    alpha_min: Annotated[float, Field(ge=-10, lt=0)] = -1.0
    #: α₊; above 1 clipped divergences can be negative
    alpha_max: Annotated[float, Field(gt=0, le=1)] = 1.0
    #: β, at which (p/q)^α is cut off
    importance_clip: Annotated[float, Field(gt=1, le=LARGEST)] = 5.0
    #: largest absolute value of an element of the summed gradients; null: no limit
    gradient_clip: Annotated[float, Field(gt=0, le=LARGEST)] | None = 1.0


def build(options: Options, setup: Setup) -> Sandwich:
    """The method for `setup`, with its own number of epochs."""
    setup = setup.longer(options.epochs_ratio)
    alpha = AdaptiveAlpha(options.alpha_min, options.alpha_max, options.importance_clip)
    distillation = InPlaceDistillation(options.temperature, options.divergence, alpha)
    return Sandwich(options, setup, setup.schedule(), gradient_clip=options.gradient_clip, distillation=distillation)
