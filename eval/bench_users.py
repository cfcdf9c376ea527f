"""Many users in one process: users a second against what the measured decoding and forward rates allow, and memory.

    python -m webrec.eval.bench_users --output eval/results/bench_users.json

One thread, and processor time, not the clock: other work on the machine does not count. The computed pace takes for each user one
forward over the question, the tokens written at the rate of sixteen texts at a time, and one forward over prompt and titles.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webrec.api import CONCURRENCY, arecommend_many
from webrec.eval.bench_load import requests_of
from webrec.eval.provenance import provenance
from webrec.eval.served import peak_mb, resident_mb
from webrec.eval.small_backbone import write_small_backbone
from webrec.models.allocator import limit_allocator
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.decoding import decode_together
from webrec.models.packed_attention import read_prompt
from webrec.models.threads import torch_threads
from webrec.nodes.context import make_context
from webrec.nodes.prompt import user_of
from webrec.nodes.query_strategies import BUILTIN, strategy_of
from webrec.tools.text_safety import clean

USERS, ALONE, SAMPLE = 1000, 8, 16
Request = tuple[list[str], list[str]]
Memory = list[tuple[int, float]]
"""MB after so many users."""


@dataclass(frozen=True)
class Done:
    """What is counted of a user's result: its prompt, tokens of that, tokens written, whether pages were found."""

    prompt: str
    tokens: int
    written: int
    found: bool


def measure_users(
    settings: dict[str, Any], users: int, alone: int, say: Callable[[str], None], sample: int = SAMPLE
) -> dict[str, Any]:
    """Rates, pace and memory of `users` users, and the pace of `alone` users one at a time.

    `sample`: users to warm up with, and prompts whose forwards are timed. The rates are measured right after the users.
    """
    requests = [(r["history"], r["candidates"]) for r in requests_of(users)]
    with torch_threads(1):
        _run(requests[:sample], settings, CONCURRENCY)
        backbone = get_backbone(BackboneConfig(backbone=settings["backbone"], dtype=settings["dtype"]))
        began, clock = time.process_time(), time.perf_counter()
        done, memory, peaks = _run(requests, settings, CONCURRENCY, say)
        spent, took = time.process_time() - began, time.perf_counter() - clock
        rates = _rates(backbone, settings, requests, done[:sample])
        say(json.dumps(rates))
        began = time.process_time()
        _run(requests[:alone], settings, 1)
        one = (time.process_time() - began) / alone
    written = sum(r.written for r in done) / len(done)
    computed = rates["question_seconds"] + written / rates["decoded_tokens_per_second"] + rates["scoring_seconds"]
    at = dict(memory)
    return {
        "users": users,
        "concurrency": CONCURRENCY,
        "settings": settings | {"backbone": Path(settings["backbone"]).name},
        "sample": sample,
        "rates": {name: round(rate, 5) for name, rate in rates.items()},
        "tokens_written_per_user": round(written, 1),
        "tokens_of_prompt": round(sum(r.tokens for r in done) / len(done)),
        "users_with_pages": sum(r.found for r in done),
        "computed_seconds_per_user": round(computed, 4),
        "processor_seconds_per_user": round(spent / users, 4),
        "share_of_computed_pace": round(computed * users / spent, 3),
        "clock_seconds_per_user": round(took / users, 4),
        "one_at_a_time_seconds_per_user": round(one, 4),
        "over_one_at_a_time": round(one * users / spent, 2),
        "memory_mb": [[n, round(used, 1)] for n, used in memory if n % 50 == 0 or n in {10, users}],
        "memory_last_over_user_100": round(at[users] / at[100], 3) if users > 100 else None,
        "peak_memory_mb": [[n, round(used, 1)] for n, used in peaks if n % 50 == 0 or n in {10, users}],
        "peak_of_last_100_over_first_100": _grown(peaks) if users >= 200 else None,
    }


def _run(
    requests: Sequence[Request], settings: dict[str, Any], concurrency: int, say: Callable[[str], None] = lambda _: None
) -> tuple[list[Done], Memory, Memory]:
    """What is counted of each, the memory of this process (MB) after each tenth user and the last, and its peaks from one of these to the next."""

    async def run() -> tuple[list[Done], Memory, Memory]:
        done, memory, peaks = [], [], []
        peak_mb()
        async for _, result in arecommend_many(requests, concurrency=concurrency, **settings):
            written = 0 if result.reasoning is None else len(result.reasoning.tokens)
            done.append(Done(result.prompt.text, result.prompt.tokens, written, result.retrieval == "found"))
            if len(done) % 10 == 0 or len(done) == len(requests):
                memory.append((len(done), resident_mb()))
                peaks.append((len(done), peak_mb()))
                say(f"{len(done)} users, {memory[-1][1]:.0f} MB, at most {peaks[-1][1]:.0f}")
        return done, memory, peaks

    return asyncio.run(run())


def _grown(peaks: Memory) -> float:
    """The highest of the last hundred users over that of the first: one instant's memory hangs on how many texts are just being written."""
    users = peaks[-1][0]
    first = max(used for n, used in peaks if n <= 100)
    return round(max(used for n, used in peaks if n > users - 100) / first, 3)


def _rates(
    backbone: Backbone, settings: dict[str, Any], requests: Sequence[Request], done: Sequence[Done]
) -> dict[str, float]:
    """Seconds of processor time for a user's plain forwards, and tokens written a second by sixteen texts together."""
    import torch
    from transformers import DynamicCache

    context = make_context(settings)
    strategy = strategy_of(context, BUILTIN)
    assert strategy is not None
    assert strategy.question is not None
    questions = []
    for history, candidates in requests[:SAMPLE]:
        user = user_of({"history": history, "candidates": candidates}, context)
        questions.append(backbone.chat.encode_turn(strategy.question(user)))
    answers = [t for title in requests[0][1] for t in backbone.chat.encode_answer(clean(title))[:-1]]
    prompts = [[*backbone.chat.encode_turn(result.prompt), *answers] for result in done]

    def forwards(texts: Sequence[Sequence[int]]) -> float:
        began = time.process_time()
        with torch.inference_mode():
            for text in texts:
                read_prompt(backbone.model, torch.tensor([list(text)]), DynamicCache(config=backbone.model.config))
        return (time.process_time() - began) / len(texts)

    def written(limit: int) -> tuple[int, float]:
        began = time.process_time()
        texts = decode_together(backbone, questions, limit)
        return sum(len(text.ids) for text in texts), time.process_time() - began

    (first, start), (last, end) = written(1), written(context.reasoning_tokens)
    return {
        "question_seconds": forwards(questions[: len(done)]),
        "scoring_seconds": forwards(prompts),
        "decoded_tokens_per_second": (last - first) / (end - start),
    }


def users_table(report: dict[str, Any]) -> str:
    """One line for each backbone."""
    lines = [
        "| backbone | users | computed, s a user | measured, s a user | share of the computed pace | faster than one at a time "
        "| memory, last user over user 100 | its peak, last 100 users over the first 100 |",
        "| --- |" + " --- |" * 7,
    ]
    for row in report["rows"]:
        grown = [row["memory_last_over_user_100"], row.get("peak_of_last_100_over_first_100")]
        cells = [
            row["backbone"],
            f"{row['users']:,}",
            row["computed_seconds_per_user"],
            row["processor_seconds_per_user"],
        ]
        cells += [f"{row['share_of_computed_pace']:.0%}", f"{row['over_one_at_a_time']:.2f} times"]
        cells += ["" if over is None else f"{over:.3f}" for over in grown]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure one backbone, and put its row into the file that `--output` names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--users", type=int, default=USERS, help="(default: %(default)s)")
    parser.add_argument("--alone", type=int, default=ALONE, help="users one at a time (default: %(default)s)")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="users to warm up with (default: %(default)s)")
    parser.add_argument("--reasoning-tokens", type=int, default=32, help="(default: %(default)s)")
    parser.add_argument("--pages", type=int, default=3, help="pages of the sample web a user (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", help="number format (default: %(default)s)")
    parser.add_argument("--backbone", help="as in the settings; two layers of random weights if not given")
    parser.add_argument("--output", type=Path, help="JSON file whose row of this backbone is replaced")
    chosen = parser.parse_args()
    limit_allocator()  # as the command does
    with tempfile.TemporaryDirectory() as folder:
        backbone = chosen.backbone or str(write_small_backbone(Path(folder) / "small"))
        settings = {
            "backbone": backbone,
            "dtype": chosen.dtype,
            "providers": ["sample"],
            "reasoning_tokens": chosen.reasoning_tokens,
            "pages": chosen.pages,
        }
        row = measure_users(
            settings,
            chosen.users,
            chosen.alone,
            lambda line: print(line, file=sys.stderr, flush=True),
            chosen.sample,
        )
    name = f"{chosen.backbone or 'two layers, random weights'}, {chosen.dtype}"
    row = {"backbone": name, **provenance("torch", "transformers")} | row
    rows = []
    if chosen.output is not None and chosen.output.is_file():
        rows = [r for r in json.loads(chosen.output.read_text("utf-8"))["rows"] if r["backbone"] != name]
    text = json.dumps({"rows": [*rows, row]}, indent=1)
    sys.stdout.write(text + "\n")
    if chosen.output is not None:
        chosen.output.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
