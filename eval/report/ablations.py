"""Which systems of a run differ in one setting alone: the comparisons that say what that setting does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_NOT_STUDIED = {"name"}


@dataclass(frozen=True)
class Ablation:
    """`setting`: the one that differs, e.g. `tune.head.hops`. `steps`: its values and the systems that have them, in order."""

    setting: str
    steps: tuple[tuple[str, str], ...]


def ablations(systems: Sequence[Mapping[str, Any]], retrievals: Sequence[Mapping[str, Any]]) -> list[Ablation]:
    """All of at least two systems, by setting. A head stands for its kind where one has a head and the other has none."""
    by_name = {r["name"]: {k: v for k, v in r.items() if k not in _NOT_STUDIED} for r in retrievals}
    flat = {(s.get("name") or s["kind"]): dict(_flat(_told(s, by_name))) for s in systems if s["kind"] == "llm"}
    found: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, str]] = {}
    names = list(flat)
    for place, first in enumerate(names):
        for second in names[place + 1 :]:
            settings = _difference(flat[first], flat[second])
            if settings is None:
                continue
            rest = tuple(sorted((k, repr(v)) for k, v in flat[first].items() if not _part_of(k, settings)))
            steps = found.setdefault((settings, rest), {})
            for name in (first, second):
                steps[name] = _step(flat[name], settings)
    return [
        Ablation(setting, tuple(sorted(((value, name) for name, value in steps.items()), key=_order)))
        for (setting, _), steps in found.items()
    ]


def _told(system: Mapping[str, Any], retrievals: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The system's settings, with those of its retrieval in place of the name."""
    told = {key: value for key, value in system.items() if key not in _NOT_STUDIED}
    if told.get("retrieval") is not None:
        told["retrieval"] = dict(retrievals[told["retrieval"]])
    return told


def _flat(told: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(told, Mapping) and told:
        for key, value in told.items():
            yield from _flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, told


def _difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> str | None:
    """The one setting in which two systems differ: a leaf, or the head, retrieval or tuning that one of them lacks."""
    different = [k for k in first.keys() | second.keys() if first.get(k, _ABSENT) != second.get(k, _ABSENT)]
    if len(different) == 1:
        return "tune.head" if different[0] == "tune.head.kind" else different[0]
    for whole in ("tune.head", "retrieval", "tune"):
        if different and all(_part_of(k, whole) for k in different):
            # Two heads, two retrievals that differ in several settings say nothing of any one of them.
            lacking = whole in first or whole in second
            return whole if lacking else None
    return None


_ABSENT = object()


def _part_of(key: str, setting: str) -> bool:
    return key == setting or key.startswith(f"{setting}.")


def _step(flat: Mapping[str, Any], setting: str) -> str:
    if setting == "tune.head":
        return str(flat.get("tune.head.kind", "none"))
    if setting in {"retrieval", "tune"}:
        return "none" if flat.get(setting, _ABSENT) is None else "with"
    value = flat.get(setting)
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _order(step: tuple[str, str]) -> tuple[int, float, str]:
    value = step[0]
    try:
        return 1, float(value.split(",")[0]), value
    except ValueError:
        return (0 if value == "none" else 2), 0.0, value
