"""Reading a file of settings: TOML, JSON or YAML, with changes given beside it, and what is wrong with it in one sentence."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from webrec.errors import ConfigurationError
from webrec.nodes.validation import first_error
from webrec.tools.text_safety import clean


class _TwiceError(ValueError):
    """A name is set twice in one table: YAML and JSON would take the last one without a word."""

    def __init__(self, name: object) -> None:
        fix = "write << once, with a list" if name == "<<" else "leave one of the two out"
        super().__init__(f"{clean(str(name), 60)} is set twice; {fix}")


class _YamlLoader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        # Before what `<<` brings is joined to them, which may be set anew.
        names = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
            raise _TwiceError(twice[1])
        return node


def _yaml(text: str) -> Any:
    loader = _YamlLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _json(text: str) -> Any:
    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise _TwiceError(twice)
        return dict(pairs)

    return json.loads(text, object_pairs_hook=table)


_READERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    ".json": ("JSON", _json),
    ".yaml": ("YAML", _yaml),
    ".yml": ("YAML", _yaml),
}
_TOML = ("TOML", tomllib.loads)


def read_settings(path: Path, changes: Iterable[str] = ()) -> dict[str, Any]:
    """The settings in a file, by its ending (TOML unless .json, .yaml or .yml), with `changes` like `training.epochs=1`.

    With `extends: FILE` the settings of another file count as well, except those whose names are here; paths in either are relative to
    `path`. The text "none" unsets a setting. Raises `ConfigurationError`.
    """
    data = _extended(path, ())
    for change in changes:
        _apply(data, change)
    return {name: _without_none(value) for name, value in data.items()}


def _extended(path: Path, before: tuple[Path, ...]) -> dict[str, Any]:
    data = _parse(path)
    if (other := data.pop("extends", None)) is None:
        return data
    if not isinstance(other, str):
        raise ConfigurationError(f"extends: it is no name of a file; write it like extends: {path.name}")
    base = path.parent / other
    if base.resolve() in (seen := (*before, path.resolve())):
        raise ConfigurationError(f"extends: {path.name} extends itself by way of {base.name}; remove one of the two")
    return {**_extended(base, seen), **data}


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"{path}: it cannot be read ({error.strerror}); give a file of settings") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: it is not UTF-8 text; save it as UTF-8") from None
    format_name, read = _READERS.get(path.suffix.lower(), _TOML)
    try:
        data = read(text)
    except _TwiceError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigurationError(f"{path}: it is not {format_name} ({clean(str(error))}); correct it there") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: it is not an object of settings; write each as name and value")
    return data


def _without_none(value: Any) -> Any:
    """TOML has no null: the text "none" stands for it."""
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value]
    return None if value == "none" else value


def _apply(data: dict[str, Any], change: str) -> None:
    """Set one value, `table.name=value`, or `list.0.name=value`; the value is TOML, or plain text where that fails."""
    name, found, text = change.partition("=")
    *tables, last = (part.strip() for part in name.split("."))
    if not found or not last or not all(tables):
        raise ConfigurationError(f"--set: {change!r} is no setting; write it like training.epochs=1")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    inner: Any = data
    for number, table in enumerate(tables):
        here = inner.setdefault(table, {}) if isinstance(inner, dict) else inner[_place(inner, table, change)]
        if not isinstance(here, dict | list):
            where = ".".join(tables[: number + 1])
            raise ConfigurationError(f"--set: {change!r} names a table, but {where} is {here!r}; set {where} itself")
        inner = here
    inner[last if isinstance(inner, dict) else _place(inner, last, change)] = value


def _place(entries: list[Any], name: str, change: str) -> int:
    """Which of a list's entries a part of a name stands for."""
    if name.isdecimal() and int(name) < len(entries):
        return int(name)
    fix = f"use a number from 0 to {len(entries) - 1}" if entries else "set the list itself"
    raise ConfigurationError(f"--set: {change!r} names {clean(name, 60)!r} in a list of {len(entries)}; {fix}")


def sentence(error: ValidationError) -> str:
    """The first problem as `table.name: what is wrong`."""
    problem = error.errors(include_url=False, include_context=True)[0]
    location = problem["loc"]
    if problem["type"] == "union_tag_invalid":
        *tags, last = problem["ctx"]["expected_tags"].replace("'", "").split(", ")
        known = f"{', '.join(tags)} or {last}" if tags else last
        return f"{_path(location)}.kind: {clean(str(problem['ctx']['tag']), 60)!r} is unknown; use {known}"
    if problem["type"] == "missing":
        return f"{_path(location)}: it is missing; set it in the configuration"
    if problem["type"] == "union_tag_not_found":
        return f"{_path(location)}: it has no kind; say which it is, like kind: NAME"
    if problem["type"] in {"model_type", "model_attributes_type", "dict_type"}:
        return f"{_path(location)}: it is not a table; write its settings as names with values"
    if problem["type"] in {"tuple_type", "list_type"}:
        return f"{_path(location)}: it is not a list; write it in brackets, like [{clean(str(problem['input']), 60)}]"
    # Pydantic names the member of a union, told apart by its kind, as if it were a field.
    said = first_error(error)
    union = 2 if location[:1] == ("systems",) else 1 if location[:1] == ("tuning",) else 0
    if not union or len(location) <= union:
        return said
    return said.replace(f"{_path(location[:union])}.{location[union]}", _path(location[:union]), 1)


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
