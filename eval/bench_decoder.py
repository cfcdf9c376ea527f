"""From a cold prompt to picked keywords: our own decoder, and a running external one with the backbone's one pass over its text.

    python -m webrec.eval.bench_decoder --decoder-url http://127.0.0.1:8080/v1 --threads 1 --output eval/results/bench_decoder.json

docs/decoders.md tells how to start such a server. Its threads are its own setting; `--threads` are ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from webrec.eval.provenance import provenance
from webrec.examples import NAMES, load_example
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.teacher_forcing import read_text
from webrec.models.threads import torch_threads
from webrec.nodes.context import RunContext
from webrec.nodes.extract import extract
from webrec.nodes.query_strategies import BUILTIN
from webrec.nodes.reason import question_of, reason
from webrec.nodes.run import Resources, Run, run_blocking
from webrec.nodes.schema import Reasoning


def measure(
    context: RunContext, url: str, model: str | None, rounds: int, say: Callable[[str], None] = print
) -> list[dict[str, Any]]:
    """One row for each user and round: both ways to the keywords, in turns, and what the pass over the text costs."""
    elsewhere = context.model_copy(update={"decoder_url": url, "decoder_model": model})
    rows: list[dict[str, Any]] = []
    for number in range(rounds + 1):
        for name in NAMES:
            state = _user(name, number)
            own, own_seconds = _keywords(state, context)
            other, other_seconds = _keywords(state, elsewhere)
            if not number:  # the first round warms both up
                continue
            ours, theirs = Reasoning.model_validate(own["reasoning"]), Reasoning.model_validate(other["reasoning"])
            row = {
                "round": number,
                "user": name,
                "own_seconds": round(own_seconds, 4),
                "external_seconds": round(other_seconds, 4),
                "own_tokens": len(ours.tokens),
                "external_tokens": len(theirs.tokens),
                "agreement": theirs.agreement,
                "same_text": ours.text == theirs.text,
                "keyword_overlap": round(overlap(own["keywords"], other["keywords"]), 4),
                **_pass_cost(state, theirs, elsewhere),
            }
            rows.append(row)
            say(json.dumps(row))
    return rows


def overlap(first: Sequence[str], second: Sequence[str]) -> float:
    """Share of the words of either that both have; 1 if neither has any."""
    one, other = ({word.casefold() for word in words} for words in (first, second))
    return len(one & other) / len(one | other) if one | other else 1.0


def _user(name: str, number: int) -> dict[str, Any]:
    """An example whose history begins with another title in each round: no server has seen the prompt before, but for its head."""
    example = load_example(name)
    place = number % len(example["history"])
    history = [*example["history"][place:], *example["history"][:place]]
    return {"history": history, "candidates": example["candidates"], "warnings": []}


def _run(context: RunContext) -> Run:
    return Run("bench", context, Resources({}, BUILTIN), write=lambda _: None)


def _keywords(state: dict[str, Any], context: RunContext) -> tuple[dict[str, Any], float]:
    """What the nodes reason and extract write, and the seconds they take."""
    run = _run(context)
    inner: Any = dict(state)
    began = time.perf_counter()
    written = reason(inner, run)
    inner |= run_blocking(_awaited(written)) if isinstance(written, Awaitable) else written
    inner |= extract(inner, run)
    return inner, time.perf_counter() - began


async def _awaited(update: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    return await update


def _pass_cost(state: dict[str, Any], reasoning: Reasoning, context: RunContext) -> dict[str, Any]:
    """The pass that reads attention and entropy, over plain forwards of the same model over the same tokens; medians of three."""
    import torch

    backbone = _run(context).backbone()
    inner: Any = state
    question = question_of(inner, _run(context))
    ids = [token.id for token in reasoning.tokens]
    if question is None or not ids:
        return {}
    batch, before = torch.tensor([[*question.ids, *ids]], device=backbone.device), len(question.ids)

    def read() -> None:
        read_text(backbone, question.ids, ids, "limit", (context.attention_layer, context.attention_heads))

    def trunk() -> None:
        with torch.inference_mode():
            backbone.model.model(input_ids=batch, use_cache=False)

    def text_logits() -> None:
        with torch.inference_mode():
            backbone.model(input_ids=batch, use_cache=False, logits_to_keep=len(ids) + 1)

    def all_logits() -> None:
        with torch.inference_mode():
            backbone.model(input_ids=batch, use_cache=False)

    times = _in_turns([read, trunk, text_logits, all_logits], 3)
    return {
        "prompt_tokens": before,
        "pass_seconds": round(times[0], 4),
        "over_forward_without_logits": round(times[0] / times[1], 4),
        "over_forward_with_the_text's_logits": round(times[0] / times[2], 4),
        "over_forward_with_all_logits": round(times[0] / times[3], 4),
    }


def _in_turns(works: Sequence[Callable[[], None]], rounds: int) -> list[float]:
    """Median seconds of each, measured in turns so that a noisy machine hits all."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for own, work in zip(seconds, works, strict=True):
            began = time.perf_counter()
            work()
            own.append(time.perf_counter() - began)
    return [statistics.median(own) for own in seconds]


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median, least and greatest of everything that is a ratio or a time."""
    ratios = [row["own_seconds"] / row["external_seconds"] for row in rows]
    told = {
        "own decoder, seconds to keywords": [row["own_seconds"] for row in rows],
        "external decoder, seconds to keywords": [row["external_seconds"] for row in rows],
        "own over external": ratios,
        **{
            f"pass over {name.replace('_', ' ').removeprefix('over ')}": [row[name] for row in rows if name in row]
            for name in (
                "over_forward_without_logits",
                "over_forward_with_the_text's_logits",
                "over_forward_with_all_logits",
            )
        },
        "keyword overlap": [row["keyword_overlap"] for row in rows],
        "tokens the backbone would have written": [row["agreement"] for row in rows if row["agreement"] is not None],
    }
    spread = {
        name: {"median": round(statistics.median(v), 4), "least": round(min(v), 4), "greatest": round(max(v), 4)}
        for name, v in told.items()
        if v
    }
    return spread | {"same text": f"{sum(row['same_text'] for row in rows)} of {len(rows)}"}


def decoder_table(report: dict[str, Any]) -> str:
    """The summary as a table of the documents."""
    lines = ["| | median | least | greatest |", "| --- | --- | --- | --- |"]
    for name, value in report["summary"].items():
        if isinstance(value, dict):
            lines.append(f"| {name} | {value['median']:.2f} | {value['least']:.2f} | {value['greatest']:.2f} |")
        else:
            lines.append(f"| {name} | {value} | | |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print as JSON, and write it where `--output` says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--decoder-url", required=True, help="address of the running server, up to and with /v1")
    parser.add_argument("--decoder-model", help="name of its model, where it asks for one")
    parser.add_argument("--decoder", default="", help="what the server is and how it was started, for the result file")
    parser.add_argument("--backbone", help="backbone other than the default one")
    parser.add_argument("--dtype", default="float32", help="number format of the backbone (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the backbone (default: %(default)s)")
    parser.add_argument("--reasoning-tokens", type=int, default=128, help="limit of both (default: %(default)s)")
    parser.add_argument(
        "--rounds",
        type=int,
        choices=(1, 2, 3),
        default=3,
        help="rounds over the packaged examples (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, help="file to write the result to, as JSON")
    chosen = parser.parse_args()
    settings: dict[str, Any] = {"dtype": chosen.dtype, "reasoning_tokens": chosen.reasoning_tokens}
    context = RunContext(**settings | ({} if chosen.backbone is None else {"backbone": chosen.backbone}))
    backbone: Backbone = get_backbone(BackboneConfig(backbone=context.backbone, dtype=context.dtype))
    with torch_threads(chosen.threads):
        rows = measure(
            context,
            chosen.decoder_url,
            chosen.decoder_model,
            chosen.rounds,
            say=lambda line: print(line, file=sys.stderr, flush=True),
        )
    report = {
        **provenance("torch", "transformers"),
        "decoder": chosen.decoder,
        "backbone": backbone.name,
        "source": backbone.source,
        "dtype": backbone.dtype,
        "device": str(backbone.device),
        "threads": chosen.threads,
        "reasoning_tokens": chosen.reasoning_tokens,
        "summary": summary(rows),
        "rows": rows,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if chosen.output is not None:
        chosen.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
