"""The commands of `python -m hashing` that judge a finished model file."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
Data = Annotated[Path, typer.Option("--data", help="Folder with chestxray14/, other_cxr/ and multimodality/.")]
Output = Annotated[Path, typer.Option("--output", help="Folder for weights and the cache of preprocessed images.")]
Sets = Annotated[str, typer.Option(help="Comma-separated.")]
CodeLength = Annotated[int, typer.Option(help="Bits.")]


@app.command(epilog="Example: python -m hashing evaluate hashing/models/lookalike-1.safetensors --data ~/images")
def evaluate(
    model: Path,
    data: Data,
    output: Output = Path("runs"),
    sets: Sets = "nih14k,paediatric,dafh",
) -> None:
    """Print mean average precision on held-back images as a Markdown table."""
    from hashing.evaluation import evaluate as evaluation
    from hashing.model.encoder import Encoder
    from hashing.model.model_file import read_model

    encoder = Encoder.load(model, max(read_model(model).architecture.code_lengths))
    results = list(evaluation.evaluate(encoder, tuple(sets.split(",")), data, output / "cache"))
    typer.echo(evaluation.table(results))


@app.command(epilog="Example: python -m hashing models lookalike-1.safetensors my-model.safetensors --data ~/images")
def models(
    files: Annotated[list[Path], typer.Argument(help="Model files; the others are compared with the first.")],
    data: Data,
    output: Output = Path("runs"),
    sets: Sets = "nih14k,paediatric,dafh",
    *,
    test: Annotated[bool, typer.Option("--test", help="Let test images ask, once a model is chosen.")] = False,
) -> None:
    """Print model files beside each other and beside a label-free rotation of their own features, paired by query."""
    from hashing.evaluation import model_comparison as comparing

    results = list(
        comparing.compare_models(
            files, tuple(sets.split(",")), data, output / "cache", "test" if test else "validation"
        )
    )
    typer.echo(comparing.table(results))


@app.command(epilog="Example: python -m hashing stages hashing/models/lookalike-1.safetensors --data ~/images")
def stages(
    model: Path,
    data: Data,
    output: Output = Path("runs"),
    sets: Sets = "nih14k,paediatric,dafh",
    code_length: CodeLength = 64,
) -> None:
    """Print how well each ranking stage orders the nearest of validation images, as a Markdown table."""
    from hashing.evaluation import ranking_stages as staging
    from hashing.model.encoder import Encoder

    encoder = Encoder.load(model, code_length=code_length)
    results = list(staging.evaluate_stages(encoder, tuple(sets.split(",")), data, output / "cache"))
    typer.echo(staging.table(results))


@app.command(epilog="Example: python -m hashing drift hashing/models/lookalike-1.safetensors --data ~/images")
def drift(
    model: Path,
    data: Data,
    output: Output = Path("runs"),
    sets: Sets = "nih14k,paediatric,dafh",
    code_length: CodeLength = 64,
) -> None:
    """Print how far codes of held-back images move when the images come otherwise, as a Markdown table."""
    from hashing.evaluation import drift as drifting
    from hashing.model.encoder import Encoder

    encoder = Encoder.load(model, code_length=code_length)
    typer.echo(drifting.table(list(drifting.evaluate_drift(encoder, tuple(sets.split(",")), data, output / "cache"))))


@app.command(epilog="Example: python -m hashing calibration hashing/models/lookalike-1.safetensors --data ~/images")
def calibration(
    model: Path,
    data: Data,
    output: Output = Path("runs"),
    sets: Sets = "nih14k,paediatric,dafh",
    code_length: CodeLength = 64,
    *,
    write: Annotated[bool, typer.Option("--write", help="Write usual distances into the model file.")] = False,
) -> None:
    """Print what distances and class scores of a model mean on validation images, as Markdown tables."""
    from hashing.evaluation import calibration as calibrating
    from hashing.model.encoder import Encoder

    names, encoder = tuple(sets.split(",")), Encoder.load(model, code_length)
    typer.echo(calibrating.table(list(calibrating.calibrate(encoder, names, data, output / "cache"))))
    if write:
        typer.echo(calibrating.write_usual_distances(model, names, data, output / "cache").identifier)


@app.command(epilog="Example: python -m hashing maps my-model.safetensors --data ~/images")
def maps(
    model: Path,
    data: Data,
    output: Output = Path("runs"),
    code_length: CodeLength = 64,
) -> None:
    """Print how well maps find the boxes of held-back ChestX-ray14 images, and what hiding their highest part does."""
    from hashing.evaluation import map_evaluation as judging
    from hashing.model.encoder import Encoder
    from hashing.model.explain import Explainer

    encoder, explainer = Encoder.load(model, code_length), Explainer.load(model, code_length)
    judge = judging.load_judge(encoder, explainer, data, output / "cache")
    typer.echo(judging.table(*judging.evaluate_maps(judge)))


@app.command(epilog="Example: python -m hashing series my-model.safetensors ~/images/tcia")
def series(
    model: Path,
    folder: Annotated[Path, typer.Argument(help="DICOM files, with or without labels.csv, as for manifest.")],
    code_length: CodeLength = 64,
) -> None:
    """Print how well scores of series find series of the same label and of the same patient, beside chance."""
    from hashing.evaluation import series_scores as scoring
    from hashing.model.encoder import Encoder

    read = scoring.read_series(Encoder.load(model, code_length), folder)
    typer.echo(scoring.table(list(scoring.evaluate_series(read)), scoring.mean_level_agreement(read)))


@app.command(epilog="Example: python -m hashing patients my-model.safetensors --data ~/images")
def patients(
    model: Path,
    data: Data,
    output: Output = Path("runs"),
    dataset: Annotated[str, typer.Option(help="Set whose test images have patients.")] = "nih14k",
) -> None:
    """Print how well codes tell the patients of test images apart, as a Markdown table: why codes are personal data."""
    from hashing.evaluation import same_patient

    typer.echo(same_patient.table(list(same_patient.evaluate_patients(model, dataset, data, output / "cache"))))
