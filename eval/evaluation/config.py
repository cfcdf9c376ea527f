"""The configuration of an evaluation, and reading it from a file. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from webrec.errors import ConfigurationError
from webrec.eval.data.config import DataConfig
from webrec.eval.retrieval.config import CorpusConfig, RetrievalConfig
from webrec.eval.retrieval.corpus import resolved_corpus
from webrec.eval.run_folder import RUN_FILE
from webrec.eval.settings_file import read_settings, sentence
from webrec.eval.systems.config import AnySystem, FusedConfig, LanguageModelConfig, OwnConfig, needs_corpus

_Told = TypeVar("_Told", bound=BaseModel)


class RayConfig(BaseModel):
    """Where the language models of an evaluation compute."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str = Field(
        default="local", description="local starts Ray on this machine; else the address of a cluster, or auto."
    )
    actors: int = Field(default=2, ge=1, le=4096, description="Models side by side, each with the run's threads.")
    gpus: float = Field(default=0, ge=0, le=64, description="GPUs of each; 0.5 puts two on one.")


class EvalConfig(BaseModel):
    """Which systems are asked about which data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    output: Path = Field(description="Folder of the run: new, empty, or that of the same run, which then goes on.")
    data: tuple[DataConfig, ...] = Field(min_length=1, description="The data sets.")
    systems: tuple[AnySystem, ...] = Field(
        min_length=1, description="The systems: a kind, or a table with kind and settings."
    )
    corpora: dict[str, CorpusConfig] = Field(
        default={},
        description="By data set: the pages that its retrievals search; without one they ask their providers.",
    )
    retrievals: tuple[RetrievalConfig, ...] = Field(
        default=(), description="The ways of searching that systems can name, each done once for all of them."
    )
    take_from: Path | None = Field(
        default=None,
        description="Folder of another run whose rows and trainings of equal systems on equal examples are taken over.",
    )
    comparisons: tuple[tuple[str, str], ...] = Field(
        default=(),
        description="Pairs of systems [one, rival] that the plan names before the test part is read: compared in every cell, p "
        "corrected with Holm over all of them.",
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(
        default=(0,), min_length=1, description="Training seeds; systems without chance take the first alone."
    )
    part: Literal["validation", "test"] = Field(
        default="test", description="test, or validation while anything is still being chosen."
    )
    threads: int = Field(default=1, ge=1, le=1024, description="CPU threads of a system that computes with tensors.")
    ray: RayConfig | None = Field(
        default=None, description="Ray actors for the language models; unset computes in this process."
    )

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)
    _read: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def written(self) -> dict[str, Any]:
        """The settings as their file has them, with paths relative to its folder; those that were set in code as they are."""
        own = self.model_dump(mode="json")
        return {
            name: self._written[name] if self._read.get(name, ...) == value else value for name, value in own.items()
        }

    def _came_from(self, written: dict[str, Any]) -> Self:
        self._written, self._read = written, self.model_dump(mode="json")
        return self

    @field_validator("systems", mode="before")
    @classmethod
    def _kinds(cls, value: Any) -> Any:
        return [{"kind": v} if isinstance(v, str) else v for v in value] if isinstance(value, list | tuple) else value

    @model_validator(mode="after")
    def _names(self) -> Self:
        for field, names in (
            ("systems", [system_name(s) for s in self.systems]),
            ("data", [data_name(d) for d in self.data]),
            ("seeds", [str(s) for s in self.seeds]),
            ("retrievals", [r.name for r in self.retrievals]),
        ):
            if twice := next((n for n in names if names.count(n) > 1), None):
                raise ValueError(f"{field}: {twice} is there twice; give one of them another name, or remove it")
        known = {r.name for r in self.retrievals}
        for system in self.systems:
            if (wanted := retrieval_of(system)) is not None and wanted not in known:
                raise ValueError(
                    f"systems: {system_name(system)} reads {wanted!r}, which is not in retrievals; add it there"
                )
            if isinstance(system, LanguageModelConfig) and wanted is not None:
                (found,) = (r.pages for r in self.retrievals if r.name == wanted)
                if system.prompt.pages > found:
                    raise ValueError(
                        f"systems: {system_name(system)} reads {system.prompt.pages} pages, and the retrieval {wanted} finds "
                        f"{found}; raise its pages, or lower prompt.pages"
                    )
            if isinstance(system, LanguageModelConfig) and system.placebo and system.retrieval is None:
                raise ValueError(
                    f"systems: {system_name(system)} has a placebo and no retrieval; name one, or leave it out"
                )
            untuned = next((data_name(d) for d in self.data if not d.tuning_examples), None)
            if isinstance(system, LanguageModelConfig) and system.tune and untuned is not None:
                raise ValueError(
                    f"data: {untuned} has no tuning_examples, and {system_name(system)} is fine-tuned on such; set them"
                )
            if isinstance(system, FusedConfig):
                before = [system_name(s) for s in self.systems[: self.systems.index(system)]]
                if (other := next((name for name in system.inputs if name not in before), None)) is not None:
                    raise ValueError(
                        f"systems: {system_name(system)} has the input {other!r}, which no system before it is called; list it first"
                    )
            if needs_corpus(system) and (lacking := next((n for n in names_of(self) if n not in self.corpora), None)):
                raise ValueError(f"corpora: {lacking} has none, and {system_name(system)} looks at its pages; add one")
        for data in self.data:
            for reader, seen in _histories(self):
                if seen < data.history_items:
                    raise ValueError(
                        f"data: {data_name(data)} has history_items {data.history_items}, of which {reader} sees {seen}; give both the same"
                    )
            if "covered" in data.samplings and data_name(data) not in self.corpora:
                raise ValueError(f"corpora: {data_name(data)} has none, and covered candidates need one; add it")
        named = {system_name(s) for s in self.systems}
        for pair in self.comparisons:
            if (unknown := next((name for name in pair if name not in named), None)) is not None:
                raise ValueError(f"comparisons: {unknown} is none of the systems; add it there, or leave the pair out")
            if pair[0] == pair[1]:
                raise ValueError(f"comparisons: {pair[0]} is compared with itself; name a rival")
            if pair[::-1] in self.comparisons:
                raise ValueError(
                    f"comparisons: {pair[0]} and {pair[1]} are there in both directions; leave one of the two out"
                )
        if unknown := next((name for name in self.corpora if name not in names_of(self)), None):
            raise ValueError(
                f"corpora: {unknown} is not a data set of this run; use one of {', '.join(names_of(self))}"
            )
        return self


def _histories(config: EvalConfig) -> Iterator[tuple[str, int]]:
    """How many items of a history each language model and each retrieval reads at most."""
    for system in config.systems:
        if isinstance(system, LanguageModelConfig):
            yield f"{system_name(system)}'s prompt.history_items", system.prompt.history_items
    for retrieval in config.retrievals:
        yield f"the history_items of the retrieval {retrieval.name}", retrieval.history_items


def names_of(config: EvalConfig) -> list[str]:
    """The names of the data sets."""
    return [data_name(data) for data in config.data]


def retrieval_of(system: AnySystem) -> str | None:
    """The retrieval whose pages a system reads, if it reads any."""
    return getattr(system, "retrieval", None)


def system_name(system: AnySystem) -> str:
    """What a system is called in tables and files."""
    return system.name or system.kind


def data_name(data: DataConfig) -> str:
    """What a data set is called in tables and files."""
    return data.name or data.path.name


def read_eval_config(path: Path, changes: Iterable[str] = ()) -> EvalConfig:
    """The configuration in a YAML, TOML or JSON file, with `changes` like `threads=2`.

    Paths are relative to the file's folder; so are backbones and adapters, where a folder of that name lies there. Raises
    `ConfigurationError`: one sentence naming the setting and the fix.
    """
    try:
        config = EvalConfig.model_validate(read_settings(path, changes))
    except ValidationError as error:
        raise ConfigurationError(sentence(error)) from None
    folder = path.resolve().parent

    def resolve(given: Path) -> Path:
        return (folder / given.expanduser()).resolve()

    data = tuple(d.model_copy(update={"path": resolve(d.path)}) for d in config.data)
    corpora = {name: resolved_corpus(corpus, resolve) for name, corpus in config.corpora.items()}
    taken = None if config.take_from is None else resolve(config.take_from)
    changed = {
        "data": data,
        "corpora": corpora,
        "output": resolve(config.output),
        "take_from": taken,
        "systems": tuple(_with_models_of(folder, system) for system in config.systems),
        "retrievals": tuple(_with_models_of(folder, retrieval) for retrieval in config.retrievals),
    }
    return config.model_copy(update=changed)._came_from(config.model_dump(mode="json"))


def _with_models_of(folder: Path, told: _Told) -> _Told:
    """With the backbone, adapter, encoder, pages and code that lie in `folder`; any other name is a hub's, or of the folder that one works in."""
    if isinstance(told, OwnConfig):
        file, _, name = told.at.rpartition(":")
        return told.model_copy(update={"at": f"{(folder / file).resolve()}:{name}"}) if file.endswith(".py") else told
    named = {
        field: getattr(told, field, None) for field in ("backbone", "adapter", "model", "rerank_model", "pages_path")
    }
    there = {
        field: folder / name
        for field, name in named.items()
        if name and ((folder / name).is_dir() or (field == "pages_path" and (folder / name).is_file()))
    }
    return told.model_copy(update={field: str(path.resolve()) for field, path in there.items()})


def resumed_config(folder: Path) -> EvalConfig:
    """The configuration of the run in `folder`. Raises `ConfigurationError` where there is none."""
    try:
        told = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        config = EvalConfig.model_validate(told["config"]).model_copy(update={"output": folder.resolve()})
        return (
            config
            if "written" not in told
            else config._came_from({**config.model_dump(mode="json"), **told["written"]})
        )
    except ValidationError as error:  # of before a rule that it breaks
        raise ConfigurationError(f"--resume: {folder}: {sentence(error)}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(f"--resume: {folder} holds no evaluation; give the folder of one") from None
