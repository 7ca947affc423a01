"""Command line of the hashing package: train, evaluate, export."""

import logging
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
Root = Annotated[Path, typer.Option("--data", help="Folder with chestxray14/, other_cxr/ and multimodality/.")]
Output = Annotated[Path, typer.Option("--output", help="Folder for weights and the cache of preprocessed images.")]


@app.callback()
def hashing() -> None:
    """Images to binary codes: train, evaluate and export the network."""


@app.command(epilog="Example: python -m hashing train hashing/experiments/first.toml --data ~/images")
def train(
    experiment: Annotated[Path, typer.Argument(help="TOML file, as in hashing/experiments.")],
    data: Root,
    output: Output = Path("runs"),
) -> None:
    """Train the network of an experiment; a stage that is done already is not repeated."""
    from hashing.train import Experiment
    from hashing.train import train as run

    run(Experiment.read(experiment), data, output)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    app()
