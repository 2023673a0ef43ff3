"""One seed of a published experiment: a folder of small text files, which git can merge with other seeds'.

    reports/published/<experiment>/seed-<n>/
    ├── archs.csv         one row an evaluated arch of a method
    ├── runs.csv          one row a training: cost, time, machine, commit, metrics of all stages
    ├── history.csv       one row an epoch of a training
    ├── params.yaml       the experiment's params, with the methods that are here
    └── provenance.json   hashes of data, code, the stages' files as in dvc.lock, and these files

The same results give the same bytes, in whatever order and on whatever machine methods are added.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.core.hashing import sha256
from dεps.core.params import read_params
from dεps.core.tables import column, rows_where
from dεps.methods.registry import looks
from dεps.workspace.decides import deciding
from dεps.workspace.identity import FULL_MODEL, STANDALONE, flatten

PUBLISHED = Path("reports/published")
#: of the files' form; another one is refused
FORMAT = 1
ARCHS, RUNS, HISTORY, PARAMS, PROVENANCE = "archs.csv", "runs.csv", "history.csv", "params.yaml", "provenance.json"
#: of a file that is not what it was
CURE = "take it from git again"
#: what an arch was evaluated as, in the order of rows: full model alone, arch alone, Pareto point, the arch with the
#: least of everything, random arch, arch found by search
KINDS = ("full_model", "standalone", "pareto", "least", "population", "front")
#: columns that are always there, in this order; others follow by name
FIRST = {
    ARCHS: ("method", "seed", "kind", "name", "bucket", "arch", "macs", "params", "val_top1", "test_top1", "predicted"),
    RUNS: (
        *("method", "seed", "arch", "epochs", "train_tmacs"),
        *("train_seconds", "evaluate_seconds", "predict_seconds", "search_seconds"),
        *("machine", "threads", "torch", "commit", "dirty", "identity"),
    ),
    HISTORY: ("method", "seed", "epoch", "step", "phase", "phases"),
}
#: stages that train
TRAINED = (FULL_MODEL, STANDALONE, "train")
#: columns of whole numbers that may be empty
_WHOLE = ("bucket", "threads", "epochs")


@dataclass(frozen=True)
class PublishedSeed:
    """The rows of one seed, and where they come from."""

    experiment: str
    seed: int
    archs: pd.DataFrame
    runs: pd.DataFrame
    history: pd.DataFrame
    #: the experiment's section, restricted to what decides these rows
    params: dict[str, Any]
    #: `data` (the manifest's facts and `hash`), `code` (by stage, or `train/<method>`), `results` (MD5 of files by
    #: `<stage>/<instance>` without seed, as in dvc.lock), `reference` (numbers that all seeds share)
    provenance: dict[str, Any] = field(repr=False)

    @property
    def methods(self) -> list[str]:
        """Those that are here, in the order of rows, without what was trained alone."""
        names = column(self.runs, "method").tolist()
        return [name for name in names if name != FULL_MODEL and not name.startswith(f"{STANDALONE}-")]

    def _methods_only(self) -> PublishedSeed:
        """What is here of methods: nothing that was trained alone, and no numbers that all seeds share."""
        archs, runs, history = (
            rows_where(one, column(one, "method").isin(self.methods)) for one in (self.archs, self.runs, self.history)
        )
        results = {name: sums for name, sums in self.provenance["results"].items() if not _is_alone(name)}
        provenance = self.provenance | {"reference": {}, "results": results}
        return PublishedSeed(self.experiment, self.seed, archs, runs, history, self.params, provenance)

    def files(self) -> dict[str, bytes]:
        """Content of each file."""
        frames = {ARCHS: self.archs, RUNS: self.runs, HISTORY: self.history}
        texts = {name: _csv(name, frame, self._order()) for name, frame in frames.items()}
        texts[PARAMS] = yaml.safe_dump(self._ordered_params(), sort_keys=False, allow_unicode=True)
        made = {name: text.encode() for name, text in texts.items()}
        head = {"format": FORMAT, "experiment": self.experiment, "seed": self.seed}
        facts = {key: dict(sorted(self.provenance[key].items())) for key in ("data", "code", "reference", "results")}
        sums = {name: sha256(content) for name, content in made.items()}
        return made | {PROVENANCE: json_text({**head, **facts, "sha256": sums}).encode()}

    def _order(self) -> list[str]:
        """All runs: the full model, archs alone, methods in the order of legends, those of one file by name."""
        places = {name: place for place, name in enumerate(looks())}
        own = self.params["methods"]

        def key(name: str) -> tuple[int, int, str]:
            if name not in own:
                return (0 if name == FULL_MODEL else 1, 0, name)
            return (2, places.get(own[name]["method"], len(places)), name)

        return sorted(dict.fromkeys(column(self.runs, "method")), key=key)

    def _ordered_params(self) -> dict[str, Any]:
        own = self.params["methods"]
        return self.params | {"methods": {name: own[name] for name in self._order() if name in own}}

    def differences(self, other: PublishedSeed) -> list[str]:
        """What makes the results two kinds, of the runs that both have; empty where they are of one kind."""
        stages = self.other_code(other)
        return self.other_experiment(other) + ([f"code of {', '.join(stages)}"] if stages else [])

    def other_code(self, other: PublishedSeed) -> list[str]:
        """Stages that both have whose code differs, as `train/<method>` where it is a method's."""
        codes = [one.provenance["code"] for one in (self, other)]
        return [key for key in codes[0] if key in codes[1] and codes[0][key] != codes[1][key]]

    def other_experiment(self, other: PublishedSeed) -> list[str]:
        """Differences in the data, and in params that decide results of the methods that both have."""
        found = []
        data = [one.provenance["data"]["hash"] for one in (self, other)]
        if data[0] != data[1]:
            found.append(f"data ({data[0]} and {data[1]})")
        shared = [name for name in self.methods if name in other.methods]
        mine, theirs = (_deciding(one.params, shared) for one in (self, other))
        keys = [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        values = [f"{key} ({mine.get(key, 'not there')} and {theirs.get(key, 'not there')})" for key in keys[:3]]
        if keys:
            found.append(f"params {', '.join(values)}" + (f" and {len(keys) - 3} more" if len(keys) > 3 else ""))
        return found

    def with_(self, new: PublishedSeed) -> PublishedSeed:
        """This seed with what `new` has beside it; what both have stays as it is.

        On another machine what is trained alone has other bits. Methods may come from there all the same, with a trunk
        of their own; what was trained alone there is left out.

        Raises `UserError` where they are of two kinds, or where the same run has other results.
        """
        check_one_kind([self, new], f"results here and those published of seed {self.seed}")
        mine, theirs = self.provenance["results"], new.provenance["results"]
        others = [name for name in mine if name in theirs and mine[name] != theirs[name]]
        if not all(map(_is_alone, others)):
            where = PUBLISHED / self.experiment / f"seed-{self.seed}"
            raise UserError(
                f"{where} holds other results of {', '.join(others)} with the same code, params and data, as another "
                "machine makes them; remove the folder to publish these instead"
            )
        if others:
            if more := [name for name in theirs if name.startswith(f"{STANDALONE}/") and name not in mine]:
                raise UserError(
                    f"{', '.join(more)} and the published full model of seed {self.seed} are of two machines; "
                    "publish it from the full model's, or only methods: take what is published as standalone"
                )
            new = new._methods_only()
        provenance = {key: {**self.provenance[key], **new.provenance[key]} for key in ("code", "reference", "results")}
        params = self.params | {"methods": {**self.params["methods"], **new.params["methods"]}}
        return PublishedSeed(
            self.experiment,
            self.seed,
            _joined(self.archs, new.archs, "method", "kind"),
            _joined(self.runs, new.runs, "method"),
            _joined(self.history, new.history, "method"),
            params,
            {**self.provenance, **provenance},
        )


def _is_alone(name: str) -> bool:
    """Whether results, named as in `provenance`, are of the full model or of an arch trained alone."""
    return name.removeprefix("reference/").partition("/")[0] in (FULL_MODEL, STANDALONE)


def _deciding(params: Mapping[str, Any], methods: Sequence[str]) -> dict[str, str]:
    """The values that decide results, by dotted keys; the data's own hash stands for the data set."""
    own = {key: value for key, value in deciding(params).items() if key != "dataset"}
    return flatten(own | {"methods": {name: params["methods"][name] for name in methods}})


def check_one_kind(seeds: Iterable[PublishedSeed], what: str) -> None:
    """Raise `UserError`, which says what differs, unless all are of the same code, params and data."""
    for one, other in combinations(seeds, 2):
        if one.seed != other.seed and (copied := _trained_alike(one, other)):
            raise UserError(
                f"{what}: seeds {one.seed} and {other.seed} have the same bits of {copied[0]}; "
                "a copy of a seed is no other seed"
            )
        if found := one.differences(other):
            pair = "" if one.seed == other.seed else f" (seeds {one.seed} and {other.seed})"
            raise UserError(
                f"{what}{pair} differ in {'; '.join(found)}; a published experiment is of one code, params and data"
            )


def _trained_alike(one: PublishedSeed, other: PublishedSeed) -> list[str]:
    """Trainings whose files, weights included, are the same in both, which two seeds never give."""
    mine, theirs = one.provenance["results"], other.provenance["results"]
    return [key for key in mine if key.partition("/")[0] in TRAINED and mine[key] and mine[key] == theirs.get(key)]


def _joined(old: pd.DataFrame, new: pd.DataFrame, *keys: str) -> pd.DataFrame:
    """The old rows, and those of the new whose keys the old has not."""
    known = set(zip(*(old[key] for key in keys), strict=True))
    kept = [key not in known for key in zip(*(new[key] for key in keys), strict=True)]
    added = rows_where(new, kept)
    return old if added.empty else pd.concat([old, added], ignore_index=True)


def _csv(name: str, frame: pd.DataFrame, order: Sequence[str]) -> str:
    """The table as text: rows by method and kind, columns in a fixed order, numbers to the last bit."""
    rank = {method: place for place, method in enumerate(order)}
    places = column(frame, "method").map(rank) * len(KINDS)
    if "kind" in frame:
        places += column(frame, "kind").map({kind: place for place, kind in enumerate(KINDS)})
    columns = [*FIRST[name], *sorted(set(frame) - set(FIRST[name]))]
    own = frame.iloc[places.argsort(kind="stable")].reindex(columns=columns)
    for key in set(_WHOLE) & set(columns):
        own[key] = own[key].astype("Int64")
    return own.to_csv(index=False, lineterminator="\n")


def json_text(data: Mapping[str, Any]) -> str:
    """Return JSON with a line for each key of each mapping at the top, so that git's differences can be read."""

    def compact(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)

    def block(value: Any) -> str:
        if not isinstance(value, Mapping) or not value:
            return compact(value)
        return "{\n" + ",\n".join(f"  {compact(key)}: {compact(inner)}" for key, inner in value.items()) + "\n }"

    return "{\n" + ",\n".join(f" {compact(key)}: {block(value)}" for key, value in data.items()) + "\n}\n"


def read_checked(folder: Path, names: Iterable[str]) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the content of files in a folder, and what its `provenance.json` says, by whose hashes they are checked.

    Raises `UserError` naming the file that is missing, changed or of another form.
    """
    provenance = read_json(folder / PROVENANCE, f"'git checkout {folder}'")
    if provenance.get("format") != FORMAT:
        raise UserError(f"{folder / PROVENANCE} is of format {provenance.get('format')}; this version reads {FORMAT}")
    contents = {}
    for name in names:
        try:
            contents[name] = (folder / name).read_bytes()
        except OSError as error:
            raise UserError(f"{folder / name} cannot be read ({error.strerror}); {CURE}") from None
        if sha256(contents[name]) != provenance["sha256"].get(name):
            raise UserError(f"{folder / name} is not what {PROVENANCE} says; {CURE}")
    return contents, provenance


def read_seed(folder: Path) -> PublishedSeed:
    """What a folder holds. Raises `UserError` as `read_checked`, and where it is another seed's."""
    contents, provenance = read_checked(folder, (ARCHS, RUNS, HISTORY, PARAMS))
    experiment, seed = provenance["experiment"], provenance["seed"]
    if folder.resolve().parts[-2:] != (experiment, f"seed-{seed}"):
        raise UserError(f"{folder} holds seed {seed} of {experiment}; a copy is no other seed: {CURE}, or remove it")
    facts = {key: provenance[key] for key in ("data", "code", "reference", "results")}
    archs, runs, history = (_frame(contents[name]) for name in (ARCHS, RUNS, HISTORY))
    for name, frame in ((ARCHS, archs), (RUNS, runs), (HISTORY, history)):
        if set(column(frame, "seed")) != {seed}:
            raise UserError(f"{folder / name} holds rows of another seed than {seed}; {CURE}")
    params = read_params(folder / PARAMS, CURE)
    return PublishedSeed(experiment, seed, archs, runs, history, params, facts)


def _frame(content: bytes) -> pd.DataFrame:
    names = ("method", "kind", "name", "arch", "phase", "phases", "machine", "commit", "torch", "identity")
    texts: Any = dict.fromkeys(names, str)  # a commit or an identity may be all digits
    texts["bucket"] = "Int64"  # whole, or empty
    return pd.read_csv(io.BytesIO(content), dtype=texts)


def seed_folders(folder: Path) -> list[Path]:
    """Folders of the seeds of a published experiment, ascending. Raises `UserError` naming one without a number."""
    found = [path for path in folder.glob("seed-*") if path.is_dir()]
    if wrong := [path for path in found if not path.name.removeprefix("seed-").isdecimal()]:
        raise UserError(f"{wrong[0]}: expected the seed's number after 'seed-'; rename the folder, or remove it")
    return sorted(found, key=lambda path: int(path.name.removeprefix("seed-")))


def read_seeds(folder: Path) -> list[PublishedSeed]:
    """All seeds of a published experiment. Raises `UserError` where they are of several kinds."""
    seeds = [read_seed(path) for path in seed_folders(folder)]
    check_one_kind(seeds, f"seeds in {folder}")
    return seeds
