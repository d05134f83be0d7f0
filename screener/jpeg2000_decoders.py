"""JPEG 2000 and HTJ2K frames, with resolution levels dropped where the header allows it.

The wavelet half of `screener.frame_decoders`: OpenJPEG for both, in Pillow, which can drop levels.
OpenJPH (in imagecodecs) is eight times as fast on HTJ2K and must not be used: where the transform
overshoots the range (lossy, or any reduced size) it wraps instead of clipping, so that black beside
white becomes white, and it decodes half a codestream without an error.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from screener.codestream import bare_jpeg2000, read_jpeg2000_header
from screener.frame_decoders import (
    Decoded,
    levels_to_drop,
    reduced_size,
    require_equal,
    require_whole_images,
    shaped,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from screener.codestream import Jpeg2000Header
    from screener.domain import PixelDescription

    Cells = NDArray[Any]

IMAGECODECS_OPENJPEG = "imagecodecs/openjpeg"


def decode_jpeg2000(frame: memoryview, description: PixelDescription, whole: bool) -> Decoded:
    """PS3.5 8.2.4, 8.2.15. Pillow for grey: it can drop levels, but has no 16-bit colour."""
    codestream = bare_jpeg2000(frame)
    header, levels = _jpeg2000_header(codestream, description, whole)
    if header.components == 3:
        cells = shaped(imagecodecs.jpeg2k_decode(codestream), description, 0)
        return _decoded_jpeg2000(cells, header, description, 0, IMAGECODECS_OPENJPEG)
    size = reduced_size(header.rows, header.columns, levels)
    image = _ReducedJpeg2000(io.BytesIO(codestream))
    image.drop_levels(levels, size, len(codestream))
    require_whole_images()
    # Pillow shifts values up to 8 or 16 bits and signed ones to start at zero.
    scaled = np.asarray(image)
    shift = scaled.dtype.itemsize * 8 - header.precision
    cells = scaled >> shift if shift else scaled
    if header.signed:
        cells = cells.astype(np.int32) - (1 << (header.precision - 1))
        cells = cells.astype(np.int16)
    return _decoded_jpeg2000(shaped(cells, description, levels, size), header, description, levels)


class _ReducedJpeg2000(Jpeg2KImageFile):
    """Pillow rounds the reduced size to the nearest, OpenJPEG rounds it up (T.800 B-15).

    Where the two differ (401 rows at 2 levels) Pillow's own `reduce` fails: "broken data stream".
    """

    def drop_levels(self, levels: int, size: tuple[int, int], length: int) -> None:
        """Tell the decoder what to drop and how many rows and columns that leaves."""
        rows, columns = size
        tile = self.tile[0]
        # The decoder's arguments: codec, levels dropped, quality layers, no file, length.
        arguments = ("j2k", levels, 0, -1, length)
        self._size = (columns, rows)
        self.tile = [tile._replace(extents=(0, 0, columns, rows), args=arguments)]


def _jpeg2000_header(
    codestream: bytes, description: PixelDescription, whole: bool
) -> tuple[Jpeg2000Header, int]:
    header = read_jpeg2000_header(codestream)
    require_equal(header, description)
    # Pillow lays a reduced tile where the whole one would lie: off the origin it falls outside.
    # Two's complement in an unsigned codestream cannot be averaged.
    if whole or header.origin != (0, 0) or header.signed != description.signed:
        return header, 0
    return header, levels_to_drop(header.rows, header.columns, header.levels)


def _decoded_jpeg2000(
    cells: Cells,
    header: Jpeg2000Header,
    description: PixelDescription,
    levels: int,
    library: str = "",
) -> Decoded:
    is_ybr = (
        description.photometric_interpretation.startswith("YBR_FULL")
        and not header.multiple_component_transform
    )
    extent = _extent(header, levels) if levels else None
    return Decoded(cells, header.precision, header.signed, is_ybr, levels, library, extent)


def _extent(header: Jpeg2000Header, levels: int) -> tuple[float, float, float, float]:
    """Where the film's edges lie in the reduced image.

    A low-pass sample stands over every 2**levels-th pixel, not over the middle of its cell
    (T.800 F.3), so the reduced image is shifted by nearly half of its pixel: it may begin outside
    of the film and end within it.
    """
    first, step = 0.5 - 0.5 / 2**levels, 2**levels
    return first, first, (header.rows - 0.5) / step + 0.5, (header.columns - 0.5) / step + 0.5
