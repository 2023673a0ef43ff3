"""The command `deps`. Commands import what they need when they are called, so that `deps --help` is quick."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import NoReturn

import click

from dεps.cli.commands import (
    SHELLS,
    SectionedGroup,
    complete_experiment,
    complete_override,
    complete_space,
    completion_script,
)
from dεps.core.errors import OUT_OF_MEMORY, UserError, is_out_of_memory, one_line


class _Group(SectionedGroup):
    """Turns errors that the user can mend into one line and exit code 2."""

    def main(self, *args: object, **kwargs: object) -> NoReturn:
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(_fail("terminated", 128 + number)))
        try:
            sys.exit(super().main(*args, **{**kwargs, "standalone_mode": False}) or 0)
        except (KeyboardInterrupt, click.Abort):
            code = _fail("interrupted", 130)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            hint = f"; see '{context.command_path} --help'" if context else ""
            code = _fail(f"error: {error.format_message().rstrip('.')}{hint}", error.exit_code)
        except UserError as error:
            code = _fail(f"error: {error}", 2)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            code = _fail(OUT_OF_MEMORY, 2)
        except OSError as error:
            if error.errno is None:
                raise
            code = _fail(f"error: {error.filename or 'writing failed'}: {error.strerror}", 2)
        finally:
            signal.signal(signal.SIGTERM, before)
        sys.exit(code)


def _fail(message: str, code: int) -> int:
    click.echo(one_line(message), err=True)
    return code


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="deps-workbench")
def main() -> None:
    """Train and compare once-for-all supernets."""


@main.command()
@click.argument("overrides", nargs=-1, shell_complete=complete_override)
def params(overrides: tuple[str, ...]) -> None:
    """Compose params/ into params.yaml and check it.

    OVERRIDES are Hydra's, such as experiment=[quick,cifar10] or experiments.quick.train.epochs=12.
    """
    from dεps.planning.check import compose_params

    composed = compose_params(overrides)
    shape = " × ".join(f"{key} {', '.join(map(str, composed[key]))}" for key in ("names", "methods", "seeds"))
    click.echo(f"params.yaml: {shape}")


@main.command()
@click.argument("overrides", nargs=-1, shell_complete=complete_override)
@click.option(
    "--steps", default=3, show_default=True, type=click.IntRange(0, 1000), help="Steps to measure a phase; 0: none."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option(
    "--figure", type=click.Path(dir_okay=False, path_type=Path), help="Draw the timelines into this .svg, .png or .pdf."
)
def plan(overrides: tuple[str, ...], steps: int, as_json: bool, figure: Path | None) -> None:
    """Say what every method would train and what it would cost, before anything runs.

    OVERRIDES as for `deps params`, which are composed but not written; without any, params.yaml as it is. Wall time is
    predicted from a few steps on made-up images.
    """
    from dεps.core.config import read_params
    from dεps.planning.check import check_params, composed
    from dεps.planning.plan import plan_experiments
    from dεps.planning.show import FIGURE_FILES, print_plan, save_figure, to_json

    if figure and figure.suffix not in FIGURE_FILES:
        raise UserError(f"--figure is {figure}; expected a file name that ends in {', '.join(FIGURE_FILES)}")
    if overrides:
        params, _ = composed(overrides)
    else:
        params = read_params()
        check_params(params)
    plans = plan_experiments(params, steps)
    if as_json:
        click.echo(to_json(plans))
    else:
        print_plan(plans)
    if figure:
        save_figure(plans, figure)


@main.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--space",
    required=True,
    shell_complete=complete_space,
    help="Search space of the checkpoint: a name in params/space.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: FILE with the suffix .safetensors."
)
@click.option(
    "--bn-eps", type=float, help="Epsilon of batch normalisation, which no checkpoint holds; default: the space's."
)
def import_(file: Path, space: str, out: Path | None, bn_eps: float | None) -> None:
    """Turn a checkpoint of the public OFA or DεpS code into a supernet file.

    FILE is one written by torch.save (no code in it is run) or .safetensors. Of several state dicts in it, such as
    state_dict and ema, the first of the usual names is taken, which is said. ProxylessNAS of OFA has --bn-eps 1e-3,
    which is the space's, that of DεpS 1e-5.
    """
    from dεps.nets.files import save_supernet
    from dεps.nets.public import default_name, describe, import_checkpoint
    from dεps.workspace.presets import load_space

    out = out or file.with_name(default_name(file))
    if out.suffix != ".safetensors":
        raise UserError(f"--out is {out}; expected a file name that ends in .safetensors")
    if out.resolve() == file.resolve():
        raise UserError(f"{out} would replace the checkpoint; name another file with --out")
    imported = import_checkpoint(file, load_space(space), bn_eps)
    save_supernet(imported.net, out)
    click.echo(f"{out}: {describe(imported)}")


@main.command()
@click.argument("supernet", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
def export_checkpoint(supernet: Path, out: Path) -> None:
    """Write a supernet file as a checkpoint that the public OFA and DεpS code loads."""
    from dεps.nets.files import load_supernet
    from dεps.nets.public import export_checkpoint as export_

    if out.resolve() == supernet.resolve():
        raise UserError(f"{out} would replace the supernet; name another file")
    net = load_supernet(supernet)
    export_(net, out)
    click.echo(f"{out}: {net.space.name}, {net.classes:,} classes, {net.channels} input channels")


@main.command()
@click.argument("supernet", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--experiment",
    shell_complete=complete_experiment,
    help="Whose prepared data is used; default: the only one in params.yaml.",
)
@click.option("--split", default="validation", show_default=True, type=click.Choice(["validation", "test"]))
@click.option(
    "--arch",
    "archs",
    multiple=True,
    help="smallest, D2E3K7, k3e4-k5e3_…; several times. Default: the Pareto points and the least arch, as D2E3K3.",
)
@click.option("--images", type=click.IntRange(1), help="So many images of the split; default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def evaluate(
    supernet: Path, experiment: str | None, split: str, archs: tuple[str, ...], images: int | None, as_json: bool
) -> None:
    """Measure archs of a supernet file on an experiment's prepared data, BN recalibrated."""
    from dεps.cli.evaluate import assess, print_assessment
    from dεps.core.config import read_params

    result = assess(supernet, read_params(), experiment, split, archs, images)
    if as_json:
        click.echo(result.to_json())
    else:
        print_assessment(result)


@main.command()
@click.argument("experiment", shell_complete=complete_experiment)
@click.option("--method", help="Default: the first in params.yaml.")
@click.option("--seed", type=click.IntRange(0), help="Default: the first in params.yaml.")
@click.option("--max-macs", help="Such as 3M, 3.5e6 or 1G.")
@click.option("--max-latency-ms", type=click.FloatRange(0, min_open=True), help="Milliseconds a call on this machine.")
@click.option("--arch", help="This very arch: smallest, D2E3K7, k3e4-k5e3_…")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: EXPERIMENT-METHOD-MACS.onnx.")
@click.option(
    "--format", "format_", default="onnx", show_default=True, help="onnx, torch (torch.export) or safetensors."
)
@click.option("--engine", default="onnxruntime", show_default=True, help="Whose latency: onnxruntime (CPU) or torch.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024), help="That it may use.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 65536), help="Images of a call.")
@click.option(
    "--table", type=click.Path(dir_okay=False, path_type=Path), help="Latency table; default: as deps latency."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def export(
    experiment: str,
    method: str | None,
    seed: int | None,
    max_macs: str | None,
    max_latency_ms: float | None,
    arch: str | None,
    out: Path | None,
    format_: str,
    engine: str,
    threads: int,
    batch: int,
    table: Path | None,
    as_json: bool,
) -> None:
    """Write the most accurate subnet under a budget as ONNX, torch.export or safetensors.

    Chosen on validation among what search finds. The file holds classes, preprocessing, arch, cost and accuracies, and
    is compared with PyTorch before it is kept.
    """
    from dεps.core.config import read_params
    from dεps.deploy.export.command import Wish, print_exported
    from dεps.deploy.export.command import export as write
    from dεps.deploy.latency.timing import Conditions

    wish = Wish(max_macs, max_latency_ms, arch, Conditions(engine, threads, batch), table)
    result = write(read_params(), experiment, method, seed, wish, format_, out)
    if as_json:
        click.echo(result.to_json())
    else:
        print_exported(result)


@main.command()
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", default=3, show_default=True, type=click.IntRange(1), help="So many classes an image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def classify(model: Path, images: tuple[Path, ...], top: int, as_json: bool) -> None:
    """Say what an exported MODEL sees in IMAGES, which may be folders.

    MODEL is an .onnx or .safetensors file of `deps export`; nothing else is needed, no data and no params.yaml.
    """
    from dεps.deploy.export.classify import classify as guesses
    from dεps.deploy.export.classify import to_json

    found = guesses(model, images, top)
    if as_json:
        click.echo(to_json(list(found)))
        return
    for guess in found:
        pairs = zip(guess.classes, guess.probabilities, strict=True)
        click.echo(f"{guess.image}: " + ", ".join(f"{name} {100 * value:.1f} %" for name, value in pairs))


@main.command()
@click.argument("experiment", required=False, shell_complete=complete_experiment)
@click.option("--space", help="A space in params/space, instead of an experiment's.")
@click.option("--classes", type=click.IntRange(1, 100_000), help="Default: those of the data; with --space 10.")
@click.option("--channels", type=click.IntRange(1, 1024), help="Default: those of the data; with --space 3.")
@click.option("--engine", default="onnxruntime", show_default=True, help="onnxruntime (CPU) or torch.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1, 1024), help="That it may use.")
@click.option("--batch", default=1, show_default=True, type=click.IntRange(1, 65536), help="Images of a call.")
@click.option(
    "--arch", "archs", multiple=True, help="Predict its latency: smallest, D2E3K7, k3e4-k5e3_…; several times."
)
@click.option("--unseen", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Archs for the error.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The table's .json; default: in .state.")
@click.option("--again", is_flag=True, help="Measure even where there is a table.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def latency(
    experiment: str | None,
    space: str | None,
    classes: int | None,
    channels: int | None,
    engine: str,
    threads: int,
    batch: int,
    archs: tuple[str, ...],
    unseen: int,
    out: Path | None,
    again: bool,
    as_json: bool,
) -> None:
    """Measure a space's layers on this machine, and predict what its archs take.

    The table of layers is kept and used again, by `deps export --max-latency-ms` too.
    """
    from dεps.core.config import read_params
    from dεps.deploy.latency.command import latency as measure
    from dεps.deploy.latency.command import print_latency
    from dεps.deploy.latency.timing import Conditions

    conditions = Conditions(engine, threads, batch)
    params = read_params() if experiment else None
    result = measure(params, experiment, space, classes, channels, conditions, out, archs, unseen, again)
    if as_json:
        click.echo(result.to_json())
    else:
        print_latency(result)


@main.command()
@click.argument("experiment", required=False, shell_complete=complete_experiment)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes here.")
@click.option("--trials", type=click.IntRange(1), help="Finished trials in all; default: tuning.trials of params.yaml.")
@click.option("--storage", help="Database URL; default: DEPS_STUDY_STORAGE, or an sqlite file below .state/tune.")
def tune(experiment: str | None, workers: int, trials: int | None, storage: str | None) -> None:
    """Search shrink timing and the ε ramp of EXPERIMENT (default: the first) with Optuna.

    Goes on with a study that has been begun; the same command on other machines joins it where they share the storage.
    """
    from dεps.tuning.worker import tune as run_study

    run_study(experiment, workers, trials, storage)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print all metrics as JSON instead of tables.")
def show(as_json: bool) -> None:
    """Print the results tables and where the report is."""
    if as_json:
        from dεps.cli.show import to_json
        from dεps.core.config import read_params

        click.echo(to_json(read_params()))
        return
    from dεps.report.tables import print_results

    print_results()


@main.command()
@click.option("--uri", help="MLflow store; default: MLFLOW_TRACKING_URI, or mlflow.db here.")
def track(uri: str | None) -> None:
    """Bring MLflow up to date from the result files; as often as you like."""
    from dεps.core.config import read_params
    from dεps.tracking.sync import track as bring_up_to_date

    if not bring_up_to_date(read_params(), uri):
        sys.exit(1)


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; others can read then.")
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(host: str, port: int) -> None:
    """Open the store with MLflow's UI, after links to where methods are compared; Ctrl-C ends it."""
    from dεps.tracking.ui import serve

    serve(host, port)


@main.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what SHELL needs to complete commands, options and names.

    For bash: eval "$(deps completion bash)", for zsh the same; for fish: deps completion fish | source.
    """
    click.echo(completion_script(main, shell))


if __name__ == "__main__":
    main()
