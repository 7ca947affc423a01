"""`lookalike model`: which models there are, which one is used, and the database brought to another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from node.cli.terminal import console_for, plain, print_json, progress_bar
from node.configuration import load_settings

if TYPE_CHECKING:
    from hashing.model.model_file import Model
    from node.settings import Settings

console = console_for()
app = typer.Typer(name="model", no_args_is_help=True, help="List, choose and change the model that makes the codes.")
Home = Annotated[Path | None, typer.Option(help="Folder of settings.toml, database and spool.  [default: var]")]


@app.command("list", epilog="Example: lookalike model list --home /srv/lookalike")
def list_models(
    home: Home = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """List the models that come with the node and those of the home folder, and say which is used."""
    from node.cli.models.choice import choices

    found = list(choices(load_settings(home=home)))
    if as_json:
        print_json(
            [
                {**_facts(one.model), "file": one.path, "set": one.is_set, "database": one.is_of_database}
                for one in found
            ]
        )
        return
    table = Table("model", "bits", "input", "classes", "used", "file", box=None)
    for one in found:
        model, used = one.model, [word for word, yes in (("set", one.is_set), ("database", one.is_of_database)) if yes]
        bits = ", ".join(map(str, model.architecture.code_lengths))
        size = f"{model.architecture.input_size} px"
        table.add_row(
            plain(model.identifier), bits, size, str(len(model.classes)), ", ".join(used), plain(str(one.path))
        )
    console.print(table)


@app.command(epilog="Example: lookalike model use lookalike-1 --home /srv/lookalike")
def use(
    model: Annotated[str, typer.Argument(help="Name as in the list, or a model file.")],
    home: Home = None,
) -> None:
    """Set another model in settings.toml; the database keeps the codes of its model until `reencode`."""
    from hashing.model.model_file import read_model
    from node.cli.models import choice

    settings = load_settings(home=home)
    path = choice.found(settings, model)
    codes, identifier = choice.model_of_database(settings), read_model(path).identifier
    choice.use(settings, path)
    console.print(plain(f"{identifier} is set"), highlight=False)
    if codes not in (None, identifier):
        console.print(plain(f"the database has codes of {codes}: run lookalike model reencode"), highlight=False)


@app.command(epilog="Example: lookalike model reencode --home /srv/lookalike")
def reencode(
    home: Home = None,
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only encode, beside a running node, which keeps its codes.")
    ] = False,
    ray: Annotated[str, typer.Option(help="Address of a Ray cluster that encodes, or local.")] = "",
    workers: Annotated[int, typer.Option(help="Workers on the cluster; 0: one a GPU, or else a processor.")] = 0,
) -> None:
    """Give every indexed image the codes of the model that is set, from its preview; the node must not run."""
    from hashing.model.encoding_command import RayCluster
    from node.cli.models import reencoding

    settings, cluster = load_settings(home=home), RayCluster.named(ray, workers)
    with progress_bar("encoding") as report:
        frames = (reencoding.prepare_home if prepare else reencoding.reencode_home)(settings, report, cluster)
    if not frames:
        console.print("nothing to do: all codes are of the model that is set", highlight=False)
    elif prepare:
        console.print(f"{frames:,} frames are ready: stop the node and run lookalike model reencode", highlight=False)
    else:
        _say_switched(settings, frames)


@app.command(epilog="Example: lookalike model back --home /srv/lookalike")
def back(
    file: Annotated[Path | None, typer.Argument(help="File of the model, where it is not in the list.")] = None,
    home: Home = None,
) -> None:
    """Set the model before and switch back to its codes, which `reencode` kept; the node must not run."""
    from node.cli.models.reencoding import back_home

    settings = load_settings(home=home)
    with progress_bar("encoding") as report:
        frames = back_home(settings, file, report)
    _say_switched(settings, frames)


@app.command(epilog="Example: lookalike model drop --home /srv/lookalike")
def drop(home: Home = None) -> None:
    """Give up the codes that are kept of another model: of the one before, or prepared; the node may run."""
    from node.cli.models.reencoding import drop_home

    size_bytes = drop_home(load_settings(home=home))
    console.print(f"{size_bytes:,} bytes are free for new images", highlight=False)


@app.command(epilog="Example: lookalike model train ours.safetensors --labels labels.csv --home /srv/lookalike")
def train(
    out: Annotated[Path, typer.Argument(help="Model file to write.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV file with SOPInstanceUID and labels (a|b); without it the model learns from itself."),
    ] = None,
    home: Home = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches to learn from.")] = 500,
    limit: Annotated[
        int, typer.Option(min=2, help="Most images to learn from where there is no table of labels.")
    ] = 5000,
) -> None:
    """Fit the model that is set to the indexed images, by their previews; neither settings nor database change."""
    from hashing.training.fine_tuning import FineTuning
    from node.cli.models.training import train_on_site

    settings = load_settings(home=home)
    model, site, before, after = train_on_site(settings, labels, out, FineTuning(steps=steps), limit)
    console.print(plain(f"{model.identifier} in {out}, from {len(site.images):,} images"), highlight=False)
    if before is None or after is None:
        console.print("not judged: too few images of patients kept apart have labels", highlight=False)
    else:
        kept = f"MAP among patients that it did not learn from: {before:.3f} before, {after:.3f} now"
        console.print(kept, highlight=False)
    console.print(plain(f"to use it: lookalike model use {out}, then lookalike model reencode"), highlight=False)


def _say_switched(settings: "Settings", frames: int) -> None:
    """Say how many frames have other codes, and what those of before cost and are good for."""
    from node.cli.models.reencoding import kept_in_home

    kept = kept_in_home(settings)
    console.print(f"{frames:,} frames have codes of the model that is set", highlight=False)
    if kept is not None:
        of = f"those of {kept.model} are kept, in {kept.size_bytes:,} bytes"
        console.print(plain(f"{of}: lookalike model back, or lookalike model drop"), highlight=False)


def _facts(model: "Model") -> dict[str, object]:
    return {
        "model": model.identifier,
        "code_lengths": model.architecture.code_lengths,
        "input_size": model.architecture.input_size,
        "classes": model.classes,
    }
