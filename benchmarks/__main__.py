"""`python -m benchmarks`: ratios of our work to the same work done plainly, each pair timed in turn."""

from __future__ import annotations

import argparse

from benchmarks.step import sandwich


def main() -> None:
    """Print a line a comparison."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    for space in ("mbv3_micro", "mbv3_32"):
        found = sandwich(space, options.batch, options.rounds)
        print(f"{found.work}: {found.ratio:.2f} × {found.against} (wanted: {found.limit})", flush=True)


if __name__ == "__main__":
    main()
