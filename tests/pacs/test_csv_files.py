"""Files for importers: the documented examples byte for byte, and no file twice or lost."""

from __future__ import annotations

import csv
import re
import sqlite3
import sys
import tempfile
import tomllib
from pathlib import Path
from unittest.mock import ANY

import pytest

from screener.durable import Access
from screener.errors import UsageError
from screener.pacs.csv_files import place
from screener.pacs.publish import publish
from screener.pacs.site import CsvDoor, Worklist
from screener.report.layout import TableLayout
from screener.screening import scan
from screener.settings import load_settings
from tests.golden import STUDIES
from tests.pacs import nights
from tests.pacs.nights import FLAGGED, study_uid

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "importers"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.toml"))
RUN = "20240312T020000Z-000001"


@pytest.fixture(scope="module")
def sample_night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_night(tmp_path_factory.mktemp("samples") / "out")


def made_night(out: Path) -> Path:
    """The sample studies with the test bundle, as if scanned at a fixed time."""
    scan([STUDIES], out, nights.settings())
    with sqlite3.connect(out / "state.sqlite") as db:
        db.execute("UPDATE runs SET run_id = ?", (RUN,))
        db.execute(
            "UPDATE told SET row = json_set(row, '$.screened_at', '2024-03-12T02:00:00Z',"
            " '$.run_id', ?)",
            (RUN,),
        )
    db.close()
    return out


def written(name: str, night: Path, folder: Path) -> dict[str, bytes]:
    """Golden name -> content, of what an example makes of a night."""
    config = folder / "site.toml"
    text = (EXAMPLES / f"{name}.toml").read_text(encoding="utf-8")
    target = folder / "importer"
    target.mkdir()
    config.write_text(re.sub(r'folder = "[^"]*"', f'folder = "{target}"', text), encoding="utf-8")
    assert publish(night, load_settings(config)).exit_code == 0
    return {
        f"{name}.{path.name.partition('-')[0]}{path.suffix}"
        if "{priority}" in text
        else f"{name}{path.suffix}": path.read_bytes()
        for path in target.iterdir()
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_example_gives_its_golden_file(name: str, sample_night: Path, tmp_path: Path) -> None:
    night = nights.copied(sample_night, tmp_path / "out")
    made = written(name, night, tmp_path)
    golden = {
        path.name: path.read_bytes()
        for path in EXAMPLES.glob(f"{name}.*")
        if path.suffix != ".toml"
    }
    assert made == golden


def test_there_are_three_examples_and_each_is_documented() -> None:
    assert len(NAMES) >= 3
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([\w-]+)\.toml\)", text)) == set(NAMES)
    for name in NAMES:
        tomllib.loads((EXAMPLES / f"{name}.toml").read_text(encoding="utf-8"))


def rows(folder: Path) -> list[dict[str, str]]:
    found = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as stream:
            found += list(csv.DictReader(stream))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "importer"
    path.mkdir()
    return path


def test_every_study_is_written_once(night: Path, folder: Path) -> None:
    settings = nights.settings(csv={"ris": CsvDoor(folder)})
    assert publish(night, settings).exit_code == 0
    first = rows(folder)
    assert len(first) == len({row["study_key"] for row in first}) == 8
    assert [int(row["rank"]) for row in first] == list(range(1, 9))
    assert publish(night, settings).exit_code == 0
    assert rows(folder) == first


@pytest.mark.long
def test_a_changed_priority_is_written_again(studies: Path, tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "out"
    settings = nights.settings(csv={"ris": CsvDoor(folder, only_raised=True)})
    counts = []
    for threshold in (0.3, 0.9, 0.9, 0.3):
        nights.scanned(studies, out, threshold=threshold)
        publish(out, settings)
        counts.append(len(rows(folder)))
    # Six films and the negative one are raised, taken back, and raised again.
    assert counts == [7, 14, 14, 21]


def test_the_file_of_the_night_before_is_not_lost(folder: Path) -> None:
    first = place(folder, "a.csv", b"one", Access())
    assert place(folder, "a.csv", b"one", Access()) == first
    second = place(folder, "a.csv", b"two", Access())
    assert (first.read_bytes(), second.read_bytes()) == (b"one", b"two")
    assert second.name == "a-2.csv"
    assert sorted(path.name for path in folder.iterdir()) == ["a-2.csv", "a.csv"]


def test_priorities_have_files_of_their_own(night: Path, folder: Path) -> None:
    settings = nights.settings(csv={"ris": CsvDoor(folder, "{priority}-{run_id}.csv")})
    publish(night, settings)
    found = {path.name.partition("-")[0]: len(rows(path.parent)) for path in folder.iterdir()}
    assert set(found) == {"STAT", "NONE"}


def test_a_folder_that_cannot_be_written_leaves_the_rows_queued(
    night: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = nights.settings(csv={"ris": CsvDoor(folder)})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("screener.pacs.local.place", full)
        summary = publish(night, settings)
    assert summary.exit_code == 6
    assert dict(summary.delivered[0].left) == {"DISK": 8}
    assert publish(night, settings).exit_code == 0
    assert len(rows(folder)) == 8


def test_a_share_that_is_not_mounted_holds_no_other_door_up(
    night: Path, folder: Path, tmp_path: Path
) -> None:
    share = tmp_path / "share"
    doors = {"share": CsvDoor(share), "ris": CsvDoor(folder)}
    settings = nights.settings(csv=doors, worklist=Worklist(tmp_path / "worklist"))
    summary = publish(night, settings)
    assert summary.exit_code == 6
    assert {each.door: dict(each.left) for each in summary.delivered} == {
        "worklist": {"DISK": ANY},
        "share": {"DISK": 8},
        "ris": {},
    }
    assert len(rows(folder)) == 8
    share.mkdir()
    (tmp_path / "worklist").mkdir()
    assert publish(night, settings).exit_code == 0
    assert len(rows(share)) == 8


def test_files_that_belong_to_no_study_are_told_on_request(night: Path, folder: Path) -> None:
    publish(night, nights.settings(csv={"all": CsvDoor(folder, only_studies=False)}))
    assert len(rows(folder)) == 9


def test_pseudonyms_of_the_report_hold_here_too(
    studies: Path, tmp_path: Path, folder: Path
) -> None:
    settings = nights.settings(csv={"ris": CsvDoor(folder)}, identifiers="pseudonym")
    scan([studies], tmp_path / "out", settings)
    publish(tmp_path / "out", settings)
    text = "".join(path.read_text(encoding="utf-8") for path in folder.iterdir())
    # Whole UIDs: one in some hundred runs a pseudonym begins with the digits of one of these.
    uids = set(re.findall(r"[\d.]+", text))
    for number in FLAGGED:
        assert study_uid(number) not in uids
    assert "Plain" not in text
    assert "T000" not in text


@pytest.mark.parametrize(
    "file", ["x.csv", "../{run_id}.csv", ".{run_id}", "{run_id", "{run_id}{path}", "{run_id!r}"]
)
def test_a_wrong_file_name_is_refused(file: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file"):
        CsvDoor(tmp_path, file)


def test_a_column_that_there_is_not_is_refused(night: Path, folder: Path) -> None:
    layout = TableLayout(columns=("accesion_number",))
    settings = nights.settings(csv={"ris": CsvDoor(folder, layout=layout)})
    with pytest.raises(UsageError, match="accession_number"):
        publish(night, settings)


def main() -> None:
    """Remake the golden files: python -m tests.pacs.test_csv_files; look at every difference."""
    for name in NAMES:
        for path in EXAMPLES.glob(f"{name}.*"):
            if path.suffix != ".toml":
                path.unlink()
        with tempfile.TemporaryDirectory() as place_:
            folder = Path(place_)
            out = made_night(folder / "out")
            for golden, content in written(name, out, folder).items():
                (EXAMPLES / golden).write_bytes(content)
                (EXAMPLES / golden).chmod(0o644)


if __name__ == "__main__":
    sys.exit(main())
