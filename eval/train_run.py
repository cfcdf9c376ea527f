"""A training run from its configuration to its result, in one process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from webrec.errors import ConfigurationError, missing_extra
from webrec.eval.anyones import with_anyones
from webrec.eval.examples import Example, encode_examples, read_examples
from webrec.eval.train_config import TrainRunConfig
from webrec.eval.train_folder import TrainFolder
from webrec.models.backbone import LoadedAdapter, get_backbone, require_model_extra, sharing_weights
from webrec.models.packing import EncodedExample

if TYPE_CHECKING:
    from webrec.models.adapter import AdaptedLlama
    from webrec.models.backbone import Backbone
    from webrec.models.training.loop import TrainingResult

OnEvent = Callable[[dict[str, Any]], None]

MEASURED = 64
"""Prompts that a head measures its inputs on."""
BLOCKED_TOKENS = 2048
"""Up to here attention on CPUs is trained in plain products, in blocks of rows, which keep their weights; beyond, the fused kernel saves memory."""


@dataclass(frozen=True)
class PreparedRun:
    """What the loop is given: the untrained adapter on its backbone, and the encoded examples."""

    adapted: AdaptedLlama
    train_set: list[EncodedExample]
    valid_set: list[EncodedExample]


def ignore(_: dict[str, Any]) -> None:
    """Hear an event and do nothing."""


def train_here(
    config: TrainRunConfig, *, on_event: OnEvent = ignore, stop: Callable[[], bool] = lambda: False
) -> TrainingResult:
    """Run `config` in this process, from where it was stopped if it was; a finished run's result is only read.

    `on_event` hears `{event, …}`: those of the loop and, before them, loading, started and encoding. Once
    `stop()` is true, a checkpoint is written and `KeyboardInterrupt` raised. Raises `ConfigurationError` and `InputError`
    for wrong settings or data, `TrainingError` if training cannot go on.
    """
    require_train_extra()
    with TrainFolder(config) as folder:
        if (done := finished(config)) is not None:
            on_event({"event": "finished"})
            return done
        data = read_data(config)

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "started":
                folder.started({**event, "workers": 1})
            on_event(event)

        run = prepare(config, *data, on_event=hear)
        from webrec.models.training.loop import train

        return train(
            run.adapted,
            run.train_set,
            run.valid_set,
            config.training,
            config.output,
            fingerprint=folder.fingerprint(),
            on_event=on_event,
            stop=stop,
        )


def require_train_extra() -> None:
    """Raise `MissingExtraError` if anything that training needs is not installed; cheap, imports none of it."""
    require_model_extra()
    for package in ("peft", "tensorboard"):
        if find_spec(package) is None:
            raise missing_extra("train", package)


def finished(config: TrainRunConfig) -> TrainingResult | None:
    """The result in the output folder, which is this run's; None if it has not ended."""
    from webrec.models.training.loop import RESULT_FILE, TrainingResult

    try:
        return TrainingResult(**json.loads((config.output / RESULT_FILE).read_text(encoding="utf-8"))["result"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or damaged: the last checkpoint gives it again


def read_data(config: TrainRunConfig) -> tuple[list[Example], list[Example]]:
    """The examples of both files."""
    return read_examples(config.train, "train"), read_examples(config.valid, "valid")


def prepare(
    config: TrainRunConfig,
    train_rows: list[Example],
    valid_rows: list[Example],
    *,
    device: str | None = None,
    on_event: OnEvent = ignore,
) -> PreparedRun:
    """Load the backbone, add the untrained adapter, encode the examples."""
    from webrec.models.adapter import AdaptedLlama
    from webrec.models.blocked_attention import use_blocks

    on_event({"event": "loading", "backbone": config.backbone})
    settings = config.backbone_config()
    plain = get_backbone(settings if device is None else settings.model_copy(update={"device": device}))
    try:
        adapted = AdaptedLlama.new(sharing_weights(plain.model), config.tuning, config.head, seed=config.training.seed)
    except ConfigurationError as error:
        raise ConfigurationError(_with_table(str(error))) from None
    asked = {"history_items", "title_words", "prompt_form"}
    adapted.asked = {**config.prompt.model_dump(include=asked), "score_by": config.training.score_by}
    on_event(_machine(plain))
    limit = context_limit(plain, adapted, config.prompt.prompt_tokens)
    encoded = []
    for name, rows in (("train", train_rows), ("valid", valid_rows)):

        def count(done: int, name: str = name, rows: list[Example] = rows) -> None:
            if done % 20 == 0 or done == len(rows):
                on_event({"event": "encoding", "set": name, "done": done, "of": len(rows)})

        path = getattr(config, name)
        ids = encode_examples(plain.chat, rows, config.prompt, limit, f"{name}: {path.name}", count)
        if config.training.score_by == "pmi":

            def count_titles(done: int, name: str = name) -> None:
                if done % 20 and config.prompt.prompt_form == "request":
                    return
                on_event({"event": "anyones", "set": name, "done": done})

            ids = with_anyones(plain, rows, ids, config.prompt, count_titles)
        encoded.append(ids)
    run = PreparedRun(adapted, *encoded)
    if adapted.head is not None and adapted.head.config.standardise:
        # At every start, from the untrained adapter and the same prompts: on the same machine a resumed run has the same numbers.
        on_event({"event": "measuring", "prompts": min(MEASURED, len(run.train_set))})
        chosen = evenly(len(run.train_set), MEASURED)
        adapted.head.measure(adapted.peft, [run.train_set[place].prompt for place in chosen])
    if plain.device.type == "cpu" and _longest(run) <= BLOCKED_TOKENS:
        if plain.dtype in {"float32", "int8"}:  # whose activations are float32
            use_blocks(adapted.llama)
        else:
            adapted.llama.set_attn_implementation("eager")
    return run


def evenly(count: int, wanted: int) -> list[int]:
    """`wanted` places of `count`, or all, at even distances."""
    return [place * count // min(count, wanted) for place in range(min(count, wanted))]


def _longest(run: PreparedRun) -> int:
    """Positions of the longest example, as it is packed."""
    return max(len(e.prompt) + sum(len(c) - 1 for c in e.candidates) for e in [*run.train_set, *run.valid_set])


def context_limit(plain: Backbone, adapted: AdaptedLlama, prompt_tokens: int | None) -> int:
    """Most tokens of prompt and answer together, as the graph's augment computes it for the same adapter."""
    scorer = replace(plain, model=adapted.llama, adapter=LoadedAdapter("in training", "", adapted))
    return min(prompt_tokens or scorer.context_length, scorer.context_length)


def _machine(plain: Backbone) -> dict[str, Any]:
    import torch

    device = str(plain.device)
    if plain.device.type == "cuda":
        device = f"{device} ({torch.cuda.get_device_name(plain.device)})"
    return {
        "event": "started",
        "pid": os.getpid(),
        "device": device,
        "dtype": plain.dtype,
        "source": plain.source,
        "threads": torch.get_num_threads(),
    }


def _with_table(message: str) -> str:
    """The models' own errors name settings of one table: say which."""
    tables = {"targets": "tuning", "layers": "head"}
    name = message.partition(":")[0]
    return f"{tables[name]}.{message}" if name in tables else message
