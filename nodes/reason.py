"""reason: the backbone writes about the user's taste, greedily, and keeps the entropy of every choice (Eq. 3).

Or an external decoder writes, and the backbone reads what it wrote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from webrec.models.backbone import Backbone
from webrec.models.decode_step import Watched
from webrec.models.decoding import Decoded
from webrec.models.kept_reasoning import decode_kept
from webrec.models.teacher_forcing import Forced
from webrec.models.words import token_spans
from webrec.nodes.context import RunContext
from webrec.nodes.external_decoder import Question, doubts, written_elsewhere
from webrec.nodes.prompt import user_of
from webrec.nodes.query_strategies import QueryStrategy, question_by, strategy_of
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import Reasoning, TokenEvidence
from webrec.nodes.state import State
from webrec.nodes.validation import check_room
from webrec.nodes.warnings import warn


def reason(state: State, run: Run) -> Update | Awaitable[Update]:
    """Write `reasoning`: text, tokens and entropies.

    Raises `InputError` if the question leaves no room to write, `BackboneError` if an external decoder gives nothing to read.
    """
    question = question_of(state, run)
    if question is None:
        return {"reasoning": None, **warn(state, "reason", [])}
    if run.context.decoder_url is not None:
        return _ask_elsewhere(question, state, run)
    backbone, limit = run.backbone(), run.context.reasoning_tokens
    ids: list[int] = []

    def on_token(token: int) -> None:
        ids.append(token)
        run.emit("token", text=backbone.chat.decode(ids[-1:]), count=len(ids), limit=limit)

    (decoded,) = decode_kept(
        run.kept(),
        backbone,
        [question.ids],
        limit,
        watched=watched_by(run.context, run.resources.strategies),
        on_token=on_token,
        cancelled=run.cancelled,
    )
    return {"reasoning": as_reasoning(decoded, backbone).model_dump(), **warn(state, "reason", [])}


async def _ask_elsewhere(question: Question, state: State, run: Run) -> Update:
    run.emit("asking", decoder=run.context.decoder_url)
    backbone = run.backbone()
    forced = await written_elsewhere(backbone, question, run.context, watched_by(run.context, run.resources.strategies))
    return read_elsewhere(forced, state, run)


def read_elsewhere(forced: Forced, state: State, run: Run) -> Update:
    """What the node writes of an external decoder's text."""
    reasoning = as_reasoning(forced.decoded, run.backbone())
    reasoning.decoder, reasoning.agreement = run.context.decoder_url, forced.agreement
    return {"reasoning": reasoning.model_dump(), **warn(state, "reason", doubts(forced, run.context))}


def question_of(state: State, run: Run) -> Question | None:
    """What the backbone is asked, None where it is not. Raises `InputError` if there is no room to answer."""
    strategy = strategy_of(run.context, run.resources.strategies)
    if strategy is None:
        return None
    text = question_by(strategy, run.context.query_strategy, user_of(state, run.context))
    if text is None:
        return None
    backbone = run.backbone()
    question = Question(text, backbone.chat.encode_turn(text))
    check_room(len(question.ids) + run.context.reasoning_tokens, backbone.context_length)
    return question


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
