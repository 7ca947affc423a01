"""From a DICOM data set to the network's input: one path for training and serving."""
# mypy: untyped-calls-exclude=SimpleITK

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from hashing.images.attributes import Attributes, frame_attributes, numbers
from hashing.images.frames import DEFAULT_LIMITS, Limits, quiet, sampled_frames, stored_frame
from hashing.images.mosaic import middle_section
from hashing.images.photometry import picture
from hashing.images.pixel_error import PixelError

__all__ = [
    "DEFAULT_LIMITS",
    "Limits",
    "PixelError",
    "decode",
    "network_input",
    "network_inputs",
    "preprocess",
    "sampled_frames",
]

MIN_DISTORTION = 0.03  # pixels whose height over width is nearer to 1 count as square
MAX_DISTORTION = 8.0  # an attribute that says more is wrong


def network_input(
    dataset: Dataset, frame: int = 0, size: int = 224, limits: Limits = DEFAULT_LIMITS
) -> NDArray[np.uint8]:
    """The network's input for one frame of an instance, (size, size): `decode`, then `preprocess`.

    Raises
    ------
    PixelError
        The frame cannot be shown, for any of the error's reasons.
    """
    return preprocess(decode(dataset, frame, limits), size)


def network_inputs(
    dataset: Dataset, max_frames: int = 8, size: int = 224, limits: Limits = DEFAULT_LIMITS
) -> tuple[tuple[int, ...], NDArray[np.uint8]]:
    """Network inputs of the frames that stand for an instance, without the frames that cannot be shown.

    One damaged frame is no reason to refuse the others.

    Parameters
    ----------
    max_frames
        Number of frames to sample.
    size
        Side of the network's square.

    Returns
    -------
    tuple of int
        Numbers of the frames, counted from 0, ascending; see `sampled_frames`.
    (n, size, size)
        Their network inputs.

    Raises
    ------
    PixelError
        No frame can be shown; the reason is that of the first frame.
    """
    inputs: dict[int, NDArray[np.uint8]] = {}
    failures = []
    for frame in sampled_frames(dataset, max_frames, limits):
        try:
            inputs[frame] = network_input(dataset, frame, size, limits)
        except PixelError as error:
            failures.append(error)
    if not inputs:
        raise failures[0]
    return tuple(inputs), np.stack([*inputs.values()])


def decode(dataset: Dataset, frame: int = 0, limits: Limits = DEFAULT_LIMITS) -> sitk.Image:
    """Decode one frame to a picture as a viewing station would show it; of a mosaic, only the middle section.

    Parameters
    ----------
    dataset
        The instance, with its pixels and file meta information; its values are not changed.
    frame
        Number of the frame, from 0.
    limits
        Limits of decoding.

    Returns
    -------
    sitk.Image
        Two-dimensional, 8 bit; larger values are brighter. Its spacing holds the ratio of the sides of a pixel.

    Raises
    ------
    PixelError
        The frame cannot be shown, for any of the error's reasons.

    See Also
    --------
    hashing.images.photometry.picture : the rules by which values become grey levels.
    hashing.images.mosaic.middle_section : which pictures are mosaics.
    """
    with quiet():
        stored, attributes = stored_frame(dataset, frame, limits), frame_attributes(dataset, frame)
        image = sitk.GetImageFromArray(middle_section(picture(stored, attributes, dataset), dataset))
    image.SetSpacing([1.0, _pixel_height(attributes)])
    return image


def preprocess(image: sitk.Image, size: int = 224) -> NDArray[np.uint8]:
    """Fit a picture into the network's square, centred and undistorted, with black around it.

    Intensities do not change. The picture is shrunk by box means of whole pixels, then interpolated linearly to
    the grid, so that detail finer than the grid becomes its mean instead of an alias; a smaller picture is enlarged.

    Parameters
    ----------
    image
        Two-dimensional, 8 bit, one channel. Its spacing gives the shape of a pixel; only the ratio matters.
    size
        Side of the square.

    Returns
    -------
    (size, size)
        The network's input.

    Raises
    ------
    PixelError
        ``unsupported`` if the image is not two-dimensional, 8 bit, one channel.
    """
    if image.GetDimension() != 2 or image.GetPixelID() != sitk.sitkUInt8:
        found = f"{image.GetDimension()}-D {image.GetPixelIDTypeAsString()}"
        raise PixelError("unsupported", f"the picture is {found}; give a 2-D 8-bit unsigned one, as decode does")
    extent = [n * spacing for n, spacing in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    shape = [max(1, round(size * side / max(extent))) for side in extent]
    fitted = np.rint(sitk.GetArrayFromImage(_fit(image, shape)))
    square = np.zeros((size, size), np.uint8)
    left, top = ((size - side) // 2 for side in shape)
    square[top : top + shape[1], left : left + shape[0]] = fitted
    return square


def _pixel_height(attributes: Attributes) -> float:
    """Height of a pixel whose width is 1, from its spacing or from Pixel Aspect Ratio (PS3.3 C.7.6.3.1.7)."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        values = numbers(attributes, keyword)  # between rows, then between columns
        sides = [side for side in values if side is not None and side > 0]
        if len(sides) == len(values) == 2 and max(sides) < MAX_DISTORTION * min(sides):
            ratio = sides[0] / sides[1]
            return ratio if abs(ratio - 1) > MIN_DISTORTION else 1.0
    return 1.0


def _fit(image: sitk.Image, shape: list[int]) -> sitk.Image:
    shrink = [max(1, n // side) for n, side in zip(image.GetSize(), shape, strict=True)]
    remaining = max(n / (side * by) for n, side, by in zip(image.GetSize(), shape, shrink, strict=True))
    fine = 2 if remaining > 1.25 else 1  # a wider step would skip pixels: take two samples, and their mean
    size = [side * fine for side in shape]
    step = [n / side for n, side in zip(image.GetSize(), size, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint([(s - 1) / 2 for s in step])
    spacing = [s * old for s, old in zip(step, image.GetSpacing(), strict=True)]
    resample = sitk.ResampleImageFilter()
    resample.SetSize(size)
    resample.SetOutputOrigin(origin)
    resample.SetOutputSpacing(spacing)
    resample.SetOutputDirection(image.GetDirection())
    resample.SetOutputPixelType(sitk.sitkFloat32)  # in 8 bit it would round down, and darken the picture
    # The box means leave out up to a box of pixels at the edge: there, the nearest mean stands in.
    resample.SetUseNearestNeighborExtrapolator(True)
    return _bin(resample.Execute(_bin(image, shrink)), [fine, fine])


def _bin(image: sitk.Image, by: list[int]) -> sitk.Image:
    binned: sitk.Image = sitk.BinShrink(image, by) if max(by) > 1 else image
    return binned
