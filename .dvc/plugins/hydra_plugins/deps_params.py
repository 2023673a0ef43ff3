"""Makes `dvc exp run` compose as `deps params` does: the same checks, one line where anything is wrong.

DVC imports this before it composes (`plugins_path` in .dvc/config). Hydra has no hook there, so its method is replaced.
Where the project cannot be imported, DVC composes by itself; stage `check` refuses then what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from dεps.core.errors import UserError
from dεps.planning.check import composed

GROUPS = Path(__file__).resolve().parents[3] / "params"
_plain = Hydra.compose_config


def compose_config(self: Hydra, config_name: str | None, overrides: Sequence[str], **options: Any) -> DictConfig:
    """The config that `deps params` would write. Raises DVC's exception, which it shows as one line."""
    Hydra.compose_config = _plain  # which does the work
    GlobalHydra.instance().clear()  # DVC's, which composes nothing any more
    try:
        return OmegaConf.create(composed(overrides, GROUPS)[0])
    except UserError as error:
        raise DvcException(str(error)) from None
    finally:
        Hydra.compose_config = compose_config


Hydra.compose_config = compose_config
