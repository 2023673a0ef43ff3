"""A crate holds what is published, and metadata that its files bear out."""

import builtins
import json
import re
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from rocrate.rocrate import ROCrate

from dεps.cli.main import main
from dεps.core.errors import UserError
from dεps.core.hashing import sha256
from dεps.core.params import read_params
from dεps.report import claims as claims_of_papers
from dεps.report.publishing import benchmark
from dεps.report.publishing.crate import write_crate
from dεps.report.publishing.publish import publish
from dεps.report.publishing.seed import PUBLISHED
from tests.conftest import ROOT
from tests.tools.published import write_project


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Two published seeds of made-up results, and who publishes them."""
    write_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    list(publish(read_params(), "quick", [], lambda names: set()))
    Path("CITATION.cff").write_bytes((ROOT / "CITATION.cff").read_bytes())
    return tmp_path


def test_a_crate_read_back_says_what_the_files_say(project, monkeypatch):
    said = {"order": 1, "sentence": "RSS costs less than DεpS", "paper": "RSS", "place": "table 1", "below": 1.0}
    said |= {"metric": "cost/train_tmacs", "quantity": "ratio", "method": "rss", "against": "deps"}
    claim = claims_of_papers.Claim(**said, published={"m": 0.5}, experiments=["quick"])
    monkeypatch.setattr(claims_of_papers, "claims", lambda: {"cheaper": claim})
    result = CliRunner().invoke(main, ["crate", "quick", "quick.zip"])
    assert result.exit_code == 0, result.output
    with zipfile.ZipFile("quick.zip") as archive:
        archive.extractall("out")
        names = set(archive.namelist())
    crate = ROCrate("out")  # raises where the metadata is not that of a crate
    assert f"quick.zip: {len(names) - 1} files, " in result.output
    published = {path.relative_to(PUBLISHED).as_posix() for path in PUBLISHED.glob("quick/seed-*/*")}
    assert len(published) == 10
    assert published | {"README.md", "CITATION.cff", "claims.json", "figures/pareto.svg", "figures/results.md"} <= names
    entities = {entity.id: entity for entity in crate.data_entities}
    assert set(entities) == names - {"ro-crate-metadata.json"}
    for name, entity in entities.items():
        content = Path("out", name).read_bytes()
        assert (entity["sha256"], entity["contentSize"]) == (sha256(content), str(len(content)))
    for name in published:
        assert Path("out", name).read_bytes() == (PUBLISHED / name).read_bytes()
    assert benchmark.published("quick", "out").seeds == [0, 1]

    root = crate.root_dataset
    assert crate.name == "quick: once-for-all training methods compared"
    rows = pd.concat([pd.read_csv(path) for path in PUBLISHED.glob("quick/seed-*/archs.csv")])
    measured = int((rows.val_top1.notna() | rows.test_top1.notna()).sum())
    assert measured < len(rows)  # searched archs that were predicted only
    assert crate.description.startswith(f"{measured} evaluations of archs under DεpS, RSS, 2 seeds, on m, ")
    assert root["license"] == "https://spdx.org/licenses/MIT"
    assert [(one.type, one["name"]) for one in root["creator"]] == [("Organization", "The dεps developers")]
    assert root["citation"].id == "https://arxiv.org/abs/2407.06167"
    assert [one["name"] for one in root["citation"]["author"]][::6] == ["Aditya Annavajjala", "Alexey Tumanov"]
    values = {one["name"]: one["value"] for one in root["additionalProperty"]}
    params = read_params()["experiments"]["quick"]
    assert values["train.epochs"] == json.dumps(params["train"]["epochs"])
    assert values["methods.deps.shrink_start"] == json.dumps(params["methods"]["deps"]["shrink_start"])
    mentions = {one.id: one for one in root["mentions"]}
    assert {entity.id for entity in mentions["#seed-1"]["result"]} == {name for name in published if "seed-1" in name}
    facts = json.loads((PUBLISHED / "quick/seed-0/provenance.json").read_text())["data"]
    assert mentions["#seed-1"]["object"]["identifier"] == facts["hash"]
    assert "description" not in mentions["#seed-0"].properties()  # machine and commit are not noted here
    claims = {row["claim"]: row for row in json.loads(Path("out/claims.json").read_text())["claims"]}
    assert {f"#claims/{name}" for name in claims} == {name for name in mentions if name.startswith("#claims/")}
    assert list(claims) == ["cheaper"]
    assert claims["cheaper"]["verdict"] == "undecided"
    claim = mentions["#claims/cheaper"]
    assert (claim["text"], claim["citation"]) == ("RSS costs less than DεpS", "RSS: table 1")
    assert re.fullmatch(r"in the paper 0\.5 × \(m\); here .*: undecided.*", claim["description"])
    graph = json.loads(Path("out/ro-crate-metadata.json").read_text())["@graph"]
    ids = [entity["@id"] for entity in graph]
    assert len(ids) == len(set(ids))


def test_what_a_crate_lacks_is_one_line(project, monkeypatch):
    text = Path("CITATION.cff").read_text()
    Path("CITATION.cff").write_text(text.replace("license: MIT\n", ""))
    with pytest.raises(UserError, match=r"^CITATION.cff has no license; a crate needs title, authors and license$"):
        write_crate("quick", Path("quick.zip"))
    Path("CITATION.cff").unlink()
    with pytest.raises(UserError, match=r"^CITATION.cff cannot be read \(.*\); expected who publishes"):
        write_crate("quick", Path("quick.zip"))
    for name in ("quick.tar", "nowhere/quick.zip"):
        with pytest.raises(UserError, match=rf"^{name}: expected the name of a .zip in a folder that is there$"):
            write_crate("quick", Path(name))
    with pytest.raises(UserError, match=r"^reports/published/none holds no published seeds; 'deps publish none' "):
        write_crate("none", Path("quick.zip"))
    load = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("rocrate"):
            raise ImportError
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        UserError, match=r"^a crate needs the package rocrate; run: pip install 'deps-workbench\[crate\]'$"
    ):
        write_crate("quick", Path("quick.zip"))
    assert not Path("quick.zip").exists()


def test_seeds_without_what_was_trained_alone_have_no_figures_yet(project):
    for path in PUBLISHED.glob("quick/seed-*"):
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    list(publish(read_params(), "quick", [0], lambda names: {"reference@quick"}))
    names = write_crate("quick", Path("quick.zip"))
    assert sorted(names)[:2] == ["CITATION.cff", "README.md"]
    assert {name.split("/")[0] for name in names} == {"CITATION.cff", "README.md", "quick"}
