"""Result files as the stages write them, with made-up numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from dvc.utils.serialize import dumps_yaml, parse_yaml
from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_objects.fs.local import localfs
from PIL import Image

from dεps.core.files import write_json
from dεps.data.manifest import prepared_folder
from dεps.workspace.decides import RUN, STAGES
from tests.conftest import made_up_manifest

#: two Pareto points, and the arch with the least of everything, which is none
POINTS = """name,pareto,arch,macs,params,val_top1,test_top1
D1E2K3,False,a,900400,9,60,60.0
D1E2K5,True,b,1000400,10,70,{top1}
D2E2K5,True,c,2000600,20,80,80.5
"""
SUMMARY = ("pareto/mean_top1", "pareto/smallest_top1", "pareto/largest_top1")


def records(scale: float, epochs: int = 3) -> list[dict[str, Any]]:
    """Training records, one an epoch."""
    return [
        {
            "epoch": n,
            "step": n,
            "phase": "full model",
            "train/loss_full": scale / n,
            "val/smallest_top1": 40.0 + scale * n,
            "val/largest_top1": 50.0 + scale * n,
            "cost/train_tmacs": scale * n,
        }
        for n in range(1, epochs + 1)
    ]


def write_results(methods: Sequence[str], experiment: str = "quick", seed: int = 0) -> None:
    """Below the working directory: a trunk and the given methods, evaluated, with a figure and the table."""
    write_json(prepared_folder(experiment) / "manifest.json", made_up_manifest())
    runs = Path("runs", experiment)
    folders = {"full_model": runs / "full_model" / str(seed)}
    folders |= {method: runs / "train" / f"{method}-{seed}" for method in methods}
    for number, (method, path) in enumerate(folders.items(), 1):
        path.mkdir(parents=True)
        (path / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records(number)))
        (path / "supernet.safetensors").write_bytes(b"weights")
        if method in methods:
            evaluated = runs / "evaluate" / f"{method}-{seed}"
            values = {name: 70.0 + number + place for place, name in enumerate(SUMMARY)}
            write_json(evaluated / "metrics.json", values)
            (evaluated / "pareto.csv").write_text(POINTS.format(top1=70.0 + number))
    report = Path("reports", "experiments", experiment)
    report.mkdir(parents=True)
    ramp = np.tile(np.arange(256, dtype=np.uint8), (64, 1))
    Image.fromarray(ramp).save(report / "pareto.png")
    (report / "results.md").write_text("made-up results\n\n| method | top-1 |\n| --- | ---: |\n| DεpS | 71.00 |\n")


def write_lock(params: Mapping[str, Any], stages: Sequence[str] = (), methods: Sequence[str] = ("deps",)) -> None:
    """What `dvc repro` writes as it makes results of `quick` here with these params: of all stages, or these anew."""
    made = {"prepare@quick": None, "full_model@quick-0": None, "reference@quick": None, "tune@quick": None}
    made |= {f"{stage}@quick-{name}-0": name for name in methods for stage in (*RUN[1:], "export")}
    lock = Path("dvc.lock")
    entries = parse_yaml(lock.read_text(), str(lock))["stages"] if lock.exists() else {}
    for item, method in made.items():
        stage, _, instance = item.replace("@quick", "@").partition("@")
        decides, folder = STAGES[stage], Path("runs/quick", stage, instance.removeprefix("-"))
        if not folder.exists() or (stages and stage not in stages):
            continue
        keys = [*decides.top, *(f"experiments.quick.{name}" for name in decides.sections)]
        keys += [f"experiments.quick.methods.{method}"] if decides.method else []
        filled = [name.replace("${item.method}", str(method)).replace("${item.seed}", "0") for name in decides.inputs]
        entries[item] = {
            "cmd": "made up",
            "deps": _hashed(Path("runs/quick", name) for name in filled),
            "params": {"params.yaml": {key: _value(params, key) for key in keys}},
            "outs": _hashed([folder] if stage in ("prepare", "export") else sorted(folder.iterdir())),
        }
    plain = json.loads(json.dumps({"schema": "2.0", "stages": entries}))  # no value stands twice, as a reference
    lock.write_text(dumps_yaml(plain))


def _hashed(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Paths that there are, with DVC's own hash of each."""
    with TemporaryDirectory() as folder:
        built = {
            path: build(HashFileDB(localfs, folder), str(path.resolve()), localfs, "md5")[2]
            for path in paths
            if path.exists()
        }
        return [{"path": path.as_posix(), "md5": found.hash_info.value} for path, found in built.items()]


def _value(params: Mapping[str, Any], key: str) -> Any:
    found: Any = params
    for name in key.split("."):
        found = found[name]
    return found
