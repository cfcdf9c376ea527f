"""A finished evaluation as its folder tells it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from webrec.errors import ConfigurationError
from webrec.eval.evaluation.looked_at import LookedAt, read_looked_at
from webrec.eval.evaluation.summary import Summary, read_summary
from webrec.eval.run_folder import RUN_FILE


@dataclass(frozen=True)
class FinishedRun:
    """What was asked for, what came out, and a few examples."""

    name: str
    description: Mapping[str, Any]
    summary: Summary
    examples: tuple[LookedAt, ...]

    @property
    def config(self) -> Mapping[str, Any]:
        """The settings."""
        config: Mapping[str, Any] = self.description["config"]
        return config

    def manifest(self) -> dict[str, Any]:
        """Settings, hashes, seeds and starts, as a result file holds them: without the folders of one machine."""
        told: dict[str, Any] = portable({key: value for key, value in self.description.items() if key != "fingerprint"})
        return told

    def systems(self) -> dict[str, Mapping[str, Any]]:
        """The settings of each system."""
        return {system.get("name") or system["kind"]: system for system in self.config["systems"]}

    def facts(self) -> Iterator[tuple[str, str]]:
        """What makes the run what it is."""
        for data, told in self.description["data"].items():
            yield f"{data}: digest of examples and candidates", told["digest"]
            for name, digest in (told.get("sources") or {}).items():
                yield f"{data}: SHA-256 of {name}", str(digest)
        for data, told in self.description["corpora"].items():
            pages = ", ".join(f"{count:,} {kind}" for kind, count in told["pages"].items())
            yield f"{data}: digest of the pages ({pages})", told["digest"]
        seeds = self.description["seeds"]
        yield "training seeds", ", ".join(map(str, seeds["training"]))
        yield "seeds of the data", ", ".join(f"{data}: {seed}" for data, seed in seeds["data"].items())
        yield "asked", f"the {self.config['part']} part, with {self.config['threads']} thread(s)"

    def starts(self) -> Iterator[tuple[str, str, str, str]]:
        """Each start, of this run and then of those it took rows from: when, of which code, where, with which versions."""
        taken = [
            (f", for {one['from']}", start) for one in self.description.get("taken", ()) for start in one["starts"]
        ]
        for of, start in [*(("", start) for start in self.description["starts"]), *taken]:
            versions = ", ".join(f"{name} {version}" for name, version in start["versions"].items())
            yield f"{start['time']}{of}", start.get("commit") or "installed", _machine(start), versions

    def settings(self) -> str:
        """The settings as YAML; paths are relative to the folder that the file with the settings lay in."""
        written = self.description.get("written", self.config)  # runs from before it was kept have absolute paths alone
        return yaml.safe_dump(portable(dict(written)), sort_keys=False, allow_unicode=True, width=120)

    def command(self) -> str:
        """What makes it again, from a file with the settings."""
        return "webrec eval eval.yaml"


def _machine(start: dict[str, Any]) -> str:
    """System, processor, GPUs and the models' number formats, as far as the start noted them."""
    machine = start.get("machine") or {}
    processor = f"{machine['cpus']} × {machine['processor']}" if machine else ""
    by_format: dict[str, list[str]] = {}
    for name, known in (start.get("formats") or {}).items():
        by_format.setdefault(" and ".join(known), []).append(name)
    formats = [f"{', '.join(names)} in {told}" for told, names in by_format.items()]
    return "; ".join(
        filter(
            None, [", ".join(filter(None, [start.get("platform", ""), processor, *machine.get("gpus", ())])), *formats]
        )
    )


def read_run(folder: Path) -> FinishedRun:
    """The finished run in `folder`. Raises `ConfigurationError` where there is none."""
    summary = read_summary(folder)
    try:
        description = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ConfigurationError(f"{folder}: its {RUN_FILE} is missing or damaged; call webrec eval again") from None
    return FinishedRun(folder.resolve().name, description, summary, tuple(read_looked_at(folder)))


def portable(told: Any) -> Any:
    """Settings without the folders of one machine: of a path its last two parts."""
    if isinstance(told, Mapping):
        return {key: portable(value) for key, value in told.items()}
    if isinstance(told, list | tuple):
        return [portable(value) for value in told]
    if isinstance(told, str) and told.startswith("/"):
        return "/".join(Path(told).parts[-2:])
    return told


def from_result(told: Mapping[str, Any]) -> FinishedRun:
    """A run as its committed result tells it, without examples."""
    return FinishedRun(told["name"], told["run"], Summary.model_validate(told["summary"]), ())
