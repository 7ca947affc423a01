"""From a DICOM data set to the network's input: one path for training and serving."""
# mypy: untyped-calls-exclude=SimpleITK

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own documentation calls it so
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array


class PixelError(ValueError):
    """The pixels of an instance cannot become an image.

    Attributes
    ----------
    reason
        A short code that stays the same between releases.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def decode(dataset: Dataset, frame: int = 0) -> sitk.Image:
    """One frame as a display-ready picture: 8 bit, larger is brighter."""
    stored = pixel_array(dataset, index=frame)
    if stored.ndim == 3:
        luminance = stored.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        return sitk.GetImageFromArray(np.rint(luminance).astype(np.uint8))
    values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset)
    if stored.dtype != np.uint8 or "WindowWidth" in dataset:
        low, high = np.percentile(values, (0.5, 99.5))
        values = np.rint((values.astype(np.float64) - low) / max(high - low, 1e-9) * 255).clip(0, 255)
    picture = values.astype(np.uint8)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        picture = 255 - picture
    return sitk.GetImageFromArray(picture)


def preprocess(image: sitk.Image, size: int = 224) -> NDArray[np.uint8]:
    """Fit a picture into the network's square: shape kept, centred, black around it.

    Intensities are kept as they are. The picture is shrunk by box means of whole pixels, then interpolated linearly to
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


def _fit(image: sitk.Image, shape: list[int]) -> sitk.Image:
    shrink = [max(1, n // side) for n, side in zip(image.GetSize(), shape, strict=True)]
    remaining = max(n / (side * by) for n, side, by in zip(image.GetSize(), shape, shrink, strict=True))
    fine = 2 if remaining > 1.25 else 1  # a step this wide would skip pixels: take two samples, and their mean
    size = [side * fine for side in shape]
    step = [n / side for n, side in zip(image.GetSize(), size, strict=True)]
    origin = image.TransformContinuousIndexToPhysicalPoint([(s - 1) / 2 for s in step])
    spacing = [s * old for s, old in zip(step, image.GetSpacing(), strict=True)]
    shrunk = sitk.BinShrink(image, shrink)
    resample = sitk.ResampleImageFilter()
    resample.SetSize(size)
    resample.SetOutputOrigin(origin)
    resample.SetOutputSpacing(spacing)
    resample.SetOutputDirection(image.GetDirection())
    resample.SetOutputPixelType(sitk.sitkFloat32)  # in 8 bit it would round down, and darken the picture
    # The box means leave out up to a box of pixels at the edge: there, the nearest mean stands in.
    resample.SetUseNearestNeighborExtrapolator(True)
    fitted: sitk.Image = sitk.BinShrink(resample.Execute(shrunk), [fine, fine])
    return fitted
