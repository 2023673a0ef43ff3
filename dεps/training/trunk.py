"""The `full_model` section of an experiment: which points of the full model's trajectory are kept to branch from."""

from __future__ import annotations

from dataclasses import dataclass, field

from dεps.core.errors import UserError


@dataclass
class FullModelConfig:
    """Which states of the trunk to keep."""

    #: shares of all epochs; the end is always kept
    keep: list[float] = field(default_factory=lambda: [0.25, 0.5, 0.75])

    def check(self, where: str) -> None:
        """Raise `UserError` naming the key below `where` that has an impossible value."""
        for share in self.keep:
            if not 0.0 < share <= 1.0:
                raise UserError(f"{where}.keep holds {share}; expected shares of the epochs, above 0 up to 1")

    def epochs(self, total: int) -> list[int]:
        """The epochs after which a state is kept, ascending."""
        return sorted({max(1, round(share * total)) for share in [*self.keep, 1.0]})
