"""BigNAS by its own paper (arXiv 2003.11142, §3.1): the sandwich from blocks that begin as the identity.

Update: as `bignas`, but γ = 0 at the start in the last BN of each residual block (`zero_gamma`), and a rate that
decays exponentially to a constant ending.
"""

from __future__ import annotations

from dεps.core.schema import checked
from dεps.methods import bignas
from dεps.methods.base import Look, Setup
from dεps.methods.bignas import Sandwich
from dεps.methods.schedule import ExponentialSchedule

LOOK = Look("BigNAS (as its paper)", "#44AA99", 50)


@checked
class Options(bignas.Options):
    """Keys of a method that uses this one."""

    #: begin with each residual block as the identity
    zero_gamma: bool = True


def build(options: Options, setup: Setup) -> Sandwich:
    """The method for `setup`, with its own number of epochs."""
    setup = setup.longer(options.epochs_ratio)
    cosine = setup.schedule()
    schedule = ExponentialSchedule(cosine.base, cosine.steps, cosine.warmup)
    return Sandwich(options, setup, schedule, options.zero_gamma)
