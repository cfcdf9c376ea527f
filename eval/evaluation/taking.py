"""Taking over what another run answered and trained, where it was asked the same of the same system."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from webrec.errors import ConfigurationError
from webrec.eval.evaluation.config import retrieval_of
from webrec.eval.evaluation.plan import Fit
from webrec.eval.evaluation.rows import RowStore
from webrec.eval.evaluation.worker import fit_folder
from webrec.eval.run_folder import RUN_FILE


def take_over(
    other: Path, fingerprint: Mapping[str, Any], fits: Sequence[Fit], store: RowStore, systems: Path
) -> list[dict[str, Any]]:
    """Copy rows and trainings of `other` that are this run's as well; returns the starts of `other` if anything was copied.

    A system's are taken where examples, settings, models, and the pages that it reads are equal, by the fingerprints of both runs. Raises
    `ConfigurationError` where `other` is no run.
    """
    try:
        description = json.loads((other / RUN_FILE).read_text(encoding="utf-8"))
        theirs, starts = description["fingerprint"], list(description["starts"])
        if lacking := {"examples", "systems", "models", "part"} - set(theirs):
            raise KeyError(*lacking)
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(f"take_from: {other} holds no evaluation; give the folder of one") from None
    own = json.loads(json.dumps(fingerprint))  # as it is written
    copied = False
    for fit in fits:
        if fit.system.kind == "fused" or _told(own, fit) != _told(
            theirs, fit
        ):  # what is fused is quick, and hangs on others
            continue
        for piece in (*fit.fitting, *fit.pieces):
            source, target = piece.path(other / "rows"), piece.path(store.folder)
            if source.exists() and not target.exists():
                _copy(source, target)
                copied = True
        key = (fit.data, fit.pieces[0].system, fit.seed)
        source, target = fit_folder(other / systems.name, key), fit_folder(systems, key)
        if source.is_dir() and not target.exists():
            fresh = target.with_name(f"{target.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(source, fresh)
            fresh.rename(target)
            copied = True
    return starts if copied else []


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
    if retrieval is not None or fit.system.kind.startswith("page_"):
        parts += [fingerprint["retrievals"].get(retrieval), fingerprint["corpora"].get(fit.data)]
    return parts


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f"{target.name}.new")
    shutil.copyfile(source, fresh)
    fresh.replace(target)
