"""Compares the results here with the published seeds of the same experiment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from dεps.core.console import plural
from dεps.core.errors import UserError
from dεps.core.params import selected
from dεps.report.numbers import LOGISTIC, numbers, spreads
from dεps.report.publishing.collect import UnfinishedError, collect
from dεps.report.publishing.results import results_of
from dεps.report.publishing.seed import PUBLISHED, PublishedSeed, read_seeds
from dεps.report.verify.verification import Number, Verification, compared, enough
from dεps.workspace.identity import FULL_MODEL


def verify_published(
    params: dict[str, Any], experiment: str, changed: Callable[[Collection[str]], set[str]]
) -> Verification:
    """Compare each selected seed that is finished and published: its files' hashes, and where these differ its numbers.

    `changed` as for `dεps.report.publishing.collect`. Raises `UserError` where no selected seed is both, where data or
    params are others than the published, or where numbers differ and too few seeds are published to say how far
    seeds would.
    """
    folder = PUBLISHED / experiment
    known = {one.seed: one for one in read_seeds(folder)}
    if not (seeds := [seed for seed in selected(params, "seeds") if seed in known]):
        raise UserError(
            f"params.yaml selects no published seed of {experiment}; {folder} has {', '.join(map(str, known))}"
        )
    here: dict[int, PublishedSeed] = {}
    unfinished: list[UnfinishedError] = []
    for seed in seeds:
        try:
            here[seed] = collect(params, experiment, seed, changed)
        except UnfinishedError as error:
            unfinished.append(error)
    if not here:
        raise unfinished[0]
    pairs = [(one, known[seed]) for seed, one in here.items()]
    code = set[str]()
    for one, there in pairs:
        if found := there.other_experiment(one):
            raise UserError(
                f"{folder} and what is here differ in {'; '.join(found)}, so that {experiment} is another experiment; "
                "to compare, select it as the published params.yaml says"
            )
        code |= set(there.other_code(one))
    same, other, left = [], [], []
    for one, there in pairs:
        mine, theirs = _files(one), _files(there)
        left += sorted(mine.keys() - theirs.keys())
        for path in sorted(mine.keys() & theirs.keys()):
            (same if mine[path] == theirs[path] else other).append(path)
    if not same and not other:
        raise UserError(f"{folder} has none of the selected methods; nothing can be compared")
    held = _compared([one for one, _ in pairs], [there for _, there in pairs], known.values()) if other else []
    beside = f"{_named(here)} of {folder}"
    if left_out := [seed for seed in seeds if seed not in here]:
        beside += f" ({_named(left_out)} {'are' if len(left_out) > 1 else 'is'} not finished here)"
    return Verification(experiment, same, other, sorted(code), held, left, beside)


def _compared(
    here: Sequence[PublishedSeed], there: Sequence[PublishedSeed], known: Iterable[PublishedSeed]
) -> list[Number]:
    """Each number of the seeds here, which are `there` too, beside the spread over all that are `known`."""
    folder = PUBLISHED / there[0].experiment
    for where, own in (("here", here), (folder, there)):
        if without := [one.seed for one in own if FULL_MODEL not in set(one.archs.kind)]:
            raise UserError(f"{where}: stage reference has not run for {_named(without)}; nothing can be compared")
    mine, theirs, all_ = (results_of(list(own)) for own in (here, there, known))
    if not mine or not theirs or not all_:
        raise UserError(f"{folder} and what is here share no method that is whole; nothing can be compared")
    spread = spreads(numbers(all_.every))
    found = compared(numbers(mine.every), numbers(theirs.every), spread)
    if any(one.here != one.committed and one.of != LOGISTIC for one in found) and not (spread and enough(spread)):
        count = plural(len(all_.seeds), "seed")
        raise UserError(f"numbers differ, and with {count} in {folder} too little is known of the spread over seeds")
    return found


def _named(seeds: Collection[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _files(one: PublishedSeed) -> dict[str, str]:
    """MD5 of the stages' files, by item, seed and path."""
    items = one.provenance["results"].items()
    return {f"{item}-{one.seed}/{path}": value for item, files in items for path, value in files.items()}
