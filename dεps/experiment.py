"""What most stages start from: the experiment's prepared data."""

from __future__ import annotations

from dεps.data.config import DatasetConfig
from dεps.data.splits import PreparedData
from dεps.stage import Context


def load_data(context: Context) -> PreparedData:
    """The output of stage `prepare`. Raises `UserError`."""
    return PreparedData(context.data_folder(), context.section(DatasetConfig, "dataset"))
