"""`python -m benchmarks`: ratios of our work to the same work done plainly, and how both grow."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmarks import batches, evaluation, growth, limit, pipeline, report, search, step, study
from benchmarks.evaluation import QUICK, Images
from benchmarks.growth import Growth
from benchmarks.timing import Comparison
from dεps.core.device import set_up
from dεps.core.files import write_atomic
from dεps.core.process import settle, threads

Work = Callable[[], "Comparison | tuple[Comparison, ...] | list[Comparison] | None"]


def full() -> tuple[list[Work], list[Callable[[], Growth]]]:
    """All comparisons and curves, of the sizes that count."""
    return [
        lambda: pipeline.starts(5),
        lambda: pipeline.nothing_to_do(3),
        lambda: step.against_plain("mbv3_micro", 64, 8, 9),
        lambda: step.against_plain("mbv3_32", 64, 1, 2),
        lambda: limit.against_products("mbv3_micro", 64, 9),
        lambda: limit.against_products("mbv3_32", 64, 2),
        lambda: limit.native_against_torch("mbv3_micro", 64, 9),
        lambda: limit.native_against_torch("mbv3_32", 64, 7, 1.4),
        lambda: step.against_public("mbv3_micro", 64, 2, 5),
        lambda: step.against_public("mbv3_32", 64, 2, 2),
        lambda: step.memory("mbv3_32", 64, 2),
        lambda: batches.against_loader(6000, 64, 3),
        lambda: batches.share_of_step("mbv3_micro", 64, 7),
        lambda: batches.share_of_step("mbv3_32", 64, 2),
        lambda: evaluation.against_each("mbv3_micro", 100, QUICK, "channels_last", 2),
        lambda: search.against_finder("mbv3_32", 50_000, 2),
        lambda: study.against_scratch(12, 8, 200, 2),
        lambda: pipeline.tracking(4, 2),
        lambda: pipeline.cheap_items([36, 76, 150, 300], with_dvc=76),
        lambda: pipeline.part_of_repro(2),
        pipeline.whole_repro,
    ], [
        lambda: growth.step_time("mbv3_micro", [16, 32, 64, 128], 3),
        lambda: growth.evaluation_time("mbv3_micro", [10, 20, 40, 80], Images(400, 400, 0)),
        lambda: growth.study_time([4, 8, 16], 1),
        lambda: growth.study_time([4, 8, 16], 2),
        lambda: growth.memory(["mbv3_micro", "mbv3_micro_32", "mbv3_micro_64", "mbv3_32"], 16),
    ]


def tiny() -> tuple[list[Work], list[Callable[[], Growth]]]:
    """The same code on next to nothing, to see that it runs."""
    return [
        lambda: pipeline.starts(1),
        lambda: step.against_plain("mbv3_micro", 4, 1, 1),
        lambda: limit.against_products("mbv3_micro", 4, 1),
        lambda: limit.native_against_torch("mbv3_micro", 4, 1),
        lambda: step.against_public("mbv3_micro", 4, 1, 1),
        lambda: step.memory("mbv3_micro", 4, 1),
        lambda: batches.against_loader(64, 16, 1),
        lambda: batches.share_of_step("mbv3_micro", 4, 1),
        lambda: evaluation.against_each("mbv3_micro", 3, Images(40, 20, 20), "torch's own layout", 1),
        lambda: search.against_finder("mbv3_micro", 2000, 1),
        lambda: study.against_scratch(6, 4, 64, 1),
        lambda: pipeline.cheap_items([4], with_dvc=4),
        pipeline.whole_repro,
    ], [
        lambda: growth.step_time("mbv3_micro", [2, 4], 1),
        lambda: growth.evaluation_time("mbv3_micro", [1, 2], Images(20, 20, 0)),
        lambda: growth.memory(["mbv3_micro", "mbv3_micro_32"], 2),
    ]


def _each(works: list[Work]) -> Iterator[Comparison]:
    for work in works:
        found = work()
        yield from () if found is None else [found] if isinstance(found, Comparison) else found


def main() -> None:
    """Print a line a comparison, then write the table and the figure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--tiny", action="store_true", help="next to nothing, to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder (default: %(default)s)")
    options = parser.parse_args()
    settle(portable=False)
    torch.set_num_threads(threads())  # as our commands have it, and the other sides too
    set_up()
    began, comparisons, curves = time.time(), list[Comparison](), list[Growth]()
    options.out.mkdir(parents=True, exist_ok=True)
    picture, page = options.out / "benchmarks.svg", options.out / "benchmarks.md"

    def add(line: str) -> None:
        """The page is whole after each line, whatever comes."""
        print(f"[{time.time() - began:4.0f} s] {line}", flush=True)
        if curves:
            growth.draw(curves, picture)
        write_atomic(page, report.markdown(comparisons, curves, picture))

    works, growths = tiny() if options.tiny else full()
    for comparison in _each(works):
        comparisons.append(comparison)
        add(report.line(comparison))
    for curve in growths:
        curves.append(curve())
        add(f"{curves[-1].title}: exponent {curves[-1].exponent:.2f}")
    print(f"written: {page}")


if __name__ == "__main__":
    main()
