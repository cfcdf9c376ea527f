"""Write the settings tables of the documents from the code, so that they say what the command line and Studio say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from webrec.eval.data.config import DataConfig
from webrec.eval.evaluation.config import EvalConfig, RayConfig
from webrec.eval.retrieval.config import CorpusConfig, PagesConfig, RetrievalConfig
from webrec.eval.systems.config import (
    CoOccurrenceConfig,
    CountingConfig,
    FusedConfig,
    LanguageModelConfig,
    LearnedSimilarityConfig,
    OwnConfig,
    SASRecConfig,
    SystemConfig,
    TitleInPagesConfig,
    TitleSimilarityConfig,
)
from webrec.eval.systems.fused import EVIDENCE
from webrec.eval.systems.tuned_language_model import TuneConfig
from webrec.eval.train_config import NOT_SETTINGS, PromptConfig, TrainRunConfig
from webrec.models.config import LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.training.config import TrainingConfig
from webrec.nodes.context import RunContext

DOCS = Path(__file__).parents[1] / "docs"
HEADING = ["| setting | default | meaning |", "| --- | --- | --- |"]
BEGIN, END = "<!-- settings: written by scripts/write_settings.py -->\n", "<!-- end of settings -->\n"
TABLES: dict[str, tuple[type[BaseModel], str]] = {
    "prompt": (PromptConfig, "As the settings of the same names of `webrec recommend`."),
    "tuning": (LoraTuning, 'With `kind = "lora"`:'),
    "tuning ": (SoftPromptTuning, 'With `kind = "soft_prompt"`:'),
    "head": (MPHeadConfig, 'In place of the table, `head = "none"` at the top of the file trains without a head.'),
    "training": (TrainingConfig, ""),
}


def settings_table() -> str:
    """All settings of a run of the graph, as docs/settings.md."""
    rows = [
        "# Settings",
        "",
        "The fields of `webrec.RunContext`: options of the command line (`--pages 5`), keyword arguments of `recommend`,",
        "`as_tool` and `build_graph(...).invoke(context=…)`, and fields in Studio. Written by `scripts/write_settings.py`.",
        "",
        *HEADING,
        *(_row(name, field) for name, field in RunContext.model_fields.items()),
    ]
    return "\n".join(rows) + "\n"


def train_tables() -> str:
    """All settings of a training run, a table of the file after the other."""
    fields = TrainRunConfig.model_fields
    own = [name for name in fields if name not in (*TABLES, *NOT_SETTINGS)]
    first = [name for name in ("train", "valid", "output") if name in own]
    rows = ["At the top of the file:", "", *HEADING]
    rows += [_row(name, fields[name]) for name in [*first, *(n for n in own if n not in first)]]
    for name, (model, note) in TABLES.items():
        rows += ["", f"`[{name.strip()}]`{f' {note}' if note else ''}", "", *HEADING]
        rows += [_row(field_name, field) for field_name, field in model.model_fields.items()]
    return "\n".join(rows) + "\n"


def eval_tables() -> str:
    """All settings of an evaluation."""
    rows = ["At the top of the file:", "", *HEADING]
    rows += [_row(name, field) for name, field in EvalConfig.model_fields.items()]
    for note, model in (
        ("`ray`, which is no part of what a run is: it may be another one when the run goes on:", RayConfig),
        ("Each entry of `data`:", DataConfig),
        ("Each entry of `corpora`, by the name of its data set:", CorpusConfig),
        ("Each entry of its `pages` and `noise`:", PagesConfig),
        (
            "Each entry of `retrievals`, beside all settings of a run of the graph ([settings.md](settings.md)):",
            RetrievalConfig,
        ),
        ("Each entry of `systems` may be a kind alone, or a table with `kind` and:", SystemConfig),
        (
            "Every kind that counts (all but `random`, `id_order`, `sasrec`, `learned_similarity`, `llm`, `fused`, `own`) also has:",
            CountingConfig,
        ),
        ("With `kind: co_occurrence`:", CoOccurrenceConfig),
        ("With `kind: sasrec`:", SASRecConfig),
        ("With `kind: title_in_pages`:", TitleInPagesConfig),
        ("With `kind: title_similarity` or `page_similarity`:", TitleSimilarityConfig),
        ("With `kind: learned_similarity` ([crowd.md](crowd.md)):", LearnedSimilarityConfig),
        ("With `kind: own`:", OwnConfig),
        ("With `kind: fused` ([crowd.md](crowd.md)):", FusedConfig),
        (
            "With `kind: llm`; its `prompt` is a table as in [train.md](train.md), whose `pages` count with a retrieval:",
            LanguageModelConfig,
        ),
        (
            "Its `tune`, whose tables `tuning`, `head` and `training` are those of [train.md](train.md):",
            TuneConfig,
        ),
    ):
        if model is RetrievalConfig:
            own = {name: f for name, f in RetrievalConfig.model_fields.items() if name not in RunContext.model_fields}
            rows += ["", note, "", *HEADING, *(_row(name, field) for name, field in own.items())]
            continue
        inherited = (
            (SystemConfig if model is CountingConfig else CountingConfig).model_fields.keys()
            | {"kind", "prompt", "tune", "tuning", "head", "training"}
            if model is not SystemConfig
            else set()
        )
        own = {
            name: f
            for name, f in model.model_fields.items()
            if name not in inherited or model in (DataConfig, PagesConfig, CorpusConfig)
        }
        rows += ["", note, "", *HEADING, *(_row(name, field) for name, field in own.items())]
    return "\n".join(rows) + "\n"


def crowd_tables() -> str:
    """What a fused system counts."""
    rows = []
    for kind, features in EVIDENCE.items():
        rows += ["", f"`{kind}`:", "", "| feature | what it is |", "| --- | --- |"]
        rows += [f"| `{name}` | {told} |" for name, told in features.items()]
    return "\n".join(rows[1:]) + "\n"


def with_tables(document: str, tables: str) -> str:
    """A document with the tables between its two marks written anew."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def _row(name: str, field: FieldInfo) -> str:
    return f"| `{name}` | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default: Any = field.get_default(call_default_factory=True)
    if default is None:
        return "unset"
    return ", ".join(map(str, default)) if isinstance(default, tuple) else str(default)


if __name__ == "__main__":
    (DOCS / "settings.md").write_text(settings_table(), "utf-8")
    for name, tables in (("train.md", train_tables()), ("evaluate.md", eval_tables()), ("crowd.md", crowd_tables())):
        document = DOCS / name
        document.write_text(with_tables(document.read_text("utf-8"), tables), "utf-8")
