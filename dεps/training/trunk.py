"""The `full_model` section of an experiment: which points of the full model's trajectory are kept to branch from."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from pydantic import Field

from dεps.core.schema import checked


@checked
class FullModelConfig:
    """Which states of the trunk to keep."""

    #: shares of all epochs after which a state is kept; the end is always kept
    keep: list[Annotated[float, Field(gt=0, le=1)]] = field(default_factory=lambda: [0.25, 0.5, 0.75])

    def epochs(self, total: int) -> list[int]:
        """The epochs after which a state is kept, ascending."""
        return sorted({max(1, round(share * total)) for share in [*self.keep, 1.0]})
