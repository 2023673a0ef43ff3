"""RSS-short (arXiv 2204.09210): RSS for as many epochs as the full model alone.

Update: as RSS's.
"""

from __future__ import annotations

from dεps.core.schema import checked
from dεps.methods import rss
from dεps.methods.base import Look, Multiple
from dεps.methods.rss import build as build

LOOK = Look("RSS-short", "#E69F00", 70)


@checked
class Options(rss.Options):
    """RSS's options, with another number of epochs where nothing is said."""

    epochs_ratio: Multiple = 1.0
