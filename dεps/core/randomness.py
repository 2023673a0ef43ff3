"""Random numbers that depend only on (seed, purpose, counters), so that a resumed or branched run draws the same."""

from __future__ import annotations

import hashlib
import random


def derive(seed: int, purpose: str, *counters: int) -> int:
    """Return a 63-bit seed that is a pure function of the arguments."""
    text = "/".join([str(seed), purpose, *(str(counter) for counter in counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def python_rng(seed: int, purpose: str, *counters: int) -> random.Random:
    """Return a `random.Random`, for sampling archs and other plain Python objects."""
    return random.Random(derive(seed, purpose, *counters))  # noqa: S311 - reproducible, not secret
