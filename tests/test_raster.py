"""`screener.raster`: 8 and 16 bits unharmed; nothing cut or coloured passes."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from screener.domain import FileKind, Limits
from screener.errors import FileRejected
from screener.outcomes import ReasonCode, Warn
from screener.raster import RasterImage, read_raster, to_grey, upright
from screener.tiff import read_tiff

sys.path.insert(0, str(Path(__file__).parent / "data"))
from make_codestreams import image

LIMITS = Limits()
ANY_CUT = (ReasonCode.TRUNCATED, ReasonCode.MALFORMED, ReasonCode.DECODE_ERROR)
GREY8: NDArray[np.uint8] = image("u8")
GREY16: NDArray[np.uint16] = image("u16")
GREY12: NDArray[np.uint16] = image("u12")
RGB: NDArray[np.uint8] = image("rgb8")


def saved(picture: NDArray[Any] | Image.Image, kind: str, **options: Any) -> bytes:
    """As Pillow writes it."""
    stream = io.BytesIO()
    film = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    film.save(stream, kind, **options)
    return stream.getvalue()


def read(content: bytes, kind: str, *, full_size: bool = True, **limits: int) -> RasterImage:
    return read_raster(memoryview(content), FileKind(kind), Limits(**limits), full_size=full_size)


def refused(content: bytes, kind: str, **limits: int) -> ReasonCode:
    with pytest.raises(FileRejected) as caught:
        read(content, kind, **limits)
    return caught.value.rejection.code


def grey_rgb(plane: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(plane[..., None], 3, axis=-1)


def with_alpha(samples: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    samples = samples[..., None] if samples.ndim == 2 else samples
    return np.concatenate([samples, alpha[..., None].astype(samples.dtype)], axis=-1)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), kind) + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    header: tuple[int, ...], data: bytes, *others: bytes, end: bytes = png_chunk(b"IEND", b"")
) -> bytes:
    """A PNG made by hand: `header` is IHDR's seven fields."""
    chunks = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header)), *others
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + png_chunk(b"IDAT", data) + end


def interlaced(plane: NDArray[np.uint16]) -> bytes:
    """A 16-bit grey PNG in Adam7's seven passes."""
    rows, columns = plane.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    lines = b"".join(
        b"\x00" + line.astype(">u2").tobytes()
        for top, left, down, across in passes
        for line in plane[top::down, left::across]
    )
    return png((columns, rows, 16, 0, 0, 0, 1), zlib.compress(lines))


OPAQUE8 = np.full(GREY8.shape, 255, np.uint8)
OPAQUE16 = np.full(GREY8.shape, 65535, np.uint16)
WHOLE: dict[str, tuple[str, bytes, NDArray[Any]]] = {
    "png 8": ("PNG", saved(GREY8, "PNG"), GREY8),
    "png 16": ("PNG", saved(GREY16, "PNG"), GREY16),
    "png 16 interlaced": ("PNG", interlaced(GREY16), GREY16),
    "png 16 by libpng": ("PNG", bytes(imagecodecs.png_encode(GREY16)), GREY16),
    "png rgb 8": ("PNG", saved(grey_rgb(GREY8), "PNG"), GREY8),
    "png rgb 16": ("PNG", bytes(imagecodecs.png_encode(grey_rgb(GREY16))), GREY16),
    "png palette": ("PNG", saved(Image.fromarray(GREY8).convert("P"), "PNG"), GREY8),
    "png grey alpha": ("PNG", saved(Image.fromarray(GREY8).convert("LA"), "PNG"), GREY8),
    "png rgba": ("PNG", saved(Image.fromarray(GREY8).convert("RGBA"), "PNG"), GREY8),
    "png 16 alpha": ("PNG", bytes(imagecodecs.png_encode(with_alpha(GREY16, OPAQUE16))), GREY16),
    "png 1": ("PNG", saved(Image.fromarray(GREY8 > 99), "PNG"), np.where(GREY8 > 99, 255, 0)),
    "tiff 8": ("TIFF", saved(GREY8, "TIFF"), GREY8),
    "tiff 16": ("TIFF", saved(GREY16, "TIFF"), GREY16),
    "tiff float": ("TIFF", saved(GREY16.astype(np.float32), "TIFF"), GREY16),
    "tiff signed": ("TIFF", saved(Image.fromarray(image("s16").astype(np.int32)), "TIFF"),
                    image("s16")),
    "tiff rgb": ("TIFF", saved(grey_rgb(GREY8), "TIFF"), GREY8),
    "tiff rgba": ("TIFF", saved(Image.fromarray(GREY8).convert("RGBA"), "TIFF"), GREY8),
    "tiff palette": (
        "TIFF",
        saved(Image.fromarray(GREY8).convert("P"), "TIFF"),
        GREY8.astype(np.uint16) * 256,
    ),
    "tiff big endian": ("TIFF", saved(GREY16.astype(">u2"), "TIFF"), GREY16),
}  # fmt: skip
WHOLE |= {
    f"tiff 16 {compression}": ("TIFF", saved(GREY16, "TIFF", compression=compression), GREY16)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits")
}
LOSSY: dict[str, tuple[str, bytes]] = {
    "jpeg": ("JPEG", saved(GREY8, "JPEG", quality=95)),
    "jpeg progressive": ("JPEG", saved(GREY8, "JPEG", quality=95, progressive=True)),
    "jpeg rgb": ("JPEG", saved(grey_rgb(GREY8), "JPEG", quality=95)),
    "jpeg rgb subsampled": ("JPEG", saved(grey_rgb(GREY8), "JPEG", quality=95, subsampling=2)),
    "tiff jpeg": ("TIFF", saved(GREY8, "TIFF", compression="jpeg", quality=95)),
    "tiff jpeg rgb": ("TIFF", saved(grey_rgb(GREY8), "TIFF", compression="jpeg", quality=95)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_lossless_file_keeps_every_bit(name: str) -> None:
    kind, content, expected = WHOLE[name]
    result = read(content, kind)
    assert np.array_equal(result.stored.values, expected)
    assert (result.instance.rows, result.instance.columns) == expected.shape
    assert result.instance.kind == kind
    assert not result.warnings
    assert not result.display.invert
    assert result.stored.values.dtype.isnative


def test_the_big_endian_file_is_one() -> None:
    assert WHOLE["tiff big endian"][1].startswith(b"MM\x00*")


@pytest.mark.parametrize("name", LOSSY)
def test_a_whole_lossy_file_is_near_and_says_so(name: str) -> None:
    kind, content = LOSSY[name]
    result = read(content, kind)
    error = np.abs(result.stored.values.astype(int) - GREY8)
    assert error.max() <= 8
    assert result.warnings == {Warn.LOSSY}


def test_twelve_bits_and_lossless_jpeg_files_are_read() -> None:
    twelve = bytes(imagecodecs.jpeg8_encode(GREY12, level=98, bitspersample=12))
    lossless = bytes(imagecodecs.jpeg8_encode(GREY16, lossless=True))
    near = read(twelve, "JPEG").stored.values
    assert near.dtype == np.uint16
    assert np.abs(near.astype(int) - GREY12).max() < 40
    exact = read(lossless, "JPEG")
    assert np.array_equal(exact.stored.values, GREY16)
    assert not exact.warnings


def test_the_decoder_is_named() -> None:
    for name, library in (("png 8", "imagecodecs/libpng"), ("tiff 8", "imagecodecs/libtiff")):
        kind, content, _ = WHOLE[name]
        assert read(content, kind).stored.decoder.startswith(library + " ")
    assert read(LOSSY["jpeg"][1], "JPEG").stored.decoder.startswith("pillow/libjpeg-turbo ")


# ---- cut files


def cut_lengths(content: bytes) -> list[int]:
    step = max(1, len(content) // 50)
    return sorted({*range(0, len(content), step), *range(len(content) - 9, len(content))})


@pytest.mark.parametrize("name", [*WHOLE, *LOSSY])
def test_a_cut_file_is_never_read(name: str) -> None:
    kind, content = (WHOLE.get(name) or LOSSY[name])[:2]
    # Pillow's TIFF may end in directories or arrays; the last byte always belongs to something.
    for length in cut_lengths(content.rstrip(b"\x00") if kind == "TIFF" else content):
        assert refused(content[:length], kind) in ANY_CUT, length


@pytest.mark.parametrize(
    "name", ["png 16", "jpeg", "jpeg rgb", "tiff 16 tiff_adobe_deflate", "tiff jpeg", "png palette"]
)
def test_a_file_whose_end_was_never_written_is_not_read(name: str) -> None:
    # What a copy leaves that reserves the space first: the right length, zeros at the end.
    kind, content = (WHOLE.get(name) or LOSSY[name])[:2]
    if kind == "TIFF":
        tags = read_tiff(content)[0].tags
        (start,), (length,) = tags[273], tags[279]
        spans = [(start + cut, start + length) for cut in range(4, length - 6, 9)]
    else:
        spans = [(length, len(content)) for length in cut_lengths(content[:-12])]
    for start, end in spans:
        filled = content[:start] + bytes(end - start) + content[end:]
        assert refused(filled, kind) in ANY_CUT, start


def test_a_png_without_its_end_is_truncated() -> None:
    assert refused(saved(GREY8, "PNG")[:-12], "PNG") is ReasonCode.TRUNCATED


def test_a_png_with_too_little_inside_is_not_read() -> None:
    rows = b"".join(b"\x00" + line.tobytes() for line in GREY8[:-1])
    header = (GREY8.shape[1], GREY8.shape[0], 8, 0, 0, 0, 0)
    assert refused(png(header, zlib.compress(rows)), "PNG") in ANY_CUT


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_garbage_is_refused(kind: str) -> None:
    start = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff", "TIFF": b"II*\x00"}[kind]
    for content in (b"", start, start + bytes(50), start + b"\xff" * 50, start + b"abcd" * 200):
        assert refused(content, kind) in ANY_CUT, content


# ---- colour


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("PNG", saved(RGB, "PNG")),
        ("PNG", saved(Image.fromarray(RGB).convert("P"), "PNG")),
        ("JPEG", saved(RGB, "JPEG", quality=95)),
        ("JPEG", saved(Image.fromarray(GREY8).convert("CMYK"), "JPEG")),
        ("TIFF", saved(RGB, "TIFF")),
        ("TIFF", saved(Image.fromarray(RGB).convert("P"), "TIFF")),
        ("TIFF", saved(Image.fromarray(GREY8).convert("CMYK"), "TIFF")),
        ("TIFF", saved(Image.fromarray(RGB).convert("LAB"), "TIFF")),
    ],
)
def test_colour_is_ineligible(kind: str, content: bytes) -> None:
    assert refused(content, kind) is ReasonCode.COLOUR


@pytest.mark.parametrize(
    ("difference", "tolerance", "is_grey"),
    [(0, 0, True), (1, 0, False), (2, 2, True), (3, 2, False), (-2, 2, True), (-3, 2, False)],
)
@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_two_levels_are_grey_where_lossy(
    difference: int, tolerance: int, is_grey: bool, channel: int, dtype: type
) -> None:
    samples = np.full((4, 4, 3), 7, dtype)
    samples[2, 1, channel] = 7 + difference
    if is_grey:
        assert to_grey(samples, tolerance=tolerance).shape == (4, 4)
    else:
        with pytest.raises(FileRejected, match="COLOUR"):
            to_grey(samples, tolerance=tolerance)


def test_one_coloured_pixel_in_a_lossless_film_is_colour() -> None:
    samples = grey_rgb(GREY8).copy()
    samples[3, 4, 0] ^= 1
    assert refused(saved(samples, "PNG"), "PNG") is ReasonCode.COLOUR


# ---- transparency, polarity, orientation


def test_transparent_pixels_are_air() -> None:
    alpha = OPAQUE8.copy()
    alpha[:5], alpha[5:7] = 0, 128
    expected = GREY8.copy()
    expected[:5] = 0
    expected[5:7] = np.rint(GREY8[5:7] * (128 / 255))
    content = saved(Image.fromarray(with_alpha(grey_rgb(GREY8), alpha)), "PNG")
    assert np.array_equal(read(content, "PNG").stored.values, expected)
    inverted = to_grey(with_alpha(GREY8, alpha), tolerance=0, white_is_zero=True)
    assert (inverted[:5] == 255).all()
    assert np.array_equal(inverted[7:], GREY8[7:])


def tiff_with(content: bytes, tag: int, *values: int) -> bytes:
    """A little endian TIFF of Pillow with the values of one tag overwritten."""
    start = struct.unpack_from("<I", content, 4)[0] + 2
    for entry in range(start, len(content), 12):
        found, kind, count = struct.unpack_from("<HHI", content, entry)
        if found == tag:
            letter = {3: "H", 4: "I"}[kind]
            place = entry + 8
            if struct.calcsize(f"{count}{letter}") > 4:
                (place,) = struct.unpack_from("<I", content, place)
            changed = bytearray(content)
            struct.pack_into(f"<{len(values)}{letter}", changed, place, *values)
            return bytes(changed)
    raise LookupError(tag)


def test_associated_alpha_in_a_tiff_has_been_applied_already() -> None:
    alpha = OPAQUE8.copy()
    alpha[:5], alpha[5:7] = 0, 128
    samples = with_alpha(grey_rgb(GREY8), alpha)
    shown = np.rint(GREY8 * (alpha / 255)).astype(np.uint8)
    unassociated = saved(Image.fromarray(samples), "TIFF")
    assert np.array_equal(read(unassociated, "TIFF").stored.values, shown)
    multiplied = saved(Image.fromarray(with_alpha(grey_rgb(shown), alpha)), "TIFF")
    associated = tiff_with(multiplied, 338, 1)
    assert np.array_equal(read(associated, "TIFF").stored.values, shown)


@pytest.mark.parametrize("compression", ["raw", "packbits"])
def test_a_tiff_strip_that_was_never_written_is_no_film(compression: str) -> None:
    # A writer that was interrupted left its offset at 0: the header was taken for pixels.
    content = saved(GREY8, "TIFF", compression=compression)
    assert refused(tiff_with(content, 273, 0), "TIFF") is ReasonCode.MALFORMED


def test_white_is_zero_is_inverted_by_the_display() -> None:
    tag = {262: 0}
    eight = read(saved(GREY8, "TIFF", tiffinfo=tag), "TIFF")
    assert eight.display.invert
    with Image.open(io.BytesIO(saved(GREY8, "TIFF", tiffinfo=tag))) as shown:
        assert np.array_equal(255 - eight.stored.values, np.asarray(shown))
    assert read(saved(GREY16, "TIFF", tiffinfo=tag), "TIFF").display.invert


@pytest.mark.parametrize("orientation", range(10))
def test_the_film_is_held_as_its_exif_says(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    plane = np.tile(GREY8, (12, 14))
    stream = io.BytesIO(saved(plane, "JPEG", quality=95, exif=exif))
    with Image.open(stream) as unturned:
        unturned.load()
        methods = {
            2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }  # fmt: skip
        method = methods.get(orientation)
        shown = np.asarray(unturned if method is None else unturned.transpose(method))
    for full_size in (True, False):
        result = read(stream.getvalue(), "JPEG", full_size=full_size)
        assert np.array_equal(result.stored.values, shown)
        assert (result.instance.rows, result.instance.columns) == shown.shape
    for kind, options in (("PNG", {"exif": exif}), ("TIFF", {"tiffinfo": {274: orientation}})):
        turned = read(saved(GREY16, kind, **options), kind).stored.values
        assert np.array_equal(turned, upright(GREY16, orientation))


def test_a_broken_exif_block_turns_nothing() -> None:
    content = saved(GREY8, "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")
    assert read(content, "JPEG").stored.values.shape == GREY8.shape


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_exif_block_that_is_broken_elsewhere_turns_the_film(order: str) -> None:
    # What a program leaves that drops the maker's note and keeps its entry.
    entries = [(271, 2, 4, 0), (274, 3, 1, 6 if order == "<" else 6 << 16), (37500, 7, 999, 60000)]
    block = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(entries))
    block += b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries) + bytes(4)
    content = saved(GREY8, "JPEG", quality=95, exif=b"Exif\x00\x00" + block)
    upside = read(saved(GREY8, "JPEG", quality=95), "JPEG").stored.values
    assert np.array_equal(read(content, "JPEG").stored.values, upright(upside, 6))
    png_block = png_chunk(b"eXIf", block)
    plain = saved(GREY8, "PNG")
    turned = read(plain[:33] + png_block + plain[33:], "PNG").stored.values
    assert np.array_equal(turned, upright(GREY8, 6))


def test_a_cross_check_of_upright_with_exif_transpose() -> None:
    from PIL import ImageOps

    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        with Image.open(io.BytesIO(saved(GREY8, "PNG", exif=exif))) as film:
            expected = np.asarray(ImageOps.exif_transpose(film))
        assert np.array_equal(upright(GREY8, orientation), expected)


# ---- sizes, pages, bombs


def test_the_pixel_budget_comes_before_the_decoder() -> None:
    pixels = GREY8.size - 1
    for name in ("png 16", "tiff 16", "tiff 16 tiff_lzw"):
        kind, content, _ = WHOLE[name]
        assert refused(content, kind, pixels=pixels) is ReasonCode.TOO_LARGE
    assert refused(LOSSY["jpeg"][1], "JPEG", pixels=pixels) is ReasonCode.TOO_LARGE


def test_pillows_own_limit_does_not_interfere(monkeypatch: pytest.MonkeyPatch) -> None:
    # Warnings are errors in tests: a DecompressionBombWarning would show.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind, content in ((k, c) for k, c, *_ in [*WHOLE.values(), *LOSSY.values()]):
        assert read(content, kind).stored.values.size == GREY8.size


def test_a_png_that_claims_the_world_is_refused_before_it_is_unpacked() -> None:
    tiny = zlib.compress(bytes(100))
    assert refused(png((9000, 9000, 16, 6, 0, 0, 0), tiny), "PNG") is ReasonCode.TRUNCATED
    huge = png((2**31 - 1, 2**31 - 1, 16, 6, 0, 0, 0), zlib.compress(bytes(10**7), 9))
    assert refused(huge, "PNG") in (ReasonCode.TOO_LARGE, ReasonCode.TRUNCATED)
    fitting = png((20000, 20000, 8, 0, 0, 0, 0), bytes(400_000))
    assert refused(fitting, "PNG") is ReasonCode.TOO_LARGE


def test_text_and_profile_bombs_are_never_unpacked() -> None:
    bomb = zlib.compress(bytes(20_000_000), 9)
    others = [
        png_chunk(b"zTXt", b"a\x00\x00" + bomb),
        png_chunk(b"iTXt", b"a\x00\x01\x00\x00\x00" + bomb),
        png_chunk(b"iCCP", b"a\x00\x00" + bomb),
        png_chunk(b"gAMA", struct.pack(">I", 1)),
    ]
    header = (GREY8.shape[1], GREY8.shape[0], 8, 0, 0, 0, 0)
    lines = b"".join(b"\x00" + line.tobytes() for line in GREY8)
    content = png(header, zlib.compress(lines), *others)
    assert np.array_equal(read(content, "PNG").stored.values, GREY8)


def test_data_behind_the_rows_is_never_unpacked() -> None:
    lines = b"".join(b"\x00" + line.tobytes() for line in GREY8)
    header = (GREY8.shape[1], GREY8.shape[0], 8, 0, 0, 0, 0)
    content = png(header, zlib.compress(lines + bytes(20_000_000)))
    assert np.array_equal(read(content, "PNG").stored.values, GREY8)


def test_a_deflate_bomb_in_a_tiff_is_stopped() -> None:
    content = saved(GREY8, "TIFF", compression="tiff_adobe_deflate")
    start = content.index(b"\x78\x9c")
    (offset,) = struct.unpack_from("<I", content, 4)
    bomb = zlib.compress(bytes(20_000_000), 9)
    directory = bytearray(content[offset:])
    for number in range(struct.unpack_from("<H", directory)[0]):
        entry = 2 + 12 * number
        (tag,) = struct.unpack_from("<H", directory, entry)
        if tag == 273:
            struct.pack_into("<HII", directory, entry + 2, 4, 1, 8)
        if tag == 279:
            struct.pack_into("<HII", directory, entry + 2, 4, 1, len(bomb))
    assert start > 0
    made = content[:4] + struct.pack("<I", 8 + len(bomb)) + bomb + bytes(directory)
    assert refused(made, "TIFF", pixels=1_000_000) is ReasonCode.BOMB


def test_several_pages_are_several_frames() -> None:
    second = Image.fromarray(GREY8)
    content = saved(GREY8, "TIFF", save_all=True, append_images=[second])
    assert refused(content, "TIFF") is ReasonCode.MULTI_FRAME
    animated = saved(GREY8, "PNG", save_all=True, append_images=[Image.fromarray(255 - GREY8)])
    assert refused(animated, "PNG") is ReasonCode.MULTI_FRAME


def test_a_thumbnail_is_no_second_page() -> None:
    small = Image.fromarray(GREY8[::4, ::4].copy())
    small.encoderinfo = {"tiffinfo": {254: 1}}
    content = saved(GREY16, "TIFF", save_all=True, append_images=[small])
    assert np.array_equal(read(content, "TIFF").stored.values, GREY16)


def test_tiff_directories_in_a_circle_end() -> None:
    content = bytearray(saved(GREY8, "TIFF"))
    (offset,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, offset)
    struct.pack_into("<I", content, offset + 2 + 12 * count, offset)
    assert refused(bytes(content), "TIFF") is ReasonCode.MALFORMED


@pytest.mark.parametrize(
    "content",
    [
        saved(Image.fromarray(GREY8 > 99), "TIFF"),
        saved(Image.fromarray(GREY8 > 99), "TIFF", compression="group4"),
        saved(Image.fromarray(grey_rgb(GREY8)), "TIFF", compression="zstd"),
    ],
)
def test_a_tiff_of_a_kind_that_is_not_read_says_so(content: bytes) -> None:
    assert refused(content, "TIFF") is ReasonCode.UNSUPPORTED_SYNTAX


def test_a_critical_chunk_that_nobody_knows_is_refused() -> None:
    lines = zlib.compress(b"".join(b"\x00" + line.tobytes() for line in GREY8))
    header = (GREY8.shape[1], GREY8.shape[0], 8, 0, 0, 0, 0)
    assert refused(png(header, lines, png_chunk(b"CgBI", b"")), "PNG") is ReasonCode.MALFORMED


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_in_png_data_is_found_by_its_checksum(bit: int) -> None:
    content = bytearray(saved(GREY16, "PNG"))
    content[content.index(b"IDAT") + 100] ^= 1 << bit
    assert refused(bytes(content), "PNG") is ReasonCode.DECODE_ERROR


# ---- reduced


def test_a_large_grey_jpeg_is_decoded_small() -> None:
    rows, columns = 1801, 1795
    y, x = np.mgrid[0:rows, 0:columns]
    plane = (120 + 100 * np.sin(x / 90) * np.cos(y / 70)).astype(np.uint8)
    content = saved(plane, "JPEG", quality=95)
    result = read(content, "JPEG", full_size=False)
    assert result.stored.values.shape == (451, 449)
    assert result.stored.levels_dropped == 2
    assert result.stored.extent == (0, 0, rows / 4, columns / 4)
    assert (result.instance.rows, result.instance.columns) == (rows, columns)
    assert read(content, "JPEG").stored.values.shape == (rows, columns)


def test_colour_is_judged_at_full_size() -> None:
    # One red line would vanish in the mean.
    samples = np.full((900, 900, 3), 128, np.uint8)
    samples[450] = (255, 0, 0)
    content = saved(samples, "JPEG", quality=95)
    with pytest.raises(FileRejected, match="COLOUR"):
        read(content, "JPEG", full_size=False)
