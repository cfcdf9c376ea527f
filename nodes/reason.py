"""reason: the backbone writes about the user's taste, greedily, and keeps the entropy of every choice (Eq. 3)."""

from __future__ import annotations

from collections.abc import Mapping

from webrec.models.backbone import Backbone
from webrec.models.decode_step import Watched
from webrec.models.decoding import Decoded, decode_greedily
from webrec.models.words import token_spans
from webrec.nodes.context import RunContext
from webrec.nodes.prompt import user_of
from webrec.nodes.query_strategies import QueryStrategy, strategy_of
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import Reasoning, TokenEvidence
from webrec.nodes.state import State
from webrec.nodes.validation import check_room


def reason(state: State, run: Run) -> Update:
    """Write `reasoning`: text, tokens and entropies. Raises `InputError` if the question leaves no room to write."""
    prompt = question_of(state, run)
    if prompt is None:
        return {"reasoning": None}
    backbone, limit = run.backbone(), run.context.reasoning_tokens
    ids: list[int] = []

    def on_token(token: int) -> None:
        ids.append(token)
        run.emit("token", text=backbone.chat.decode(ids[-1:]), count=len(ids), limit=limit)

    decoded = decode_greedily(
        backbone,
        prompt,
        limit,
        watched=watched_by(run.context, run.resources.strategies),
        on_token=on_token,
        cancelled=run.cancelled,
    )
    return {"reasoning": as_reasoning(decoded, backbone).model_dump()}


def question_of(state: State, run: Run) -> list[int] | None:
    """Token ids of what the backbone is asked, None where it is not. Raises `InputError` if there is no room to answer."""
    strategy = strategy_of(run.context, run.resources.strategies)
    if strategy is None or strategy.question is None:
        return None
    backbone = run.backbone()
    prompt = backbone.chat.encode_turn(strategy.question(user_of(state, run.context)))
    check_room(len(prompt) + run.context.reasoning_tokens, backbone.context_length)
    return prompt


def watched_by(context: RunContext, strategies: Mapping[str, QueryStrategy]) -> Watched | None:
    """The attention that `extract` will ask for."""
    strategy = strategy_of(context, strategies)
    reads = strategy is not None and strategy.reads_tokens
    return (context.attention_layer, context.attention_heads) if reads else None


def as_reasoning(decoded: Decoded, backbone: Backbone) -> Reasoning:
    """What the backbone wrote, with each token's place in the text."""
    text, spans = token_spans(decoded.ids, backbone.chat.decode)
    tokens = [
        TokenEvidence(id=i, start=start, end=end, entropy=entropy)
        for i, (start, end), entropy in zip(decoded.ids, spans, decoded.entropy, strict=True)
    ]
    return Reasoning(text=text, stop=decoded.stop, tokens=tokens)
