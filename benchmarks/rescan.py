"""A night on which nothing is new: how many unchanged files a second.

Makes a tree of hard links to drawn films, a thousand a folder, and the state that a first night
would have left: one row a file, two films a study, copied from what a real scan of one film wrote.
Then it runs `screener scan` on it as a user does, report and all: once to tell of them all, and
once more, which is the night that is measured.

    python benchmarks/rescan.py --out FOLDER --count 100000
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import environment, run_measured
from screener.domain import FileStamp
from tests.films import TINY, dataset, draw, save

FOLDER = 1000
SPREAD = 30
"""The nights over which the last check of the content is spread."""


def measure_rescan(folder: Path, count: int) -> dict[str, Any]:
    """Scan a tree of `count` unchanged films once more.

    Returns:
        Seconds of the whole command, files a second, and what the scan itself says that it did.
    """
    tree, out = folder / "tree", folder / "out"
    make_tree(tree, count)
    first = tree / "0000" / "0000000"
    command = [sys.executable, "-m", "screener", "scan", "--quiet", "--model", str(TINY)]
    command += ["--out", str(out)]
    subprocess.run([*command, str(first)], check=True, env=environment(), stdout=subprocess.DEVNULL)
    fill_state(out / "state.sqlite", tree, first)
    run_measured([*command, str(tree)])
    os.sync()
    ran = run_measured([*command, str(tree)])
    facts = json.loads((out / "run.json").read_text())
    if facts["paths"] != count or facts["outcomes"].get("SCORED", {}).get("", 0) != count:
        raise SystemExit(f"the tree of {count} films gave {facts['outcomes']}")
    return {
        "files": count,
        "wall_s": round(ran.wall_s, 2),
        "cpu_s": round(ran.cpu_s, 2),
        "files_a_second": round(count / ran.wall_s),
        "peak_mib": ran.peak_mib,
        "examined": facts["examined"],
    }


def make_tree(tree: Path, count: int) -> None:
    """Hard links: a file system gives an inode 65,000 names at most, so each folder has a film."""
    content = save(dataset(draw(1), 1), tree / "0000" / "0000000").read_bytes()
    for start in range(0, count, FOLDER):
        inner = tree / f"{start // FOLDER:04d}"
        inner.mkdir(exist_ok=True)
        source = inner / f"{start:07d}"
        source.write_bytes(content)
        for number in range(start + 1, min(start + FOLDER, count)):
            os.link(source, inner / f"{number:07d}")


def fill_state(state: Path, tree: Path, first: Path) -> None:
    """Give every file of the tree the row of the first one, with its own stamp and UIDs."""
    db = sqlite3.connect(state)
    db.execute("PRAGMA synchronous = OFF")
    columns = [row[1] for row in db.execute("PRAGMA table_info(images)")]
    values = db.execute("SELECT * FROM images WHERE path = ?", (os.fsencode(first),)).fetchone()
    row = dict(zip(columns, values, strict=True))
    place = {name: columns.index(name) for name in columns}

    def rows() -> Any:
        number = 0
        for inner in sorted(tree.iterdir()):
            for entry in sorted(os.scandir(os.fsencode(inner)), key=lambda entry: entry.name):
                stamp = FileStamp.of(entry.stat(follow_symlinks=False))
                changed = list(row.values())
                for name, value in {
                    "path": entry.path,
                    "size": stamp.size,
                    "mtime_ns": stamp.mtime_ns,
                    "ctime_ns": stamp.ctime_ns,
                    "inode": stamp.inode,
                    "study_key": f"2.25.7.{number // 2}",
                    "study_instance_uid": f"2.25.7.{number // 2}",
                    "sop_instance_uid": f"2.25.8.{number}",
                    "patient_id": f"P{number // 2}",
                    "patient_key": f"P{number // 2}\x1f",
                    # All equally old: the oldest thirtieth is read again tonight.
                    "checked_run": row["checked_run"] - number % SPREAD,
                }.items():
                    changed[place[name]] = value
                yield changed
                number += 1

    marks = ",".join("?" * len(columns))
    with db:
        db.executemany(f"INSERT OR REPLACE INTO images VALUES ({marks})", rows())
        db.execute(
            "INSERT OR IGNORE INTO thumbnails SELECT i.path, t.jpeg FROM images i, thumbnails t"
        )
        db.execute(
            "INSERT OR IGNORE INTO studies (study_key, first_seen_at)"
            " SELECT DISTINCT study_key, '2026-01-01T00:00:00Z' FROM images"
        )
    db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100_000)
    options = parser.parse_args()
    started = time.monotonic()
    print(json.dumps(measure_rescan(options.out, options.count)))
    print(f"{time.monotonic() - started:.0f} s with making the tree", file=sys.stderr)


if __name__ == "__main__":
    main()
