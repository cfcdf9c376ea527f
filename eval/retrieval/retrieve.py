"""The graph up to the pages, for examples of an evaluation: what it found is kept, and every system reads the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from webrec.errors import ConfigurationError
from webrec.eval.data.dataset import Item, RankingExample
from webrec.eval.retrieval.config import RetrievalConfig
from webrec.eval.retrieval.corpus import Corpus
from webrec.graph.build import Graph, build_graph
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.decode_step import Watched
from webrec.models.decoding import Decoded
from webrec.models.kept_reasoning import decode_kept
from webrec.models.teacher_forcing import Forced
from webrec.models.threads import torch_threads
from webrec.nodes.context import RunContext
from webrec.nodes.external_decoder import Question, written_elsewhere
from webrec.nodes.prompt import user_of
from webrec.nodes.query_strategies import BUILTIN, strategy_of
from webrec.nodes.reason import as_reasoning, question_of, read_elsewhere, reason, watched_by
from webrec.nodes.run import Run, Update, kept_by, run_blocking
from webrec.nodes.state import State


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page as the prompt would show it, whole."""

    title: str
    text: str
    url: str


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was found for one example. `state`: found, no_pages, left_out or no_keywords; `left_out`: by reason."""

    key: str
    state: str
    query: str
    keywords: tuple[str, ...]
    pages: tuple[FoundPage, ...]
    left_out: Mapping[str, int]
    searches: int
    tokens_written: int
    seconds: float


class Retriever:
    """Runs the graph without its scoring nodes. `threads`: CPU threads of the backbone while it reasons."""

    def __init__(
        self, config: RetrievalConfig, items: Mapping[str, Item], corpus: Corpus | None, *, threads: int = 1
    ) -> None:
        if config.query_strategy == "none" or not config.retrieval:
            raise ConfigurationError(
                f"retrievals: {config.name} searches for nothing; leave it out of the system instead"
            )
        if corpus is not None and config.pages_path is not None:
            raise ConfigurationError(
                f"retrievals: {config.name} has pages_path and the data set a corpus; keep one of them"
            )
        self._config, self._items, self._threads = config, items, threads
        searched = {} if corpus is None else {"providers": ("local",), "pages_path": str(corpus.path)}
        self._settings = {name: getattr(config, name) for name in RunContext.model_fields} | searched
        self._graph: Graph = build_graph(nodes={"reason": self._reason, "augment": _nothing, "score": _nothing})
        self._written: dict[tuple[int, ...], Decoded | Forced] = {}

    def retrieve(self, examples: Sequence[RankingExample]) -> list[Retrieved]:
        """What is found for each. Raises `SearchError` if every provider failed, and what the nodes raise."""
        size = self._config.reason_together
        found = []
        with torch_threads(self._threads):
            for begin in range(0, len(examples), size):
                batch = examples[begin : begin + size]
                share = self._write(batch) / len(batch)
                found += [self._one(example, share) for example in batch]
        return found

    def _write(self, examples: Sequence[RankingExample]) -> float:
        """Let the backbone, or the external decoder, reason about `examples` together; returns the seconds that this took."""
        began = time.perf_counter()
        self._written.clear()
        strategy = strategy_of(self._config, BUILTIN)
        if strategy is None or strategy.question is None or len(examples) < 2:
            return 0.0
        backbone, context = self._backbone(), RunContext(**self._settings)
        questions = {}
        for example in examples:
            text = strategy.question(user_of(self._titles(example), context))
            prompt = backbone.chat.encode_turn(text)
            if (
                len(prompt) + self._config.reasoning_tokens <= backbone.context_length
            ):  # else the node says what is wrong
                questions[tuple(prompt)] = Question(text, prompt)
        asked = sorted(questions, key=len)
        watched = watched_by(self._config, BUILTIN)
        written: Sequence[Decoded | Forced]
        if self._config.decoder_url is None:
            written = decode_kept(
                kept_by(self._config), backbone, asked, self._config.reasoning_tokens, watched=watched
            )
        else:
            written = run_blocking(self._elsewhere(backbone, [questions[prompt] for prompt in asked], watched))
        self._written = dict(zip(asked, written, strict=True))
        return time.perf_counter() - began

    async def _elsewhere(
        self, backbone: Backbone, questions: Sequence[Question], watched: Watched | None
    ) -> list[Forced]:
        """The external decoder is asked all at once: it has its own way of writing together."""
        return await asyncio.gather(*(written_elsewhere(backbone, q, self._config, watched) for q in questions))

    def _reason(self, state: State, run: Run) -> Update | Awaitable[Update]:
        """The node, but what was written already is not written again."""
        question = question_of(state, run)
        if question is None or (written := self._written.get(tuple(question.ids))) is None:
            return reason(state, run)
        if isinstance(written, Forced):
            return read_elsewhere(written, state, run)
        return {"reasoning": as_reasoning(written, run.backbone()).model_dump()}

    def _backbone(self) -> Backbone:
        settings = {name: getattr(self._config, name) for name in BackboneConfig.model_fields}
        return get_backbone(BackboneConfig(**settings | {"adapter": None, "adapter_revision": None}))

    def _titles(self, example: RankingExample) -> State:
        return {
            "history": [self._items[item_id].title for item_id in example.history],
            "candidates": [self._items[item_id].title for item_id in example.candidates],
        }

    def _one(self, example: RankingExample, share: float) -> Retrieved:
        began = time.perf_counter() - share
        titles: Any = self._titles(example)  # the graph takes any kind of state
        state: dict[str, Any] = self._graph.invoke(
            titles, context=RunContext(**{**self._settings, **self._rules(example)})
        )
        left_out: dict[str, int] = {}
        for page in state["left_out"]:
            left_out[page["reason"]] = left_out.get(page["reason"], 0) + 1
        pages = tuple(FoundPage(p["title"], p["text"] or p["snippet"], p["url"]) for p in state["pages"])
        return Retrieved(
            key=example.key,
            state=state["retrieval"] if state["query"] else "no_keywords",
            query=state["query"],
            keywords=tuple(state["keywords"]),
            pages=pages,
            left_out=left_out,
            searches=sum(search["attempts"] for search in state["searches"]),
            tokens_written=len((state["reasoning"] or {"tokens": []})["tokens"]),
            seconds=time.perf_counter() - began,
        )

    def _rules(self, example: RankingExample) -> dict[str, Any]:
        """What the leakage rules say of this example."""
        rules: dict[str, Any] = {}
        if self._config.before_target:
            if example.time is None:
                raise ConfigurationError(
                    f"retrievals: {self._config.name} has before_target, and example {example.key} no time; turn it off for this data"
                )
            rules["pages_before"] = datetime.fromtimestamp(example.time, UTC).isoformat().replace("+00:00", "Z")
        if self._config.not_by_user:
            rules["pages_not_by"] = example.user
        return rules


def _nothing(state: State, run: Run) -> Update:
    return {"warnings": list(state["warnings"])}
