"""Large frontal radiographs, as many as wanted and no two alike, to measure speed with.

A sample film is enlarged, cropped and toned a little differently each time and given the grain of
a real film, so that codecs meet noise where an enlarged picture has none: lossless JPEG 2000 takes
6.2 bits a pixel; the real chest film of the samples, in full size and 12 bits, takes 6.4. The same
seed gives the same film.

    python benchmarks/phantom.py --out films --count 4
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

SOURCE = Path(__file__).parent.parent / "sample_data" / "studies" / "exported film.png"
LARGEST = 4095
BLACK, WHITE = 150.0, 3850.0


def make_film(
    seed: int, rows: int = 2500, columns: int = 2048, grain: float = 14.0
) -> NDArray[np.uint16]:
    """Compute a frontal chest radiograph of 12 bits, MONOCHROME2.

    Args:
        seed: Of the patient's place on the film, the tone curve and the grain.
        rows: Of the film; 2500 x 2048, 3072 x 2560 and 4280 x 3520 are what detectors have.
        columns: See `rows`.
        grain: Standard deviation of the noise in mid-grey, in stored values.

    Raises:
        ValueError: Fewer than 224 rows or columns.
    """
    if min(rows, columns) < 224:
        raise ValueError(f"{rows} x {columns}: a film has at least 224 rows and columns")
    generator = np.random.default_rng(seed)
    height, width = _source().shape
    # The part of the source that fills the film: up to 6 % cut off, nowhere beyond the edge.
    margins = generator.uniform(0, 0.03, 4)
    box = (
        width * margins[0], height * margins[1],
        width * (1 - margins[2]), height * (1 - margins[3]),
    )  # fmt: skip
    enlarged = Image.fromarray(_source()).resize((columns, rows), Image.Resampling.BICUBIC, box=box)
    tones = np.clip(np.asarray(enlarged), 0, 1) ** np.float32(generator.uniform(0.85, 1.15))
    # Quantum noise of a film after its logarithm: strongest where few quanta came, in the white.
    noise = generator.standard_normal((rows, columns), np.float32)
    noise += 0.5 * np.roll(noise, 1, axis=1)
    film = BLACK + tones * (WHITE - BLACK) + grain * (0.6 + 0.8 * tones) * noise
    stored: NDArray[np.uint16] = np.clip(np.rint(film), 0, LARGEST).astype(np.uint16)
    return stored


@cache
def _source() -> NDArray[np.float32]:
    """The sample film: float32 in [0, 1]."""
    with Image.open(SOURCE) as image:
        values = np.asarray(image).astype(np.float32)
    low, high = values.min(), values.max()
    scaled: NDArray[np.float32] = (values - low) / (high - low)
    return scaled


def main() -> None:
    """Write films as 16-bit PNG, named by their seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--columns", type=int, default=2048)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in range(options.count):
        film = make_film(seed, options.rows, options.columns)
        Image.fromarray(film * np.uint16(16)).save(options.out / f"film-{seed:05}.png")


if __name__ == "__main__":
    main()
