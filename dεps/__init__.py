"""The public face: train a once-for-all supernet, cut subnets out of it, measure them.

Names are imported when they are first used, so that `import dεps` takes milliseconds and needs no torch.
`import deps` gives the same objects. docs/python_api.md shows all of them at work.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dεps.core.errors import UserError
    from dεps.data.config import AugmentConfig
    from dεps.data.splits import PreparedData
    from dεps.deploy.export.subnet import save_subnet
    from dεps.deploy.serve import Server
    from dεps.evaluation.accuracy import accuracies, recalibrated
    from dεps.methods.registry import method
    from dεps.nets.extract import extract
    from dεps.nets.files import load_supernet, save_supernet
    from dεps.nets.supernet import Supernet
    from dεps.report.publishing.benchmark import published
    from dεps.search.archs import search_archs
    from dεps.spaces.space import Arch, SearchSpace
    from dεps.training.config import TrainConfig
    from dεps.training.loop import Trainer
    from dεps.workspace.presets import load_space

__all__ = ["Arch", "AugmentConfig", "PreparedData", "SearchSpace", "Server", "Supernet", "TrainConfig"]
__all__ += ["Trainer", "UserError"]
__all__ += ["accuracies", "extract", "load_space", "load_supernet", "method", "published", "recalibrated"]
__all__ += ["save_subnet", "save_supernet", "search_archs"]
_MODULES = {
    "Arch": "spaces.space",
    "AugmentConfig": "data.config",
    "PreparedData": "data.splits",
    "SearchSpace": "spaces.space",
    "Server": "deploy.serve",
    "Supernet": "nets.supernet",
    "TrainConfig": "training.config",
    "Trainer": "training.loop",
    "UserError": "core.errors",
    "accuracies": "evaluation.accuracy",
    "extract": "nets.extract",
    "load_space": "workspace.presets",
    "load_supernet": "nets.files",
    "method": "methods.registry",
    "published": "report.publishing.benchmark",
    "recalibrated": "evaluation.accuracy",
    "save_subnet": "deploy.export.subnet",
    "save_supernet": "nets.files",
    "search_archs": "search.archs",
}


if not TYPE_CHECKING:  # to type checkers other names are errors

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'dεps' has no attribute {name!r}; its public names are {', '.join(__all__)}")
        value = globals()[name] = getattr(import_module(f"dεps.{_MODULES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*(name for name in globals() if name.startswith("__")), *__all__})
