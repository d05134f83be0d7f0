"""The one function from stored values to model input: properties that every film must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.pixels import apply_voi_lut, apply_windowing

from screener.errors import FileRejected
from screener.outcomes import ReasonCode
from screener.preprocess import (
    PREPROCESSING,
    Display,
    Lut,
    Window,
    apply_lut,
    apply_window,
    preprocess,
    resize,
)
from tests.films import draw

FILM = draw(1, size=300)
sides = st.integers(130, 520)


def film(rows: int, columns: int) -> np.ndarray:
    generator = np.random.default_rng(rows * columns)
    return generator.integers(0, 4096, (rows, columns)).astype(np.uint16)


@given(sides, sides, st.booleans())
@settings(max_examples=20, deadline=None)
def test_shape_type_and_range(rows: int, columns: int, invert: bool) -> None:
    pixels = preprocess(film(rows, columns), Display(invert=invert)).pixels
    assert pixels.shape == (224, 224)
    assert pixels.dtype == np.float32
    assert pixels.min() == 0
    assert pixels.max() == 1


@given(sides, sides)
@settings(max_examples=20, deadline=None)
def test_inversion_comes_last_and_once(rows: int, columns: int) -> None:
    window = Window(2000, 1500)
    plain = preprocess(film(rows, columns), Display(voi=window)).pixels
    inverted = preprocess(film(rows, columns), Display(voi=window, invert=True)).pixels
    assert np.allclose(inverted, 1 - plain, atol=1e-5)


@given(st.floats(0.1, 50), st.floats(-5000, 5000))
@settings(max_examples=20, deadline=None)
def test_rescale_without_window_changes_nothing(slope: float, intercept: float) -> None:
    plain = preprocess(FILM, Display()).pixels
    rescaled = preprocess(FILM, Display(slope=slope, intercept=intercept)).pixels
    assert np.allclose(plain, rescaled, atol=2e-3)


def test_unequal_pixel_spacing_is_taken_out_by_the_stretch() -> None:
    wide = np.repeat(FILM, 2, axis=1)
    plain = preprocess(FILM, Display()).pixels
    assert np.allclose(preprocess(wide, Display()).pixels, plain, atol=1e-5)


def test_mean_is_kept_by_the_area_filter() -> None:
    plane = film(2500, 2048).astype(np.float32)
    assert resize(plane).mean() == pytest.approx(plane.mean(), rel=1e-4)


def test_model_sized_film_passes_unchanged() -> None:
    plane = film(224, 224).astype(np.float32)
    assert np.array_equal(resize(plane), plane)


def test_a_reduced_image_is_shrunk_as_the_film_is() -> None:
    y, x = np.mgrid[0:1240, 0:1180]
    whole = (2000 + 900 * np.sin(x / 21) * np.cos(y / 17) + x).astype(np.float32)
    halves = whole.reshape(620, 2, 590, 2).mean((1, 3))
    # The film's edges lie within rows of the reduced image.
    expected = resize(whole[11:1233, 5:1177])
    sloped = np.abs(resize(halves, (5.5, 2.5, 616.5, 588.5)) - expected)
    assert sloped.max() < 1.5
    level = np.abs(resize(whole[10:1232, 4:1176]) - expected)
    assert sloped.mean() < 0.05 * level.mean()


@pytest.mark.parametrize(("rows", "columns"), [(1792, 1796), (1793, 2048), (3601, 1795)])
def test_a_film_may_end_past_the_last_sample_of_its_reduced_image(rows: int, columns: int) -> None:
    y, x = np.mgrid[0:rows, 0:columns]
    whole = (500 + 1.5 * x + 0.7 * y).astype(np.float32)
    # Samples of JPEG 2000 stand over every fourth pixel, so the film ends past the last of them.
    ends = (rows - 0.5) / 4 + 0.5, (columns - 0.5) / 4 + 0.5
    difference = resize(whole[::4, ::4], (0.375, 0.375, *ends)) - resize(whole)
    assert np.abs(difference[2:-2, 2:-2]).max() < 0.02
    assert np.abs(difference).max() < 1.5


def test_a_slope_leaves_the_mean_of_each_row() -> None:
    plane = film(672, 672).astype(np.float32)
    # Three rows to one, no row cut: there is nothing for a slope to do.
    assert np.allclose(resize(plane, (0, 0, 672, 672)), resize(plane), atol=0.01)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2000, 1500), (100.5, 3), (0, 4096)])
def test_windows_are_those_of_the_standard(function: str, center: float, width: float) -> None:
    ds = Dataset()
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = center, width, function
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 12, 0
    values = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    expected = apply_windowing(values, ds) / 4095
    ours = apply_window(values.astype(np.float32), Window(center, width, function))
    assert np.allclose(ours, expected, atol=1e-4)


def test_luts_are_those_of_the_standard() -> None:
    entries = np.linspace(0, 65535, 1000).astype(np.uint16)
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [1000, 200, 16], entries.tolist()
    ds = Dataset()
    ds.VOILUTSequence = [item]
    values = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    assert np.array_equal(apply_lut(values, Lut(200, entries, 16)), apply_voi_lut(values, ds))


def test_lut_sees_values_before_they_are_averaged() -> None:
    values = np.tile(np.array([[0, 1000]], np.uint16), (448, 224))
    values[:100] = 500
    step = Lut(0, np.array([0] * 501 + [4000] * 600, np.uint16), 12)
    pixels = preprocess(values, Display(voi=step)).pixels
    assert pixels[200].mean() == pytest.approx(1, abs=0.01), "half of 0 and 4000, not 0"


@pytest.mark.parametrize(
    ("display", "source", "fell_back"),
    [
        (Display(), "NONE", False),
        (Display(voi=Window(2000, 1500)), "WINDOW_LINEAR", False),
        (Display(voi=Window(2000, 1500, "SIGMOID")), "WINDOW_SIGMOID", False),
        (Display(voi=Window(-9000, 10)), "PERCENTILES", True),
        (Display(voi=Lut(0, np.arange(4096, dtype=np.uint16), 12)), "VOI_LUT", False),
        (Display(voi=Lut(0, np.full(10, 7, np.uint16), 12)), "PERCENTILES", True),
        (
            Display(voi=Lut(int(FILM.min()), np.array([0, 4095], np.uint16), 12)),
            "PERCENTILES",
            True,
        ),
    ],
)
def test_source_of_the_range_is_named(display: Display, source: str, fell_back: bool) -> None:
    presented = preprocess(FILM, display)
    assert (presented.voi_source, presented.fell_back) == (source, fell_back)


@pytest.mark.parametrize(
    "display",
    [
        Display(),
        Display(voi=Window(2000, 1500)),
        Display(voi=Lut(0, np.arange(4096, dtype=np.uint16), 12)),
    ],
    ids=["none", "window", "LUT"],
)
def test_a_film_of_padding_alone_is_invalid(display: Display) -> None:
    with pytest.raises(FileRejected) as caught:
        preprocess(FILM, display, np.zeros(FILM.shape, bool))
    assert caught.value.rejection.code is ReasonCode.INVALID_PIXELS


def test_padding_never_bleeds_into_the_film() -> None:
    inner = film(500, 500)
    padded = np.full((700, 700), 0, np.uint16)
    padded[100:600, 100:600] = inner + 2000
    valid = np.zeros((700, 700), bool)
    valid[100:600, 100:600] = True
    for invert in (False, True):
        pixels = preprocess(padded, Display(invert=invert), valid).pixels
        other = np.where(valid, padded, 60000).astype(np.uint16)
        assert np.array_equal(pixels, preprocess(other, Display(invert=invert), valid).pixels)
        assert pixels[:30].max() == 0, "padding is air"


@pytest.mark.parametrize(
    "values",
    [
        np.full((300, 300), 7, np.uint16),
        np.full((300, 300), np.nan, np.float32),
        np.where(np.eye(300, dtype=bool), np.inf, draw(1, size=300)).astype(np.float32),
    ],
)
def test_pixels_that_are_no_film_are_refused(values: np.ndarray) -> None:
    with pytest.raises(FileRejected) as caught:
        preprocess(values, Display())
    assert caught.value.rejection.code is ReasonCode.INVALID_PIXELS


def test_nothing_but_padding_is_refused() -> None:
    with pytest.raises(FileRejected):
        preprocess(FILM, Display(), np.zeros(FILM.shape, bool))


def test_version_one_is_what_it_was() -> None:
    """A change of these numbers needs a new version, or every model in the field is wrong."""
    assert PREPROCESSING["version"] == 1
    ramp = np.add.outer(np.arange(400), np.arange(300)).astype(np.uint16) ** 2 % 4096
    pixels = preprocess(ramp, Display(voi=Window(1800, 3000), invert=True)).pixels
    found = [round(float(pixels[row, column]), 4) for row, column in ((0, 0), (31, 77), (150, 200))]
    assert found == [1.0, 0.8778, 0.633]
