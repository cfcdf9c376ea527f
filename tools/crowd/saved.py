"""A crowd on disk: what was taken, without whose it was, and the weights of the evidence; JSON, and safetensors for what was learned."""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from webrec.errors import ConfigurationError
from webrec.tools.crowd.choice import ChoiceModel
from webrec.tools.crowd.records import ItemFacts, Records
from webrec.tools.crowd.similarity import LearnedSimilarity, TextMaps

FORMAT = 2
MODEL, ITEMS, SEQUENCES, SIMILARITY = "crowd.json", "items.jsonl.gz", "sequences.jsonl.gz", "similarity.safetensors"
LEARNING = ".learning"
"""Folder in a crowd's, where what is learned is kept until the crowd is saved."""
_MOST = 64 * 2**20
"""Characters of a line: more is no item and no user."""
_FAR = 1000.0
"""Nats that nothing learned comes near."""


@dataclass(frozen=True)
class SavedCrowd:
    """`model`: its names are features of `webrec.tools.crowd.features`, and `LEARNED` with a `similarity` of the records' items."""

    records: Records
    model: ChoiceModel
    similarity: LearnedSimilarity | None = None


def check_crowd_folder(folder: Path) -> None:
    """Raise `ConfigurationError` where a crowd cannot be saved, or would be written among what is none; nothing is left behind.

    A folder may hold a crowd, which the new one replaces, or what a run that was stopped left.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"output: {folder} is a file; give a folder")
        there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
        held = {path.name for path in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise ConfigurationError(
            f"output: {folder} cannot be written ({error.strerror}); give another folder"
        ) from None
    left = {SEQUENCES, SIMILARITY, f"{SIMILARITY}.new", f"{MODEL}.new"}
    if SEQUENCES in held:  # which is written first: items alone may be those of a data set
        left.add(ITEMS)
    # Hidden files are nobody's data, and what is learned lies in a hidden folder.
    if MODEL not in held and (foreign := sorted(name for name in held - left if not name.startswith("."))):
        raise ConfigurationError(f"output: {folder} holds {foreign[0]!r} and no {MODEL}; give a new folder")


def save_crowd(folder: Path, crowd: SavedCrowd) -> None:
    """Write the folder; the model last, so that a folder with one is whole. Raises `ConfigurationError` where it cannot."""
    records, model = crowd.records, crowd.model
    items = [
        {"title": fact.title, "brand": fact.brand, "categories": list(fact.categories), "year": fact.year}
        for fact in (records.facts[item] for item in records.numbers)
    ]
    times: list[Any] = [list(own) for own in records.times] if records.times else [None] * len(records.sequences)
    sequences = [
        {"items": [records.numbers[item] for item in sequence], "times": own}
        for sequence, own in zip(records.sequences, times, strict=True)
    ]
    told = {
        "format": FORMAT,
        "learned": crowd.similarity is not None,
        "features": {
            name: {"weight": float(weight), "scale": float(scale)}
            for name, weight, scale in zip(model.names, model.weights, model.scales, strict=True)
        },
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (MODEL, SIMILARITY):  # of an older crowd: with it the folder would not be whole
            (folder / name).unlink(missing_ok=True)
        for name, rows in ((SEQUENCES, sequences), (ITEMS, items)):
            with gzip.open(folder / name, "wt", encoding="utf-8") as file:
                file.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
        if crowd.similarity is not None:
            _keep_similarity(folder, crowd.similarity)
        fresh = folder / f"{MODEL}.new"
        fresh.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        fresh.replace(folder / MODEL)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{folder}: it cannot be written ({why}); give another folder") from None


def load_crowd(folder: Path) -> SavedCrowd:
    """Read what `save_crowd` wrote. Raises `ConfigurationError` for what is missing, of another format, or damaged."""
    if not (folder / MODEL).is_file():
        raise ConfigurationError(f"crowd: {folder} holds no {MODEL}; give a folder made by webrec crowd")
    try:
        told = json.loads((folder / MODEL).read_text("utf-8"))
        if told["format"] != FORMAT:
            raise ConfigurationError(
                f"crowd: {folder} is of format {told['format']} and this is {FORMAT}; make it again with webrec crowd"
            )
        names = tuple(told["features"])
        weights = np.array([float(told["features"][name]["weight"]) for name in names])
        scales = np.array([float(told["features"][name]["scale"]) for name in names])
        if not (np.isfinite(weights).all() and (scales > 0).all() and math.isfinite(scales.sum())):
            raise ValueError("weights")
        facts = {f"{number:09}": _fact(row) for number, row in enumerate(_rows(folder / ITEMS))}
        ids = list(facts)
        rows = list(_rows(folder / SEQUENCES))
        sequences = [[ids[_place(number, len(ids))] for number in row["items"]] for row in rows]
        timed = bool(rows) and all(row["times"] is not None for row in rows)
        times = [[int(time) for time in row["times"]] for row in rows] if timed else []
        if any(len(own) != len(sequence) for own, sequence in zip(times, sequences, strict=False)):
            raise ValueError("times")
        similarity = _similarity(folder, len(ids)) if told.get("learned") else None
    except ConfigurationError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, RecursionError, SafetensorError):
        raise ConfigurationError(f"crowd: {folder} is damaged; make it again with webrec crowd") from None
    return SavedCrowd(Records(facts, sequences, times), ChoiceModel(names, scales, weights), similarity)


def _keep_similarity(folder: Path, similarity: LearnedSimilarity) -> None:
    from safetensors.numpy import save

    tensors = {
        "keys": similarity.keys.astype(np.float16),  # half the file; a cosine moves by less than a thousandth
        "values": similarity.values.astype(np.float16),
        "ages": similarity.ages,
        "bias": similarity.bias,
        "scale": np.array([similarity.scale]),
    }
    if (maps := similarity.maps) is not None:
        tensors |= {"mean": maps.mean, "key_map": maps.key, "value_map": maps.value}
    fresh = folder / f"{SIMILARITY}.new"
    # As bytes: the library would write a file for its owner alone.
    fresh.write_bytes(save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}))
    fresh.replace(folder / SIMILARITY)


def _similarity(folder: Path, items: int) -> LearnedSimilarity:
    from safetensors.numpy import load_file

    tensors = load_file(folder / SIMILARITY)
    if any(tensor.dtype.kind != "f" for tensor in tensors.values()):
        raise ValueError("formats")
    keys, values = (tensors[name].astype(np.float32) for name in ("keys", "values"))
    ages, bias, scale = (tensors[name].astype(np.float64) for name in ("ages", "bias", "scale"))
    shapes = [tensor.shape for tensor in (keys, values, bias, scale)]
    if keys.ndim != 2 or shapes != [(items, keys.shape[1]), keys.shape, (items,), (1,)] or ages.ndim != 1:
        raise ValueError("shapes")
    lengths = np.concatenate([np.square(rows.astype(np.float64)).sum(1) for rows in (keys, values)])
    # Comparisons with what is no number are false.
    if not ((lengths < 1.1).all() and (np.abs(np.concatenate([ages, bias])) < _FAR).all() and 0 < scale[0] < _FAR):
        raise ValueError("numbers")
    return LearnedSimilarity(keys, values, ages, bias, float(scale[0]), _maps(tensors, keys.shape[1]))


def _maps(tensors: dict[str, np.ndarray[Any, Any]], width: int) -> TextMaps | None:
    if "mean" not in tensors:
        return None  # of a crowd that knows its own items alone
    mean, key, value = (tensors[name].astype(np.float32) for name in ("mean", "key_map", "value_map"))
    if [mean.shape, key.shape, value.shape] != [(width,), (width, width), (width, width)]:
        raise ValueError("shapes of the maps")
    if not all((np.abs(tensor) < _FAR).all() for tensor in (mean, key, value)):
        raise ValueError("numbers of the maps")
    return TextMaps(mean, key, value)


def _rows(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        while line := file.readline(_MOST):
            yield json.loads(line)


def _fact(row: Any) -> ItemFacts:
    title, brand, year = row["title"], row["brand"], row["year"]
    if not isinstance(title, str) or not isinstance(brand, str | None) or not isinstance(year, int | None):
        raise ValueError("item")
    return ItemFacts(title, brand, tuple(str(category) for category in row["categories"]), year)


def _place(number: Any, items: int) -> int:
    if not isinstance(number, int) or not 0 <= number < items:
        raise ValueError("item number")
    return number
