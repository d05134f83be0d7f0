"""JSON from outside, read strictly into frozen dataclasses that are its schema.

A key that is unknown, missing or double, a value of another type, a number that is not finite, text
with control characters, too much of it or too deep nesting are refused by the name of the field.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH = 12
OPTIONAL = types.MappingProxyType({"optional": True})
"""Metadata of a dataclass's field that JSON written before it was there does without."""
T = TypeVar("T")


class InvalidValueError(ValueError):
    """A value breaks the schema; `str()` of it begins with the field's path and is ASCII."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{ascii(path)[1:-1][:120]}: {why}")


def read_strictly(kind: type[T], content: bytes, name: str, limit: int) -> T:
    """Build a dataclass out of JSON.

    Args:
        kind: A dataclass of str, int, float, Literal, tuple, dict[str, ...], dataclasses and None.
        content: UTF-8 JSON.
        name: What the path of a field begins with.
        limit: The most bytes that are looked at.

    Raises:
        InvalidValueError: the content does not follow the schema.
    """
    if len(content) > limit:
        refuse(name, f"{len(content)} bytes, more than {limit}")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        refuse(name, "not UTF-8")
    _check_depth(text, name)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=lambda constant: refuse(name, f"{constant} is no number"),
        )
    except InvalidValueError:
        raise
    except ValueError as error:
        # JSONDecodeError, or an integer of thousands of digits.
        raise InvalidValueError(name, f"not JSON ({type(error).__name__})") from error
    return typing.cast("T", _read(kind, value, name))


def _check_depth(text: str, name: str) -> None:
    """Refuse deep nesting before the recursive parser sees it."""
    depth, quoted, escaped = 0, False, False
    for character in text:
        if quoted:
            quoted = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                refuse(name, f"nested deeper than {MAX_DEPTH}")
        elif character in "]}":
            depth -= 1


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        refuse(next(name for name in names if names.count(name) > 1), "stands there twice")
    return found


def _read(kind: Any, value: Any, path: str) -> Any:
    """Build a value of the annotated type `kind` out of parsed JSON."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, path)
    if origin is types.UnionType:
        return _read_union(arguments, value, path)
    if origin is Literal:
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            refuse(path, f"{quote(value)} is none of {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        items = _of_type(value, list, path)
        kinds = [arguments[0]] * len(items) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(items):
            refuse(path, f"{len(items)} values, not {len(kinds)}")
        pairs = enumerate(zip(kinds, items, strict=True))
        return tuple(_read(inner, item, f"{path}[{i}]") for i, (inner, item) in pairs)
    if origin is dict:
        items = _of_type(value, dict, path)
        return {
            _text(key, path): _read(arguments[1], item, f"{path}.{key}")
            for key, item in items.items()
        }
    if kind is float:
        return _number(value, path)
    return _text(_of_type(value, kind, path), path) if kind is str else _of_type(value, kind, path)


def _read_dataclass(kind: Any, value: Any, path: str) -> Any:
    items = _of_type(value, dict, path)
    hints = typing.get_type_hints(kind)
    for name in items:
        if name not in hints:
            refuse(f"{path}.{name}", "unknown")
    for field in dataclasses.fields(kind):
        if field.name not in items and not field.metadata.get("optional"):
            refuse(f"{path}.{field.name}", "missing")
    return kind(**{name: _read(hints[name], items[name], f"{path}.{name}") for name in items})


def _read_union(kinds: Iterable[Any], value: Any, path: str) -> Any:
    """A union is `X | None`, or of plain types that JSON tells apart."""
    kinds = list(kinds)
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    matching = [kind for kind in others if kind is type(value)]
    return _read((matching or others)[0], value, path)


def _of_type(value: Any, kind: type, path: str) -> Any:
    # Exact: True is an int to isinstance.
    if type(value) is not kind:
        refuse(path, f"{quote(value)} is no {kind.__name__}")
    return value


def _number(value: Any, path: str) -> float:
    if type(value) not in (int, float):
        refuse(path, f"{quote(value)} is no number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        refuse(path, "not a finite number")
    return number


def _text(value: str, path: str) -> str:
    if any(character < " " or "\ud800" <= character <= "\udfff" for character in value):
        refuse(path, "text with control characters")
    return value


def quote(value: Any) -> str:
    """A value from outside for a message: ASCII and short."""
    return ascii(value)[:60]


def refuse(path: str, why: str) -> NoReturn:
    """Raise the error of a field."""
    raise InvalidValueError(path, why)
