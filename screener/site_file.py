"""TOML -> frozen dataclasses: the dataclass is the schema, and a mistake is told with its mend."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from screener.accounts import this_account
from screener.errors import UsageError

Schema = TypeVar("Schema")
_LARGEST = 1 << 20
_LET_READ = "let {account} read it and enter its folder: chgrp and chmod g+rX, of both"


def read_site_file(path: Path, schema: type[Schema]) -> Schema:
    """Read a TOML file into a dataclass whose fields are its keys and sections.

    Relative paths in the file start at the file's own folder, so that cron's working folder does
    not matter.

    Raises:
        UsageError: the file, the key and the value, and the nearest right one.
    """
    try:
        table = tomllib.loads(_content(path).decode("utf-8-sig"))
    except OSError as error:
        denied = isinstance(error, PermissionError)
        raise UsageError(
            f"the site file {str(path)!r} cannot be read",
            error.strerror or "",
            _LET_READ.format(account=this_account()) if denied else "`screener init` writes one",
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"the site file {str(path)!r} is not UTF-8", mend="save it so") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"the site file {str(path)!r} is no TOML",
            f"{error}; nothing was written",
            "mend that line; `screener init` writes a whole file to compare with",
        ) from None
    except RecursionError:
        raise UsageError(
            f"the site file {str(path)!r} is nested too deeply",
            mend="`screener init` writes a whole file to compare with",
        ) from None
    try:
        return _Reader(schema, path.parent).table(schema, table, "")
    except UsageError as error:
        raise UsageError(f"{str(path)!r}: {error.what}", error.why, error.mend) from None


def _content(path: Path) -> bytes:
    """All of a regular file: a pipe would hold the night up, a device has no end."""
    if path.exists() and not path.is_file():
        raise UsageError(f"the site file {str(path)!r} is no regular file", mend="name another")
    with path.open("rb") as stream:
        content = stream.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise UsageError(f"the site file {str(path)!r} is larger than 1 MiB", mend="name another")
    return content


class _Reader:
    """Turns values into what the annotations of `schema` say."""

    def __init__(self, schema: type[Any], base: Path) -> None:
        self.base = base
        self.places = {"": tuple(typing.get_type_hints(schema))}
        for name, hint in typing.get_type_hints(schema).items():
            if dataclasses.is_dataclass(hint):
                self.places[name] = tuple(each.name for each in dataclasses.fields(hint))

    def table(self, kind: type[Schema], table: Mapping[str, object], section: str) -> Schema:
        hints = typing.get_type_hints(kind)
        for key in table:
            if key not in hints:
                raise self._unknown_key(key, section, tuple(hints))
        values = {key: self.value(hints[key], table[key], section, key) for key in table}
        try:
            return kind(**values)
        except ValueError as error:
            # A type of the program's own that checks itself; its words are for a user.
            raise UsageError(f"[{section}] {error}" if section else f"{error}") from None

    def value(self, hint: Any, value: object, section: str, key: str) -> Any:
        if isinstance(hint, types.UnionType):
            hint = next(each for each in typing.get_args(hint) if each is not types.NoneType)
        origin = typing.get_origin(hint) or hint
        name = f"[{section}] {key}" if section else key
        if isinstance(value, str) and "\0" in value:
            raise UsageError(
                f"{name} = {_quoted(value)} holds a character that no name has",
                "nothing was written",
                "mend that line",
            )
        if origin is Literal:
            return _choice(typing.get_args(hint), value, name)
        if origin is Mapping and isinstance(value, dict):
            kind_of_key, kind_of_value = typing.get_args(hint)
            return {
                _key(kind_of_key, inner, key): self.value(kind_of_value, each, key, inner)
                for inner, each in value.items()
            }
        if dataclasses.is_dataclass(origin) and isinstance(value, dict):
            return self.table(typing.cast("type[Any]", origin), value, key)
        if origin is tuple and isinstance(value, list):
            of = typing.get_args(hint)[0]
            return tuple(self.value(of, each, section, key) for each in value)
        # Exact types: true is an int to isinstance.
        if origin is float and type(value) in {int, float} and math.isfinite(value):  # type: ignore[arg-type]
            return float(typing.cast("float", value))
        if origin is Path and isinstance(value, str) and value:
            return self.base / Path(value).expanduser()
        if origin in {bool, int, str} and type(value) is origin:
            return value
        raise UsageError(
            f"{name} = {_quoted(value)} is {_TYPES.get(type(value), 'a date or time')}",
            f"it must be {_WANTED.get(origin, 'a table')}; nothing was written",
            "mend that line; `screener init` writes a whole file to compare with",
        )

    def _unknown_key(self, key: str, section: str, known: tuple[str, ...]) -> UsageError:
        what = f"unknown key {key!r}" + (f" in [{section}]" if section else "")
        for place, names in self.places.items():
            if key in names:
                where = f"under [{place}]" if place else "above the first [section]"
                return UsageError(what, mend=f"it belongs {where}")
        spelled = key.replace("-", "_").lower()
        near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.5)
        if not near:
            anywhere = [name for names in self.places.values() for name in names]
            near = difflib.get_close_matches(spelled, anywhere, n=1, cutoff=0.7)
        if near:
            return UsageError(what, mend=f"did you mean {near[0]!r}?")
        return UsageError(what, mend=f"known are {', '.join(sorted(known))}")


def _choice(choices: tuple[str, ...], value: object, name: str) -> str:
    if isinstance(value, str) and value in choices:
        return value
    near = difflib.get_close_matches(str(value).lower(), [each.lower() for each in choices], n=1)
    right = [each for each in choices if each.lower() in near]
    raise UsageError(
        f"{name} = {_quoted(value)}",
        f"it must be one of {', '.join(choices)}",
        f"did you mean {right[0]!r}?" if right else "",
    )


def _key(kind: type[Any], key: str, section: str) -> Any:
    if issubclass(kind, enum.StrEnum):
        return kind(_choice(tuple(each.value for each in kind), key, f"[{section}] key"))
    return key


_WANTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text in quotes",
    Path: "a path in quotes",
    tuple: "a list in square brackets",
}
_TYPES = {
    bool: "a truth value",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a table",
}


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
