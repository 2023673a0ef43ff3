"""The study of a published experiment: what stage `tune` has written, in a folder beside the seeds.

    reports/published/<experiment>/study/
    ├── trials.csv, points.csv, curves.csv, confirmation.csv, best.yaml,
    │   summary.json                 as stage `tune` writes them, but for the path in best.yaml's head
    ├── params.yaml                   the sections of the experiment's params that decide it, with `tuning`
    └── provenance.json               hashes of data, code, the stages' files as in dvc.lock, and these files

A study is one whole: unlike seeds, studies do not merge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from dεps.core.errors import UserError
from dεps.core.hashing import sha256
from dεps.core.params import read_params, section
from dεps.data.manifest import read_manifest
from dεps.report.publishing.collect import (
    check_files,
    check_methods_code,
    check_ran,
    code_of,
    facts_of,
    hashes,
    own_params,
    read_lock,
)
from dεps.report.publishing.seed import (
    CURE,
    FORMAT,
    PARAMS,
    PROVENANCE,
    PUBLISHED,
    PublishedSeed,
    json_text,
    read_checked,
)
from dεps.tuning.identity import STAGE
from dεps.workspace.decides import deciding
from dεps.workspace.identity import FULL_MODEL
from dεps.workspace.outputs import BEST, HISTORY, IMPORTANCE, STUDY, SUMMARY
from dεps.workspace.stage import Context

FOLDER = "study"
#: of stage `tune`; importances are computed from the trials by the code that reads them
FILES = (*(table.file for table in STUDY if table is not IMPORTANCE), BEST, SUMMARY)
#: sections that a study's trials and an experiment's methods share
_SHARED = ("portable", "space", "train", "full_model")


@dataclass(frozen=True)
class PublishedStudy:
    """The files of one study, and where they come from."""

    experiment: str
    #: by name
    contents: dict[str, bytes] = field(repr=False)
    #: sections that decide it
    params: dict[str, Any] = field(repr=False)
    #: `data`, `code` and `results` as for a seed
    provenance: dict[str, Any] = field(repr=False)

    @property
    def seed(self) -> int:
        """The seed that its trials have, and the trunk that they branch from."""
        return self.params["tuning"]["seed"]

    @property
    def trials(self) -> int:
        """Their number."""
        return int(json.loads(self.contents[SUMMARY])["tune/trials"])

    def files(self) -> dict[str, bytes]:
        """Content of each file, in the order above."""
        made = self.contents | {PARAMS: yaml.safe_dump(self.params, sort_keys=False, allow_unicode=True).encode()}
        facts = {key: dict(sorted(self.provenance[key].items())) for key in ("data", "code", "results")}
        sums = {name: sha256(content) for name, content in made.items()}
        head = {"format": FORMAT, "experiment": self.experiment}
        return made | {PROVENANCE: json_text({**head, **facts, "sha256": sums}).encode()}

    def check_fits(self, seeds: Sequence[PublishedSeed]) -> None:
        """Raise `UserError` unless it is of the data, params and trunk of an experiment's published seeds."""
        for one in seeds:
            found = [] if self.provenance["data"]["hash"] == one.provenance["data"]["hash"] else ["data"]
            mine, theirs = deciding(self.params), deciding(one.params)
            found += [f"params of {name}" for name in _SHARED if mine.get(name) != theirs.get(name)]
            images = [own["evaluate"]["recalibration_images"] for own in (mine, theirs)]
            if len(set(images)) > 1:  # accuracies would be of other BN statistics
                found.append(f"evaluate.recalibration_images ({images[0]} and {images[1]})")
            # Losses of every epoch are the trunk's; its files name more, such as keys of params that came later.
            trunks = {facts["results"][FULL_MODEL][HISTORY] for facts in (self.provenance, one.provenance)}
            if one.seed == self.seed and len(trunks) > 1:
                found.append("trunk")
            if found:
                raise UserError(
                    f"the study of {self.experiment} has other {', '.join(found)} than the published seed {one.seed}; "
                    "a published experiment is of one kind"
                )


def collect_study(
    params: dict[str, Any], experiment: str, changed: Callable[[Collection[str]], set[str]]
) -> PublishedStudy:
    """Return the study of an experiment. Arguments as for `collect`.

    Raises `UserError` where there is none, and `UnfinishedError` naming the items that have to run first.
    """
    own = section(params, "experiments", experiment)
    if not own["tuning"]["trials"]:
        raise UserError(f"experiments.{experiment}.tuning.trials is 0, so there is no study; see docs/tuning.md")
    prepare, tune = (Context(stage, experiment=experiment, params=params) for stage in ("prepare", STAGE))
    items = {
        "prepare": f"prepare@{experiment}",
        FULL_MODEL: f"{FULL_MODEL}@{experiment}-{own['tuning']['seed']}",
        STAGE: f"{STAGE}@{experiment}",
    }
    locked = read_lock()
    check_ran(f"the study of {experiment}", items.values(), changed(list(items.values())), locked)
    check_methods_code(experiment, STAGE)
    folder = tune.folder(STAGE)
    contents = {name: (folder / name).read_bytes() for name in FILES}
    there = PUBLISHED / experiment / FOLDER / BEST
    contents[BEST] = contents[BEST].replace(f"{folder / BEST}".encode(), f"{there}".encode())
    for item in items.values():
        check_files(locked[item])
    provenance = {
        "data": facts_of(read_manifest(prepare.folder("prepare", ""))),
        "code": {STAGE: code_of(STAGE)},
        "results": {key: hashes(item, folder.parent, locked) for key, item in items.items()},
    }
    return PublishedStudy(experiment, contents, own_params(params, own, (STAGE,)), provenance)


def read_study(folder: Path) -> PublishedStudy | None:
    """What a published experiment's folder holds of a study, if any.

    Raises `UserError` naming the file that is missing, changed or of another form.
    """
    place = folder / FOLDER
    if not place.exists():
        return None
    contents, provenance = read_checked(place, (*FILES, PARAMS))
    if provenance["experiment"] != folder.name:
        raise UserError(f"{place} holds the study of {provenance['experiment']}; {CURE}, or remove it")
    params = read_params(place / PARAMS, CURE)
    facts = {key: provenance[key] for key in ("data", "code", "results")}
    return PublishedStudy(folder.name, {name: contents[name] for name in FILES}, params, facts)
