"""Codes of regions of network inputs, in the process that holds the model."""

from functools import cached_property
from threading import Lock

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from hashing.model.encoder import Encoder, Encoding
from hashing.model.model_file import DEFAULT_MODEL
from hashing.model.network import INPUT_SIZE
from hashing.model.region_encoder import RegionEncoder
from node.examples.crop import cropped
from node.examples.regions import Region
from node.settings import Settings

WHOLE: Region = (1, 1, INPUT_SIZE, INPUT_SIZE)


class RegionCoder:
    """Encodes regions by pooling their features, or cuts them out where the head of the model does not pool."""

    def __init__(self, settings: Settings, encoder: Encoder) -> None:
        self._settings, self._encoder, self._lock = settings, encoder, Lock()

    def encode(self, image: NDArray[np.uint8], region: Region, modality: str) -> Encoding:
        """The encoding of one region of a network input (size, size).

        Raises
        ------
        PixelError
            ``region outside``: it is too small to be cut out.
        """
        if region == WHOLE:  # as the image is indexed, to the last bit
            return self._encoder.encode(image[None], [modality])
        with self._lock:
            if self._pooling.pools:
                return self._pooling.encode(image, [region], modality, is_fine=self._settings.region_codes)
        part = cropped(sitk.GetImageFromArray(image), region, INPUT_SIZE)
        return self._encoder.encode(part[None], [modality])

    @cached_property
    def _pooling(self) -> RegionEncoder:
        s = self._settings
        return RegionEncoder.load(s.model_path or DEFAULT_MODEL, s.code_length, s.device)
