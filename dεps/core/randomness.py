"""Randomness that depends on nothing but (seed, purpose, counters).

No generator is ever carried from one step to the next, so a run that is killed and continued, or that branches
from another run's trajectory, draws exactly the numbers it would have drawn undisturbed.
"""

from __future__ import annotations

import hashlib
import random


def derive(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed that is a pure function of its arguments."""
    text = "/".join([str(seed), purpose, *(str(counter) for counter in counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def python_rng(seed: int, purpose: str, *counters: int) -> random.Random:
    """A `random.Random` for arch sampling and other work on plain Python objects."""
    return random.Random(derive(seed, purpose, *counters))  # noqa: S311 - reproducible, not secret
