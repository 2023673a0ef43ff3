"""A published experiment as an RO-Crate (1.1): one .zip that Zenodo and other archives take, with metadata inside.

    ro-crate-metadata.json   who, what, under which licence; params, claims, data, how and where it was made
    <experiment>/study/      trials over shrink timing and the ε ramp, where there is a study
    <experiment>/seed-<n>/   rows and hashes, as in reports/published/; dεps.published reads them where it is unpacked
    figures/                 drawn of these rows, with the tables
    claims.json              what the rows say of the papers' claims
    README.md, CITATION.cff  what columns mean; how to cite

Everything in the metadata comes from these files. What they do not say is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from dεps.core.console import plural
from dεps.core.errors import UserError
from dεps.core.files import replace_atomic
from dεps.core.hashing import sha256
from dεps.core.tables import column
from dεps.report import claims
from dεps.report.files import write_files
from dεps.report.publishing.results import PublishedResults, results_of
from dεps.report.publishing.seed import ARCHS, HISTORY, PARAMS, PROVENANCE, PUBLISHED, RUNS, PublishedSeed, read_seeds
from dεps.report.publishing.study import FOLDER as STUDY_FOLDER
from dεps.report.publishing.study import PublishedStudy, read_study
from dεps.report.style import label
from dεps.workspace.identity import flatten
from dεps.workspace.outputs import BEST, CONFIRMATION, TRIAL_CURVES, TRIAL_POINTS, TRIALS
from dεps.workspace.project import template

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

CITATION, CLAIMS = Path("CITATION.cff"), "claims.json"
#: media types by the endings of files
MEDIA = {".csv": "text/csv", ".json": "application/json", ".yaml": "application/yaml", ".cff": "application/yaml"}
MEDIA |= {".md": "text/markdown", ".tex": "application/x-tex", ".svg": "image/svg+xml", ".png": "image/png"}
MEDIA |= {".pdf": "application/pdf"}
#: what the files of a seed are
WHAT = {
    ARCHS: "One row an evaluated arch of a method: MACs, parameters, top-1 on validation and test",
    RUNS: "One row a training: cost, time, machine, commit, metrics of all stages",
    HISTORY: "One row an epoch of a training",
    PARAMS: "All hyper-parameters",
    PROVENANCE: "Hashes of data, code, results and of the files beside it",
    TRIALS.file: "One row a trial of the study over shrink timing and the ε ramp: options, top-1 on validation, cost",
    TRIAL_POINTS.file: "One row a Pareto point of a trial",
    TRIAL_CURVES.file: "One row an epoch of a trial",
    CONFIRMATION.file: "One row a seed that did not choose: the default and the best trial on it",
    BEST: "The best trial's options, as deps params takes them",
}


def write_crate(experiment: str, path: Path, folder: Path = PUBLISHED) -> list[str]:
    """Write what is published of an experiment to `path`, a .zip; returns the names of the files in it.

    Raises `UserError` where nothing is published, a file is damaged, `CITATION.cff` is not there or lacks something, or
    `path` is no .zip in a folder that is there.
    """
    if path.suffix != ".zip" or not path.parent.is_dir():
        raise UserError(f"{path}: expected the name of a .zip in a folder that is there")
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError("a crate needs the package rocrate; run: pip install 'deps-workbench[crate]'") from None
    seeds = read_seeds(folder / experiment)
    if not seeds:
        raise UserError(f"{folder / experiment} holds no published seeds; 'deps publish {experiment}' writes them")
    study, citation = read_study(folder / experiment), _read_citation()
    results = results_of(seeds, folder, study)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        _write(root, seeds, study, results)
        crate = ROCrate(version="1.1")
        _describe(crate, citation, seeds)
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            _add_file(crate, file, file.relative_to(root).as_posix())
        _add_origin(crate, seeds)
        _add_claims(crate, results)
        replace_atomic(path, crate.write_zip)
    return [str(entity.id) for entity in crate.data_entities]


def _read_citation() -> dict[str, Any]:
    """Title, authors and licence of `CITATION.cff` here, which is whoever publishes."""
    try:
        data = yaml.safe_load(CITATION.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(
            f"{CITATION} cannot be read ({error}); expected who publishes, and under which licence"
        ) from None
    for key in ("title", "authors", "license"):
        if not isinstance(data, dict) or not data.get(key):
            raise UserError(f"{CITATION} has no {key}; a crate needs title, authors and license")
    return data


def _write(
    root: Path, seeds: Sequence[PublishedSeed], study: PublishedStudy | None, results: PublishedResults | None
) -> None:
    """Write all files of the crate but its metadata."""
    for one in (*seeds, *([study] if study else [])):
        folder = root / _place(one)
        folder.mkdir(parents=True)
        for name, content in one.files().items():
            (folder / name).write_bytes(content)
    (root / CITATION.name).write_bytes(CITATION.read_bytes())
    (root / "README.md").write_bytes((template() / PUBLISHED / "README.md").read_bytes())
    if results:
        (root / CLAIMS).write_text(claims.to_json(claims.tested(results)) + "\n", "utf-8")
        (root / "figures").mkdir()
        write_files(results, root / "figures")


def _place(one: PublishedSeed | PublishedStudy) -> str:
    """The folder of a seed, or of the study, in the crate."""
    return f"{one.experiment}/{STUDY_FOLDER if isinstance(one, PublishedStudy) else f'seed-{one.seed}'}"


def _describe(crate: ROCrate, citation: Mapping[str, Any], seeds: Sequence[PublishedSeed]) -> None:
    """Say of the whole what it is, whose, and what was set."""
    first, methods = seeds[0], list(dict.fromkeys(name for seed in seeds for name in seed.methods))
    rows = sum(len(seed.archs.dropna(subset=["val_top1", "test_top1"], how="all")) for seed in seeds)
    crate.name = f"{first.experiment}: once-for-all training methods compared"
    crate.description = (
        f"{rows:,} evaluations of archs under {', '.join(map(label, methods))}, "
        f"{plural(len(seeds), 'seed')}, on {first.provenance['data']['name']}, with the cost of each training. "
        "Images and weights are not included."
    )
    crate.datePublished = date.today()
    crate.license = f"https://spdx.org/licenses/{citation['license']}"
    crate.keywords = "once-for-all training, neural architecture search, supernet, benchmark"
    crate.creator = [_add_author(crate, one) for one in citation["authors"]]
    paper = citation.get("preferred-citation") or {}
    if paper.get("url"):
        article = {"@type": "ScholarlyArticle", "name": paper["title"], "datePublished": str(paper.get("year", ""))}
        entity = _add(crate, {"@id": paper["url"], **{key: value for key, value in article.items() if value}})
        entity["author"] = [_add_author(crate, one) for one in paper.get("authors", ())]
        crate.root_dataset["citation"] = entity
    crate.root_dataset["additionalProperty"] = [
        _add(crate, {"@id": f"#params/{key}", "@type": "PropertyValue", "name": key, "value": value})
        for key, value in flatten(first.params).items()
    ]


def _add_author(crate: ROCrate, author: Mapping[str, Any]) -> Any:
    """A person, or under `name` an entity, of a citation file."""
    parts = [author.get(key) for key in ("given-names", "name-particle", "family-names", "name-suffix")]
    name = author.get("name") or " ".join(filter(None, parts))
    entity = {"@id": author.get("orcid") or f"#{name.replace(' ', '-')}", "name": name}
    entity["@type"] = "Organization" if author.get("name") else "Person"
    return _add(crate, entity)


def _add(crate: ROCrate, entity: dict[str, Any]) -> Any:
    """The entity of this name, which is added if it is not there."""
    return crate.get(entity["@id"]) or crate.add_jsonld(entity)


def _add_file(crate: ROCrate, source: Path, name: str) -> None:
    content = source.read_bytes()
    facts = {"name": name, "contentSize": str(len(content)), "sha256": sha256(content)}
    facts["encodingFormat"] = MEDIA[source.suffix]
    if source.name in WHAT:
        facts["description"] = WHAT[source.name]
    crate.add_file(source, name, properties=facts)


def _add_origin(crate: ROCrate, seeds: Sequence[PublishedSeed]) -> None:
    """Say of each seed which software made it of which data, at which commits and on which machines, where noted."""
    for seed in seeds:
        facts = seed.provenance["data"]
        images = ", ".join(f"{count} {split}" for split, count in facts["images"].items())
        data = {"@id": "#data", "@type": "Dataset", "name": facts["name"], "identifier": facts["hash"]}
        data["description"] = f"{images} images, {len(facts['classes'])} classes; not included"
        action = {"@id": f"#seed-{seed.seed}", "@type": "CreateAction", "name": f"trainings of seed {seed.seed}"}
        software = {"@id": "#deps-workbench", "@type": "SoftwareApplication", "name": "dεps"}
        noted = {name: _noted(seed.runs, name) for name in ("commit", "machine", "torch")}
        texts = [f"{name} {', '.join(values)}" for name, values in noted.items() if values]
        entity = _add(crate, action | ({"description": "; ".join(texts)} if texts else {}))
        entity["instrument"], entity["object"] = _add(crate, software), _add(crate, data)
        entity["result"] = [crate.get(f"{_place(seed)}/{name}") for name in seed.files()]
        crate.root_dataset.append_to("mentions", entity)


def _noted(runs: pd.DataFrame, name: str) -> list[str]:
    """Different values of a column of runs."""
    return sorted(set(map(str, column(runs, name).dropna()))) if name in runs else []


def _add_claims(crate: ROCrate, results: PublishedResults | None) -> None:
    """Say of each claim that the rows can test what came out."""
    for row in claims.tested(results) if results else []:
        name = next(name for name, claim in claims.claims().items() if claim is row.claim)
        text = f"in the paper {row.published}; here {row.measured}: {row.verdict}"
        claim = {"@id": f"#claims/{name}", "@type": "Claim", "name": name, "text": row.claim.sentence}
        entity = _add(crate, claim | {"description": text, "citation": f"{row.claim.paper}: {row.claim.place}"})
        crate.root_dataset.append_to("mentions", entity)
