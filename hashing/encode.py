"""`python -m hashing encode`: the codes of a folder of DICOM files."""

from pathlib import Path
from typing import Annotated, Final

import typer

EXAMPLES: Final = (
    "Examples: python -m hashing encode ~/images --out codes.csv; "
    "python -m hashing encode /data/tcia --out codes.csv --ray 10.0.0.1:6379"
)


def encode(
    folder: Annotated[
        Path, typer.Argument(help="Folder of DICOM files; all below it are encoded.", exists=True, file_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="CSV to write: a line a frame.")] = Path("codes.csv"),
    model: Annotated[Path | None, typer.Option(help="Model file; the shipped one if none is given.")] = None,
    code_length: Annotated[int, typer.Option(help="Bits.")] = 64,
    max_frames: Annotated[int, typer.Option(help="Frames that are sampled from a multi-frame file.")] = 8,
    ray: Annotated[str, typer.Option(help="Address of a Ray cluster whose machines see the folder, or local.")] = "",
    workers: Annotated[int, typer.Option(help="Workers on the cluster; 0: one a GPU, or else a processor.")] = 0,
) -> None:
    """Write the codes of every DICOM file of a folder, encoded here or on a Ray cluster; both give the same codes."""
    from hashing.model.encoding_command import RayCluster, encode_folder

    done, faults = encode_folder(folder, out, model, code_length, max_frames, RayCluster.named(ray, workers))
    typer.echo(f"{done:,} files in {out}, {faults:,} of them without a code")
