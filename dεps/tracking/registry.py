"""Exported subnets in MLflow's model registry: one registered model per experiment and method.

Each file of the stages `export` and `finetune` is a version that MLflow loads as ONNX; its alias is its budget:
`models:/quick-deps@small`, fine-tuned `models:/quick-deps@small-finetuned`, quantised `models:/quick-deps@small-int8`.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from dεps.core.errors import UserError
from dεps.core.files import read_json
from dεps.core.params import section, selected
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.choice import Cost, int8_remarks, worse_than
from dεps.tracking.store import Store
from dεps.tracking.today import Today, name_of
from dεps.workspace.identity import FINETUNE, digest
from dεps.workspace.outputs import MODELS
from dεps.workspace.stage import Context

STAGE = "export"
#: tag of a version and of its logged model: what it was made of
CONTENT = "deps.export"
#: numbers of a model, logged as metrics
NUMBERS = ("macs", "params", "val_top1", "val_std_error", "test_top1", "test_std_error")
#: what a logged model's file is called inside
FILE = "model.onnx"


@dataclass(frozen=True)
class _Model:
    """One exported file."""

    context: Context
    budget: str
    path: Path
    card: ModelCard
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.context.experiment}-{self.context.method}"

    @property
    def training(self) -> tuple[str, int]:
        """Name and seed of the training that its weights are from."""
        return self.context.training, self.context.the_seed


def sync_models(params: dict[str, Any], store: Store, today: Today) -> int:
    """Register exported and fine-tuned models, the best seed's on validation as aliases; returns how many changed."""
    changed = 0
    for experiment in selected(params, "names"):
        for method in selected(params, "methods"):
            own = [(STAGE, None), *((FINETUNE, budget) for budget in selected(params, "finetuned"))]
            contexts = [
                Context(stage, experiment, method, seed, params, budget=budget)
                for stage, budget in own
                for seed in selected(params, "seeds")
            ]
            if models := [model for context in contexts for model in _exported(context, today)]:
                changed += _sync_registered(store, models)
    return changed


def _exported(context: Context, today: Today) -> list[_Model]:
    folder = context.folder(context.stage)
    if not (folder / MODELS).exists():
        return []
    if today.fits(name_of(context), folder) is False:
        today.leave_out(name_of(context))
        return []
    models = []
    stage = f"the stage '{context.stage}'"
    for budget, facts in read_json(folder / MODELS, stage).items():
        where, path = f"{folder / MODELS}: {budget}", folder / f"{budget}.onnx"
        if not isinstance(facts, dict) or not isinstance(facts.get("sha256"), str):
            raise UserError(f"{where} is no mapping with a sha256; run {stage} again")
        if not path.exists():
            raise UserError(f"{path} does not exist, though {MODELS} names it; run {stage} again")
        models.append(_Model(context, budget, path, ModelCard.from_facts(facts, where), facts))
    return models


def _sync_registered(store: Store, models: list[_Model]) -> int:
    client, first = store.client, models[0]
    found = {model.training: store.run_of(model.context) for model in models}
    runs = {training: run.info.run_id for training, run in found.items() if run}
    models = [model for model in models if model.training in runs]  # else nothing says where they are from
    if not models:
        return 0
    registered = next(iter(client.search_registered_models(f"name = '{first.name}'")), None)
    if registered is None:
        client.create_registered_model(first.name, _own_tags(first), _about(first))
    known = client.search_model_versions(f"name = '{first.name}'", max_results=1000)
    versions = {version.tags.get(CONTENT): version.version for version in known}
    aliases, changed = registered.aliases if registered else {}, 0
    best: dict[str, tuple[float, str]] = {}
    for model in models:
        run_id = runs[model.training]
        # Without what no model of before had: it would be registered once more.
        facts = {key: value for key, value in model.facts.items() if key != "bytes" and value is not None}
        content = digest([facts, run_id])
        if content not in versions:
            versions[content], changed = _register(store, model, run_id, content), changed + 1
        own = model.card.val_top1 or 0.0, str(versions[content])
        best[model.budget] = max(best.get(model.budget, own), own, key=lambda one: one[0])  # of equals the first
    for budget, (_, version) in best.items():
        if str(aliases.get(budget)) != version:
            client.set_registered_model_alias(first.name, budget, version)
            changed += 1
    return changed


def _register(store: Store, model: _Model, run_id: str, content: str) -> str:
    """Create a logged model with its files and numbers, and a version of it; returns the version's number."""
    client, card, experiment = store.client, model.card, store.experiment_id(model.context.experiment)
    tags = {CONTENT: content, "budget": model.budget, "seed": str(card.seed), **_own_tags(model)}
    tags |= {
        key: str(model.facts[key])
        for key in ("max_macs", "max_ms", "ms", "sha256", "arch", *NUMBERS)
        if key in model.facts
    }
    label = f"{model.name}-{card.seed}-{model.budget}"
    # Replaces one that was incomplete when the store failed.
    for begun in client.search_logged_models([experiment], f"tags.`{CONTENT}` = '{content}'"):
        client.delete_logged_model(begun.model_id)
    logged = client.create_logged_model(experiment, label, run_id, tags, {"arch": card.arch, "space": card.space})
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "model"
        _write(model, whole, logged.model_id, run_id)
        client.log_model_artifacts(logged.model_id, str(whole))
    client.finalize_logged_model(logged.model_id, "READY")
    time = int(model.path.stat().st_mtime * 1000)
    numbers = {key: float(model.facts[key]) for key in NUMBERS if model.facts.get(key) is not None}
    keys = {key: f"{STAGE}/{model.budget}_{key}" for key in numbers}  # a budget's own: its numbers are no curve
    client.log_batch(run_id, [Metric(keys[key], numbers[key], time, 0, logged.model_id, run_id=run_id) for key in keys])
    version = client.create_model_version(
        model.name, logged.artifact_location, run_id, tags, description=_describe(model), model_id=logged.model_id
    )
    return version.version


def _write(model: _Model, folder: Path, model_id: str, run_id: str) -> None:
    """Write a model in MLflow's form, with signature and input example."""
    import numpy as np
    import onnx
    import onnxruntime
    from mlflow import onnx as flavour  # takes seconds to import, and is rarely needed
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    card = model.card
    image = TensorSpec(np.dtype(np.float32), (-1, *card.shape))
    logits = TensorSpec(np.dtype(np.float32), (-1, len(card.classes)), "logits")
    flavour.save_model(
        onnx.load(model.path),
        folder,
        mlflow_model=Model(artifact_path=model.budget, run_id=run_id, model_id=model_id),
        signature=ModelSignature(Schema([image]), Schema([logits])),
        input_example=np.zeros((2, *card.shape), np.float32),  # two images of the mean colour
        pip_requirements=[f"onnx=={onnx.__version__}", f"onnxruntime=={onnxruntime.__version__}"],
        onnx_execution_providers=["CPUExecutionProvider"],
        metadata={key: text for key, text in card.to_texts().items() if key != "classes"} | {"classes": card.classes},
        save_as_external_data=False,
    )
    shutil.copyfile(model.path, folder / FILE)  # exactly the bytes that were checked


def _own_tags(model: _Model) -> dict[str, str]:
    card = model.card
    return {"experiment": card.experiment, "method": card.method, "dataset": card.data, "space": card.space}


def _about(model: _Model) -> str:
    card = model.card
    where = section(model.context.params, "experiments", card.experiment)["space"]["name"]
    what = f"Subnets of the {card.method} supernet of experiment {card.experiment} ({card.data}, {where})"
    form = "Input: float32 (batch, channel, row, column); output: logits"
    images = f"Images: {card.preprocessing}; mean {card.mean}, std {card.std}"
    return f"{what}: under each budget the most accurate on validation. {form}. {images}."


def _describe(model: _Model) -> str:
    card = model.card
    accuracies = ", ".join(filter(None, map(card.accuracy, ("val", "test"))))
    worse = "".join(f" It {line}." for line in worse_than(model.facts))
    own = Cost.of(model.facts)
    latency = f", {own.ms:g} ms {own.predicted_by}" if own.ms is not None else ""
    cost = f"{own.limits}; {card.macs:,} MACs, {card.params:,} parameters{latency}"
    classes = ", ".join([*card.classes[:20], *(["…"] if len(card.classes) > 20 else [])])
    tuned = f" Fine-tuned: {card.finetuned}." if card.finetuned else ""
    quantised = f" {card.quantised}: {'; '.join(int8_remarks(model.facts))}." if card.quantised else ""
    return f"`{card.arch}`: {cost}, top-1 {accuracies}.{worse}{tuned}{quantised} Classes: {classes}."
