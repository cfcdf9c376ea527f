"""The whole path for one user, node by node, beside Hugging Face's way of the same steps, other systems, and the computed floor.

    make bench ARGS="--only path --dtype float32 --output eval/results/bench_path.json"

The packaged games example, whose reasoning fills its 128 tokens, on the packaged sample web. Searches are those of the first run,
whatever the query, so that every system reads the same pages. Everything is measured in turns, round after round; a ratio is taken
within a round.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from webrec.api import arecommend
from webrec.eval.bench_floor import Machine, Work
from webrec.eval.bench_hugging_face import generate, one_by_one, read_attentions
from webrec.eval.bench_score import summary
from webrec.examples import load_example
from webrec.graph.build import Graph, build_graph
from webrec.models.backbone import Backbone
from webrec.models.decoding import decode_greedily
from webrec.models.draft import draft_of
from webrec.models.influence import influence
from webrec.models.packed_attention import read_prompt
from webrec.models.recent_influence import RecentInfluence
from webrec.models.scoring import score_candidates
from webrec.nodes.prompt import User, taste_prompt
from webrec.tools.page import Page
from webrec.tools.providers.local_index import LocalIndex
from webrec.tools.sample_web import pages_path

EXAMPLE, TOKENS = "games", 128
SYSTEMS: Mapping[str, dict[str, Any]] = {
    "webrec": {"query_strategy": "keywords"},
    "vanilla RAG": {"query_strategy": "prompt"},
    "no retrieval": {"retrieval": False},
}
Writer = Callable[[Sequence[int], int], int]
"""Writes at most so many tokens after a prompt and tells how many: another decoder, to be measured beside ours."""


class _Recorded:
    """The sample web, always asked what it was asked first."""

    name, query_limit, offline = "recorded", None, True

    def __init__(self) -> None:
        self._index = LocalIndex(pages_path(), name=self.name)
        self._query: str | None = None

    async def search(self, query: str, limit: int) -> list[Page]:
        self._query = self._query or query
        return await self._index.search(self._query, limit)


def measure_path(
    backbone: Backbone,
    rounds: int,
    *,
    dtype: str = "auto",
    others: Mapping[str, Writer] | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Ratios with their spread; seconds only as shares of WebRec's own median. `dtype`: the setting with which `backbone` was loaded. `others`: further decoders, by name."""
    work = Work.of(backbone.model)
    example = load_example(EXAMPLE)
    provider = _Recorded()
    graph = build_graph(providers={provider.name: lambda _: provider})
    user = User.of(example["history"], example["candidates"], history_items=10, seed=0)
    question = backbone.chat.encode_turn(taste_prompt(user))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in SYSTEMS}
    steps: dict[str, list[float]] = {}
    machines: list[Machine] = []
    encoded: tuple[list[int], list[list[int]]] = ([], [])
    for number in range(rounds + 1):
        for name, settings in SYSTEMS.items():
            with _passes(backbone) as passes:
                run = _run(graph, example, settings | {"backbone": backbone.name, "dtype": dtype})
            run |= passes
            if name == "webrec":
                encoded = _encoded(backbone, user, run["result"].prompt.text)
            if number:
                runs[name].append(run)
        if number:  # the round before only warms up
            machines.append(
                Machine.measured(backbone.model.dtype)
            )  # each time: a machine that others use too is not always as fast
            for name, seconds in _steps(backbone, question, *encoded, others or {}).items():
                steps.setdefault(name, []).append(seconds)
        say(f"round {number} of {rounds}: {runs['webrec'][-1]['seconds'] if number else 0:.2f} s with reasoning")
    last = runs["webrec"][-1]
    floors = [_floor(machine, work, question, encoded, last) for machine in machines]
    return {
        "example": EXAMPLE,
        "reasoning_tokens": len(last["result"].reasoning.tokens),
        "reasoning_prompt_tokens": len(question),
        "scoring_prompt_tokens": len(encoded[0]),
        "passes": last["passes"],
        "passed_tokens": last["passed_tokens"],
        "draft_passes": last["draft_passes"],
        "machine": {
            "matrix_gflops": summary([machine.flops / 1e9 for machine in machines]),
            "memory_gb_per_s": summary([machine.bandwidth / 1e9 for machine in machines]),
        },
        **_ratios(runs, steps, floors, backbone.dtype),
    }


def _run(graph: Graph, example: Mapping[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    nodes: dict[str, float] = {}

    def hear(event: dict[str, Any]) -> None:
        if event.get("event") == "finished":
            nodes[event["node"]] = nodes.get(event["node"], 0) + event["seconds"]

    began = time.perf_counter()
    result = asyncio.run(
        arecommend(
            example["history"],
            example["candidates"],
            graph=graph,
            on_progress=hear,
            reasoning_tokens=TOKENS,
            providers=["recorded"],
            **settings,
        )
    )
    return {"seconds": time.perf_counter() - began, "nodes": nodes, "result": result}


@contextmanager
def _passes(backbone: Backbone) -> Iterator[dict[str, int]]:
    """How often model and draft wrote in one run inside the context, and over how many tokens the model did; the two passes that read are left out."""
    told: dict[str, int] = {}
    all_passes: list[int] = []  # tokens of each
    hook = backbone.model.model.norm.register_forward_hook(lambda _, __, hidden: all_passes.append(hidden.shape[-2]))
    before = _drafted(backbone)
    try:
        yield told
    finally:
        hook.remove()
        drafts, drafted = (now - then for now, then in zip(_drafted(backbone), before, strict=True))
        writing = sorted(all_passes)[:-2]
        told |= {"passes": len(writing) - drafts, "passed_tokens": sum(writing) - drafted, "draft_passes": drafts}


def _drafted(backbone: Backbone) -> tuple[int, int]:
    """Passes and tokens of the draft until now."""
    draft = draft_of(backbone.model)
    return (0, 0) if draft is None else (draft.passes, draft.tokens)


def _encoded(backbone: Backbone, user: User, prompt: str) -> tuple[list[int], list[list[int]]]:
    return backbone.chat.encode_turn(prompt), [backbone.chat.encode_answer(title) for title in user.candidates]


def _steps(
    backbone: Backbone,
    question: list[int],
    prompt: list[int],
    answers: list[list[int]],
    others: Mapping[str, Writer],
) -> dict[str, float]:
    """Seconds of each way of each step."""
    ids: list[int] = []

    def write() -> None:
        ids[:] = decode_greedily(backbone, question, TOKENS, watched=(-1, "mean")).ids

    seconds = {"reason": _timed(write)}
    seconds["extract"] = _timed(lambda: influence(backbone, question, ids, -1, "mean"))
    backbone.recent.__dict__.update(RecentInfluence().__dict__)  # what decoding measured is forgotten
    seconds["extract, one pass"] = _timed(lambda: influence(backbone, question, ids, -1, "mean"))
    seconds["score"] = _timed(lambda: score_candidates(backbone, prompt, answers))
    for dtype in ("float32", "bfloat16"):  # as many tokens as ours, which may have come to an end
        seconds[f"generate {dtype}"] = generate(backbone, question, len(ids), dtype)
    seconds["attentions"] = read_attentions(backbone, question, ids)
    seconds["one by one"] = one_by_one(backbone, prompt, answers)
    seconds["plain reading"] = _timed(lambda: _read(backbone, [*question, *ids]))
    seconds["reading the question"] = _timed(lambda: _read_cached(backbone, question))
    seconds["two readings"] = sum(_timed(lambda: _read(backbone, question)) for _ in range(2))
    seconds["two in a batch"] = _timed(lambda: _read(backbone, question, rows=2))
    for name, writer in others.items():
        reading = _timed(partial(writer, question, 1))
        began = time.perf_counter()
        written = writer(question, len(ids))  # which may be fewer than ours
        per_token = (time.perf_counter() - began - reading) / max(written - 1, 1)
        seconds[f"decoder {name}"] = reading + per_token * (len(ids) - 1)
    return seconds


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _read_cached(backbone: Backbone, ids: Sequence[int]) -> None:
    """As decoding begins."""
    import torch
    from transformers import DynamicCache

    with torch.inference_mode():
        read_prompt(backbone.model, torch.tensor([list(ids)]), DynamicCache(config=backbone.model.config))


def _read(backbone: Backbone, ids: Sequence[int], rows: int = 1) -> None:
    import torch

    with torch.inference_mode():
        backbone.model(input_ids=torch.tensor([list(ids)] * rows, device=backbone.device), logits_to_keep=1)


def _floor(
    machine: Machine, work: Work, question: list[int], encoded: tuple[list[int], list[list[int]]], run: dict[str, Any]
) -> dict[str, float]:
    """Seconds that reading, writing and scoring take at least; and writing with one pass a token."""
    prompt, answers = encoded
    lengths = [len(answer) - 1 for answer in answers]
    written = len(run["result"].reasoning.tokens)
    held = len(question) + written / 2
    return {
        "question": work.reading(machine, len(question), 1),
        "writing": work.writing(machine, run["passes"], run["passed_tokens"], held)
        + work.drafting(machine, run["draft_passes"], held),
        "writing, one pass a token": work.writing(machine, written, written, held),
        "score": work.reading(
            machine, len(prompt), 1 + sum(lengths), behind=sum(lengths), own=sum(n * (n + 1) // 2 for n in lengths)
        ),
    }


def _ratios(
    runs: dict[str, list[dict[str, Any]]], steps: dict[str, list[float]], floors: list[dict[str, float]], dtype: str
) -> dict[str, Any]:
    """`dtype`: in which attentions and single candidates were computed, as ours were."""
    whole = [run["seconds"] for run in runs["webrec"]]
    other = {name: [run["seconds"] for run in runs[name]] for name in SYSTEMS}
    reason = [run["nodes"]["reason"] for run in runs["webrec"]]
    rest = [w - r for w, r in zip(whole, reason, strict=True)]
    least = {name: [floor[name] for floor in floors] for name in floors[0]}
    reasoned = [a + b for a, b in zip(least["question"], least["writing"], strict=True)]
    middle = statistics.median(whole)

    def over(first: Sequence[float], *second: Sequence[float]) -> dict[str, float]:
        return summary([a / sum(b) for a, *b in zip(first, *second, strict=True)])

    def plus(*parts: Sequence[float]) -> list[float]:
        return [sum(values) for values in zip(*parts, strict=True)]

    hugging_face = plus(steps[f"generate {dtype}"], steps["attentions"], steps["one by one"])
    headline = plus(steps["reason"], steps["extract"])
    ratios = {
        "generate(), float32, over reasoning": over(steps["generate float32"], steps["reason"]),
        "generate(), bfloat16, over reasoning": over(steps["generate bfloat16"], steps["reason"]),
        "cold prompt to keywords, generate() and attentions in the same format over ours": over(
            plus(steps[f"generate {dtype}"], steps["attentions"]), headline
        ),
        "all layers' attentions over extraction in one pass": over(steps["attentions"], steps["extract, one pass"]),
        "extraction in one pass over a plain forward": over(steps["extract, one pass"], steps["plain reading"]),
        "extraction after decoding over a plain forward": over(steps["extract"], steps["plain reading"]),
        "one forward a candidate over packed scoring": over(steps["one by one"], steps["score"]),
        "two prompts in a batch over one after the other": over(steps["two in a batch"], steps["two readings"]),
        "reasoning over its floor": over(steps["reason"], reasoned),
        "share of the memory roof while writing": over(
            least["writing"],
            [s - q for s, q in zip(steps["reason"], steps["reading the question"], strict=True)],
        ),
        "scoring over its floor": over(steps["score"], least["score"]),
        "all but reasoning over vanilla RAG": over(rest, other["vanilla RAG"]),
        "all but writing over vanilla RAG": over(plus(rest, steps["reading the question"]), other["vanilla RAG"]),
        "the whole over vanilla RAG": over(whole, other["vanilla RAG"]),
        "the whole over no retrieval": over(whole, other["no retrieval"]),
        "the whole over its floor": over(whole, reasoned, least["score"]),
        "the whole over its floor with one pass a token": over(
            whole, least["question"], least["writing, one pass a token"], least["score"]
        ),
        "Hugging Face's way, in the same format, over the whole": over(hugging_face, whole),
    }
    for name in steps:
        if name.startswith("decoder "):
            ratios[f"{name} over reasoning"] = over(steps[name], steps["reason"])
            ratios[f"generate(), bfloat16, over {name}"] = over(steps["generate bfloat16"], steps[name])
    shares = {
        name: {
            node: summary([run["nodes"].get(node, 0) / middle for run in system])
            for node in dict.fromkeys(node for run in system for node in run["nodes"])
        }
        | {"the graph itself": summary([(run["seconds"] - sum(run["nodes"].values())) / middle for run in system])}
        for name, system in runs.items()
    }
    bars = {
        f"Hugging Face's way, {dtype}": {
            "reason": summary([s / middle for s in steps[f"generate {dtype}"]]),
            "extract": summary([s / middle for s in steps["attentions"]]),
            "score": summary([s / middle for s in steps["one by one"]]),
        },
        **shares,
        "WebRec's floor": {
            "reason": summary([s / middle for s in reasoned]),
            "score": summary([s / middle for s in least["score"]]),
        },
    }
    wholes = {name: summary([s / middle for s in seconds]) for name, seconds in other.items()}
    return {"ratios": ratios, "shares": bars, "wholes": wholes}
