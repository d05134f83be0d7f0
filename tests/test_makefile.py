"""`make model` gives commands that the program takes, in an order that can work."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from typer.main import get_command

from screener.cli import app

ROOT = Path(__file__).parent.parent


def planned(*variables: str) -> list[list[str]]:
    """The commands of `make model`, none of which is run."""
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "model", *variables],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if re.match(r"\S*/screener ", line)]


def test_make_model_goes_the_whole_way() -> None:
    commands = planned("DATA=/data/films", "NEGATIVES=/data/other", "SETTINGS=mixup=0.2 tail=0.5")
    program = get_command(app)
    read: list[tuple[str, dict[str, object]]] = []
    for words in commands:
        with program.make_context("screener", list(words)) as context:
            name, inner, rest = program.resolve_command(context, list(words))  # type: ignore[attr-defined]
            if hasattr(inner, "resolve_command"):
                name, inner, rest = inner.resolve_command(context, rest)
            with inner.make_context(name, rest, parent=context) as inside:
                read.append((str(name), inside.params))
    assert [name for name, _ in read] == [
        *("train", "export", "verify", "export", "verify", "evaluate", "evaluate")
    ]
    train, export, _, small, _, evaluate, evaluate_small = (params for _, params in read)
    assert train["settings"] == ["mixup=0.2", "tail=0.5"]
    assert (train["recipe"], train["weights"], train["seed"]) == ("scratch", "scratch", 1)
    assert export["checkpoint"] == Path("runs/model/best.pt")
    assert (small["checkpoint"], small["int8"]) == (export["out"], True)
    assert [str(one["model"]) for one in (evaluate, evaluate_small)] == [
        str(export["out"]),
        str(small["out"]),
    ]
    # A record is public: it shows no film.
    assert evaluate["films"] is evaluate_small["films"] is False


def test_the_record_names_what_make_model_runs() -> None:
    record = (ROOT / "export/records/screener-covid/README.md").read_text(encoding="utf-8")
    told = re.search(r"`make model DATA=DATA (.*?)`", record)
    assert told is not None
    train = planned("DATA=DATA", *shlex.split(told[1]))[0]
    stated = re.search(r"\| train \| `screener (.*?)`", record)
    assert stated is not None
    given = shlex.split(stated[1])
    for option in ("--recipe", "--length"):
        assert train[train.index(option) + 1] == given[given.index(option) + 1]
    settings = [
        [words[at + 1] for at, word in enumerate(words) if word == "--set"]
        for words in (train, given)
    ]
    assert settings[0] == settings[1] == ["strength=1", "drop_path=0", "mixup=0", "tail=0"]
