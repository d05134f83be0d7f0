"""Labelled data: layouts, what is refused before any training, splits, and the pixel cache."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.dataset import (
    SPLITS,
    LabelledImage,
    assign_split,
    load_pixels,
    manifest_sha256,
    read_labels,
    split_images,
)
from export.pixels import _key, read_radiographs, require_pixels
from screener.domain import Radiograph, Rejection
from screener.errors import UsageError
from tests.films import dataset, draw, save, save_png


def touch(folder: Path, *names: str) -> Path:
    """Files of a content of their own."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def labels(images: list[LabelledImage], root: Path) -> dict[str, str]:
    return {image.path.relative_to(root).as_posix(): image.label for image in images}


def table(folder: Path, text: str) -> Path:
    (folder / "manifest.csv").write_text(text)
    return folder


def test_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "Normal/a.png", "Normal/deep/b.dcm", "COVID/c.png", "readme.txt")
    touch(tmp_path, ".cache/x", "COVID/.DS_Store", "COVID/.hidden/y", "COVID/Thumbs.db")
    images = read_labels(tmp_path)
    assert labels(images, tmp_path) == {
        "COVID/c.png": "COVID",
        "Normal/a.png": "Normal",
        "Normal/deep/b.dcm": "Normal",
    }
    assert [image.positive for image in images] == [True, False, False]


def test_public_layout_leaves_masks_alone(tmp_path: Path) -> None:
    touch(tmp_path, "COVID/images/c.png", "COVID/masks/c.png", "COVID.metadata.xlsx")
    touch(tmp_path, "Normal/images/a.png", "Normal/masks/a.png")
    assert list(labels(read_labels(tmp_path), tmp_path)) == [
        "COVID/images/c.png",
        "Normal/images/a.png",
    ]


def test_two_of_more_classes_by_links(tmp_path: Path) -> None:
    """The public collection has four class folders."""
    whole, two = tmp_path / "whole", tmp_path / "two"
    for i, label in enumerate(("COVID", "Lung_Opacity", "Normal", "Viral Pneumonia")):
        save_png(draw(i), whole / label / "images" / f"{label}-1.png")
        touch(whole, f"{label}/masks/{label}-1.png")
    with pytest.raises(UsageError, match=r"'Lung_Opacity', 'Normal'.*ln -s"):
        read_labels(whole)
    two.mkdir()
    for label in ("COVID", "Normal"):
        (two / label).symlink_to(whole / label)
    images = read_labels(two)
    assert labels(images, two) == {
        "COVID/images/COVID-1.png": "COVID",
        "Normal/images/Normal-1.png": "Normal",
    }
    assert load_pixels(images)[1] == [None, None]


def test_csv_with_columns(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "sub/b.png")
    text = "\ufefffile,label,group,source\na.png,covid,g1,x\nsub/b.png,normal,g2,\n"
    images = read_labels(table(tmp_path, text))
    assert [(i.label, i.group, i.columns) for i in images] == [
        ("covid", "g1", {"source": "x"}),
        ("normal", "g2", {"source": ""}),
    ]
    assert read_labels(tmp_path / "manifest.csv") == images


def test_csv_without_group_has_a_group_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    images = read_labels(table(tmp_path, "file,label\na.png,covid\nb.png,Normal\n"))
    assert [image.group for image in images] == ["a.png", "b.png"]


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_csv_of_an_offices_spreadsheet(tmp_path: Path, delimiter: str) -> None:
    touch(tmp_path, "a.png", "b, c.png")
    text = "file,label,group\na.png,covid,g\nb# c.png,normal,h\n"
    text = text.replace(",", delimiter).replace("#", ",").replace("\n", "\r\n")
    images = read_labels(table(tmp_path, text))
    assert [(i.path.name, i.label, i.group) for i in images] == [
        ("a.png", "covid", "g"),
        ("b, c.png", "normal", "h"),
    ]


BAD_TABLES = [
    ("", "not a readable CSV"),
    ('file,label\n"a.png,covid\n', "not a readable CSV"),
    ("file,label\na.png,covid\nb.png,normal,x\n", "not a readable CSV .* in line 3, saw 3"),
    ("file,finding\na.png,covid\n", "no column 'label'"),
    ("file,label\na.png,covid\nc.png,normal\n", "1 of 2 files .* do not exist"),
    ("file,label\na.png,covid\nb.png,\n", "line 3 .* empty file, label or group"),
    ("file,label\na.png,covid\nb.png,covid\n", "not hold two classes"),
    ("file,label\na.png,covid\nb.png,pneumonia\n", "not hold two classes"),
    ("file,label\na.png,covid\nb.png,normal\nc/d.png,flu\n", "'covid', 'flu', 'normal'"),
    ("file,label,group\na.png,covid,g\nb.png,normal,g\n", "group 'g' has two labels"),
    ("file,label\na.png,covid\nb.png,normal\nb.png,normal\n", "listed twice"),
    ("file,label\n", "its labels are none"),
    ("file,label,label\na.png,covid,normal\n", "the column 'label' twice"),
]


@pytest.mark.parametrize(("text", "message"), BAD_TABLES)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.png", "b.png", "c/d.png")
    with pytest.raises(UsageError, match=message):
        read_labels(table(tmp_path, text))


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00PK\x03\x04")
    with pytest.raises(UsageError, match="not a readable CSV"):
        read_labels(tmp_path / "list.csv")


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such data"):
        read_labels(tmp_path / "absent")
    with pytest.raises(UsageError, match="labels are none"):
        read_labels(tmp_path)
    touch(tmp_path, "COVID/a.png")
    (tmp_path / "Normal").mkdir()
    with pytest.raises(UsageError, match="the class 'Normal' is empty"):
        read_labels(tmp_path)


def test_same_bytes_with_two_labels(tmp_path: Path) -> None:
    touch(tmp_path, "COVID/a.png", "Normal/b.png")
    (tmp_path / "Normal" / "c.png").write_bytes((tmp_path / "COVID" / "a.png").read_bytes())
    with pytest.raises(
        UsageError, match=r"'a\.png' and 'c\.png' are the same file with two labels"
    ):
        read_labels(tmp_path)


def test_same_bytes_join_their_groups(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{i}.png" for i in range(7)))
    for copy, original in ((3, 0), (4, 3), (5, 1)):
        (tmp_path / f"{copy}.png").write_bytes((tmp_path / f"{original}.png").read_bytes())
    groups = ["a", "b", "c", "d", "d", "c", "n"]
    rows = [f"{i}.png,{'normal' if i == 6 else 'covid'},{g}" for i, g in enumerate(groups)]
    images = read_labels(table(tmp_path, "\n".join(["file,label,group", *rows])))
    # 0 = 3 = 4 joins a and d; 1 = 5 joins b and c.
    assert [image.group for image in images] == ["a", "b", "b", "a", "a", "b", "n"]


def many(count: int = 4000) -> list[LabelledImage]:
    return [
        LabelledImage(Path(f"{i}.png"), "normal" if i % 3 else "covid", f"g{i // 6}")
        for i in range(count)
    ]


def test_split_keeps_groups_together_and_its_shares() -> None:
    images = many()
    parts = split_images(images, 1)
    assert sum(len(part) for part in parts.values()) == len(images)
    where: dict[str, set[str]] = {}
    for name, part in parts.items():
        assert len(part) / len(images) == pytest.approx(SPLITS[name], abs=0.03)
        for image in part:
            where.setdefault(image.group, set()).add(name)
    assert all(len(names) == 1 for names in where.values())


def test_split_depends_on_group_and_seed_alone() -> None:
    images = many(300)
    before = {image.path: assign_split(image, 1) for image in images}
    for image in many(600)[:300]:
        assert assign_split(image, 1) == before[image.path]
    assert any(assign_split(image, 2) != before[image.path] for image in images)


def test_stated_split_is_taken_and_checked() -> None:
    images = [
        LabelledImage(Path(f"{name}{label}"), label, f"{name}{label}", {"split": name})
        for name in SPLITS
        for label in ("covid", "normal")
    ]
    assert {name: len(part) for name, part in split_images(images, 1).items()} == dict.fromkeys(
        SPLITS, 2
    )
    both = LabelledImage(Path("x"), "covid", "traincovid", {"split": "test"})
    with pytest.raises(UsageError, match="group 'traincovid' is in two splits"):
        split_images([*images, both], 1)
    with pytest.raises(UsageError, match="unknown split 'tset'"):
        split_images([*images, LabelledImage(Path("x"), "covid", "x", {"split": "tset"})], 1)
    with pytest.raises(UsageError, match="split 'test' lacks a class"):
        split_images([i for i in images if i.group != "testcovid"], 1)


def test_manifest_hash_knows_names_labels_groups_and_splits() -> None:
    image = LabelledImage(Path("/here/a.png"), "covid", "g", {"source": "x"})
    known = manifest_sha256([image])
    assert manifest_sha256([LabelledImage(Path("/there/a.png"), "covid", "g")]) == known
    for other in (
        LabelledImage(Path("/here/b.png"), "covid", "g"),
        LabelledImage(Path("/here/a.png"), "normal", "g"),
        LabelledImage(Path("/here/a.png"), "covid", "h"),
        LabelledImage(Path("/here/a.png"), "covid", "g", {"split": "test"}),
    ):
        assert manifest_sha256([other]) != known


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    folder = tmp_path_factory.mktemp("films")
    for i in range(3):
        save_png(draw(i), folder / f"{i}.png")
    save(dataset(draw(3), 3), folder / "3.dcm")
    Image.fromarray((draw(4) // 16).astype(np.uint8)).save(folder / "4.jpg", quality=90)
    (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:3000])
    names = ("0.png", "1.png", "4.jpg", "3.dcm", "broken.png")
    return [LabelledImage(folder / name, "covid", name) for name in names]


def test_pixels_are_those_of_scan(films: list[LabelledImage]) -> None:
    pixels, rejections = load_pixels(films)
    assert pixels.shape == (5, 224, 224)
    assert pixels.dtype == np.uint8
    assert [str(r.code) if r else "" for r in rejections] == ["", "", "", "", "TRUNCATED"]
    assert not pixels[4].any()
    for at, result in read_radiographs(films):
        if at < 4:
            assert isinstance(result, Radiograph)
            assert np.abs(pixels[at] / 255 - result.pixels).max() <= 0.5 / 255 + 1e-6
        else:
            assert isinstance(result, Rejection)


def test_unreadable_image_is_named(films: list[LabelledImage], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"1 of 5 images .*broken\.png.*TRUNCATED"):
        require_pixels(films, tmp_path / "pixels.npz")
    assert not (tmp_path / "pixels.npz").exists()


def test_unreadable_images_are_named_but_not_without_end(
    films: list[LabelledImage], tmp_path: Path
) -> None:
    broken = [replace(films[4], group=str(i)) for i in range(7)]
    with pytest.raises(UsageError, match=r"7 of 7 images(.*TRUNCATED\)){5} and more"):
        require_pixels(broken, tmp_path / "pixels.npz")


def test_one_picture_in_two_files_with_two_labels(tmp_path: Path) -> None:
    save_png(draw(1), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "b.png", compress_level=1)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
    images = [LabelledImage(tmp_path / "a.png", "covid", "a")]
    images.append(LabelledImage(tmp_path / "b.png", "normal", "b"))
    with pytest.raises(UsageError, match=r"a\.png' and .*b\.png' are the same picture with two"):
        require_pixels(images, tmp_path / "pixels.npz")
    images[1] = replace(images[1], label="covid")
    assert len(require_pixels(images, tmp_path / "pixels.npz")) == 2


def test_cache_sees_the_list_and_the_files(films: list[LabelledImage], tmp_path: Path) -> None:
    cache = tmp_path / "pixels.npz"
    good = films[:4]
    pixels, _ = load_pixels(good, cache)
    stamp = cache.stat().st_mtime_ns
    again, rejections = load_pixels(good, cache)
    assert (again == pixels).all()
    assert rejections == [None] * 4
    assert cache.stat().st_mtime_ns == stamp

    keys = {_key(part) for part in (good, good[::-1], good[:2])}
    os.utime(good[0].path, ns=(1, 1))
    assert len(keys | {_key(good)}) == 4
    turned, _ = load_pixels(good[::-1], cache)
    assert (turned == pixels[::-1]).all()
    assert cache.stat().st_mtime_ns != stamp
    # A run that was killed while it wrote leaves no half cache; a foreign one is no error.
    cache.write_bytes(cache.read_bytes()[:1000])
    assert (load_pixels(good[::-1], cache)[0] == turned).all()
    assert [path.name for path in tmp_path.iterdir()] == ["pixels.npz"]
