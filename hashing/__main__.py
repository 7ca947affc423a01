"""Command line of the hashing package: train, export, encode, compare and explain; `hashing.judge` has the rest."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from hashing import judge
from hashing.encode import EXAMPLES, encode
from hashing.judge import CodeLength, Data, Output

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
ExperimentFile = Annotated[Path, typer.Argument(help="TOML file, as in hashing/experiments.")]

app.command(epilog=EXAMPLES)(encode)
app.add_typer(judge.app)


@app.callback()
def hashing() -> None:
    """Images to binary codes: train, export and evaluate the network, and compare methods."""


@app.command(
    epilog="Examples: python -m hashing train hashing/experiments/first.toml --data ~/images; "
    "python -m hashing train hashing/experiments/nih14k.toml --method DPSH --code-length 48 --seed 3 --data ~/images"
)
def train(
    experiment: ExperimentFile,
    data: Data,
    output: Output = Path("runs"),
    method: Annotated[str, typer.Option(help="Method of an experiment that compares methods.")] = "",
    code_length: CodeLength = 48,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and targets.")] = 0,
    model: Annotated[Path | None, typer.Option(help="Write the trained method as a model file.")] = None,
) -> None:
    """Train the network of an experiment, or one method of a comparison; what is done already is not repeated.

    The score of a method is its validation NDCG@100: the test part is not touched.
    """
    if method:
        from hashing.bench import method_run as bench
        from hashing.bench.experiment import Experiment

        run = bench.Run(method, code_length, seed)
        if model:
            from hashing.bench.method_model import export_method

            written = export_method(run, Experiment.read(experiment), data, output, model)
            typer.echo(f"{written.identifier} in {model}, {model.stat().st_size:,} bytes")
            return
        score = bench.validate(run, Experiment.read(experiment), data, output)
        typer.echo(f"{method}, {code_length} bits, seed {seed}: validation score {score:.4f}")
        return
    from hashing.training import train as training
    from hashing.training.recipe import Recipe

    training.train(Recipe.read(experiment), data, output)


@app.command(epilog="Example: python -m hashing export runs/first.safetensors my-model.safetensors --name my-model")
def export(weights: Path, model: Path, name: Annotated[str, typer.Option(help="Name of the model.")]) -> None:
    """Write trained weights as a model file that the node loads."""
    from hashing.model import weights as files

    network, trained = files.load_network(weights)
    facts = {"weights": weights.name}
    written = files.export(network, trained.architecture, model, name, facts, trained.classes)
    typer.echo(f"{written.identifier} in {model}, {model.stat().st_size:,} bytes")


@app.command(
    epilog="Example: python -m hashing classify my-model.safetensors hashing/experiments/first.toml --data ~/images"
)
def classify(model: Path, experiment: ExperimentFile, data: Data, output: Output = Path("runs")) -> None:
    """Give a model file the classifier of an experiment, in place; codes stay the same, the fingerprint does not."""
    from hashing.model import weights as files
    from hashing.training import train as training
    from hashing.training.class_targets import CLASSES
    from hashing.training.recipe import Recipe

    network, before = files.load_network(model)
    training.classify(network, Recipe.read(experiment), data, output)
    facts = {"experiment": experiment.name}
    written = files.export(network, before.architecture, model, before.name, facts, CLASSES)
    typer.echo(f"{written.identifier} in {model}, {model.stat().st_size:,} bytes")


@app.command(epilog="Example: python -m hashing explain query.dcm match.dcm --out why.png --model my-model.safetensors")
def explain(
    query: Path,
    match: Path,
    out: Annotated[Path, typer.Option(help="PNG to write: query and match, each with its map.")] = Path("why.png"),
    model: Annotated[Path | None, typer.Option(help="Model file; the shipped one if none is given.")] = None,
    code_length: CodeLength = 64,
) -> None:
    """Draw why two images (DICOM or pictures) are found alike, as maps of shared attention or of occlusion."""
    import numpy as np
    from PIL import Image

    from hashing.data.pictures import picture_input
    from hashing.model.explain import Explainer
    from hashing.model.model_file import DEFAULT_MODEL
    from hashing.model.overlay import overlaid

    explainer = Explainer.load(model or DEFAULT_MODEL, code_length)
    images = [picture_input(path.read_bytes())[0] for path in (query, match)]
    pairs = [explainer.explain(*images), explainer.explain(*images[::-1])]
    drawn = [overlaid(image, pair.reason) for image, pair in zip(images, pairs, strict=True)]
    Image.fromarray(np.concatenate(drawn, axis=1)).save(out)
    kind = "occlusion" if pairs[0].shared is None else "shared attention"
    typer.echo(f"{out}: query and match with {kind}, by {explainer.model.identifier}")


@app.command(epilog="Example: python -m hashing compare hashing/experiments/nih_logits.toml --data ~/images")
def compare(
    experiments: Annotated[list[Path], typer.Argument(help="TOML files, as in hashing/experiments.")],
    data: Data,
    output: Output = Path("runs"),
    docs: Annotated[Path, typer.Option(help="Folder for results.md, results.csv and plots.")] = Path("docs"),
) -> None:
    """Train and judge all methods of experiments, and write tables and plots; runs done already are read."""
    from hashing.bench import comparison, report
    from hashing.bench.experiment import Experiment

    compared = [comparison.compare(Experiment.read(path), data, output) for path in experiments]
    report.write(compared, docs)
    typer.echo(f"{docs / 'results.md'}, {docs / 'results.csv'}")


@app.command(epilog="Example: python -m hashing manifest ~/images/tcia")
def manifest(folder: Path) -> None:
    """Write manifest.csv into a folder of DICOM files: which files make the set "dicom:FOLDER", with their hashes.

    Labels come from labels.csv in the folder, or are the names of its folders.
    """
    from hashing.data import dicom_folders

    for outcome, count in sorted(dicom_folders.write_manifest(folder).items()):
        typer.echo(f"{count:,} files: {outcome}")


@app.command(epilog="Example: python -m hashing tune hashing/experiments/dafh.toml --data ~/images")
def tune(experiment: ExperimentFile, data: Data, output: Output = Path("runs")) -> None:
    """Print the best of six settings of each trained method, by validation images, as options for the file."""
    from hashing.bench import tuning
    from hashing.bench.experiment import Experiment

    typer.echo(tuning.best_options(list(tuning.tune(Experiment.read(experiment), data, output))))


@app.command(
    epilog="Example: python -m hashing targets hashing/experiments/nih_logits_targets.toml targets.png --data ~/images"
)
def targets(
    experiment: ExperimentFile,
    picture: Annotated[Path, typer.Argument(help="File to write, such as targets.png.")],
    data: Data,
    output: Output = Path("runs"),
    method: Annotated[str, typer.Option(help="Method with class targets.")] = "co-occurrence targets",
    code_length: CodeLength = 48,
    seed: Annotated[int, typer.Option(help="Seed of weights, batches and targets.")] = 0,
) -> None:
    """Train a method of label co-occurrence, and draw its class targets beside the co-occurrence of labels."""
    from hashing.bench.experiment import Experiment
    from hashing.bench.method_run import Run
    from hashing.bench.target_picture import draw_run

    found = draw_run(Run(method, code_length, seed), Experiment.read(experiment), data, output, picture)
    typer.echo(
        f"{picture}: targets are at least {found.least[-1]} bits apart, and never were less than {min(found.least)}"
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
