"""The files of a data set's folder, whatever format they have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from webrec.errors import InputError
from webrec.eval.data.amazon import find_amazon, load_amazon
from webrec.eval.data.dataset import Dataset
from webrec.eval.data.movielens import find_movielens, load_movielens, movielens_files
from webrec.eval.data.plain import INTERACTIONS, ITEMS, load_plain, plain_file


@dataclass(frozen=True)
class Source:
    """What a folder holds. `files`: all that is read; `load(name)`: the data set."""

    format: str
    files: tuple[Path, ...]
    load: Callable[[str], Dataset]


def find_source(folder: Path) -> Source:
    """Recognise the plain format, a MovieLens release, or an Amazon release by their files' names.

    Raises `InputError` where there is none of them.
    """
    if not folder.is_dir():
        raise InputError(
            f"path: {folder} is not a folder; give one that holds {INTERACTIONS} and {ITEMS}, or a release"
        )
    if any((folder / f"{name}{ending}").is_file() for name in (INTERACTIONS, ITEMS) for ending in ("", ".gz")):
        own = (plain_file(folder, INTERACTIONS), plain_file(folder, ITEMS))
        return Source("plain", own, lambda name: load_plain(folder, name))
    if (place := find_movielens(folder)) is not None:
        return Source("movielens", movielens_files(place), lambda name: load_movielens(place, name))
    if (found := find_amazon(folder)) is not None:
        files = (found.reviews,) if found.metadata is None else (found.reviews, found.metadata)
        return Source("amazon", files, lambda name: load_amazon(found, name))
    raise InputError(
        f"path: {folder} holds no {INTERACTIONS} with {ITEMS}, no MovieLens and no Amazon release; add one, or get one with webrec data get"
    )
