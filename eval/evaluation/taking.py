"""Taking over what another run answered and trained, where it was asked the same of the same system."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from webrec.errors import ConfigurationError
from webrec.eval.evaluation.config import retrieval_of
from webrec.eval.evaluation.plan import MIXED, Fit
from webrec.eval.evaluation.search import FOLDER
from webrec.eval.evaluation.worker import fit_folder
from webrec.eval.retrieval.found import SearchPiece, read_found
from webrec.eval.run_folder import RUN_FILE
from webrec.eval.systems.config import needs_corpus


def take_over(
    other: Path,
    fingerprint: Mapping[str, Any],
    fits: Sequence[Fit],
    searches: Callable[[Fit], Sequence[SearchPiece]],
    output: Path,
) -> list[dict[str, Any]]:
    """Copy rows and trainings of `other` that are those of the run in `output` as well; returns the starts of `other`, and of the runs that it took from, if any were.

    A system's are taken where examples, settings, models and corpus are equal, by the fingerprints of both runs, and with them what was
    found for it (`searches`); not where this run has found something else already. Raises `ConfigurationError` where `other` is no run.
    """
    try:
        description = json.loads((other / RUN_FILE).read_text(encoding="utf-8"))
        theirs = description["fingerprint"]
        before = [start for one in description.get("taken", ()) for start in one["starts"]]
        starts = [*description["starts"], *before]
        if lacking := {"examples", "systems", "models", "part"} - set(theirs):
            raise KeyError(*lacking)
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(f"take_from: {other} holds no evaluation; give the folder of one") from None
    own = json.loads(json.dumps(fingerprint))  # as it is written
    copied = False
    for fit in fits:
        alike = _told(own, fit) == _told(theirs, fit)
        if fit.system.kind == "fused" or not alike:  # what is fused is quick, and hangs on others
            continue
        # Of the validation part, which fused systems alone look at, what the other run needed.
        read = [
            p for p in searches(fit) if p.part != "validation" or p.sampling == MIXED or p.path(other / FOLDER).exists()
        ]
        if not _read_alike(read, other / FOLDER, output / FOLDER):
            continue
        for searched in read:
            if not (target := searched.path(output / FOLDER)).exists():
                _copy(searched.path(other / FOLDER), target)
                copied = True
        for piece in (*fit.fitting, *fit.pieces):
            source, target = piece.path(other / "rows"), piece.path(output / "rows")
            if source.exists() and not target.exists():
                _copy(source, target)
                copied = True
        key = (fit.data, fit.pieces[0].system, fit.seed)
        source, target = fit_folder(other / "systems", key), fit_folder(output / "systems", key)
        if source.is_dir() and not target.exists():
            fresh = target.with_name(f"{target.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(source, fresh)
            fresh.rename(target)
            copied = True
    return starts if copied else []


def _read_alike(pieces: Sequence[SearchPiece], theirs: Path, own: Path) -> bool:
    """Whether `theirs` holds what was found for all `pieces`, and `own` nothing else of them."""
    if not all(piece.path(theirs).exists() for piece in pieces):
        return False
    both = [piece for piece in pieces if piece.path(own).exists()]
    try:
        found = [{key: one.pages for key, one in read_found(folder, both).items()} for folder in (theirs, own)]
    except ConfigurationError:
        return False  # damaged
    return found[0] == found[1]


def _told(fingerprint: Mapping[str, Any], fit: Fit) -> list[Any]:
    """All that a system's answers hang on."""
    name, retrieval = fit.pieces[0].system, retrieval_of(fit.system)
    parts = [fingerprint["examples"].get(fit.data), fingerprint["systems"].get(name), fingerprint["part"]]
    parts.append(
        {
            model: told
            for model, told in fingerprint["models"].items()
            if model.split()[-1] in {name, retrieval, "LanguageModelConfig"}
        }
    )
    if retrieval is not None or needs_corpus(fit.system):
        parts += [fingerprint["retrievals"].get(retrieval), fingerprint["corpora"].get(fit.data)]
    return parts


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.new")
    shutil.copyfile(source, fresh)
    fresh.replace(target)
