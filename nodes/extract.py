"""extract: from what the backbone wrote to keywords, by attention × entropy (Eq. 1-5)."""

from __future__ import annotations

from webrec.models.influence import influence
from webrec.models.keywords import pick_keywords, pool, stop_words, token_scores
from webrec.models.words import split_words
from webrec.nodes.prompt import User, user_of
from webrec.nodes.query_strategies import QueryStrategy, strategy_of
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import Reasoning
from webrec.nodes.state import State


def extract(state: State, run: Run) -> Update:
    """Write `keywords`, and into `reasoning` every token's attention, score, pooled score and word."""
    strategy = strategy_of(run.context, run.resources.strategies)
    if strategy is None:
        return {"keywords": []}
    user = user_of(state, run.context)
    written = state.get("reasoning")
    if written is None:
        return {"keywords": strategy.keywords(user, "", [])}
    reasoning = Reasoning.model_validate(written)
    if not strategy.reads_tokens:
        return {"keywords": strategy.keywords(user, reasoning.text, [])}
    picked = _pick(reasoning, user, strategy, run)
    return {"keywords": strategy.keywords(user, reasoning.text, picked), "reasoning": reasoning.model_dump()}


def _pick(reasoning: Reasoning, user: User, strategy: QueryStrategy, run: Run) -> list[str]:
    """The picked words; fills in the evidence of every token."""
    context = run.context
    stops = stop_words(context.language)
    reasoning.stop_list = f"none: {context.language}" if stops is None else context.language
    if not reasoning.tokens or strategy.question is None:
        return []
    backbone = run.backbone()
    prompt = backbone.chat.encode_turn(strategy.question(user))
    attention = influence(
        backbone, prompt, [t.id for t in reasoning.tokens], context.attention_layer, context.attention_heads
    )
    scores = token_scores(attention, [t.entropy for t in reasoning.tokens])
    pooled = pool(scores, context.pooling_window)
    words = split_words(reasoning.text, [(t.start, t.end) for t in reasoning.tokens])
    picked = pick_keywords(words, pooled, context.keywords, stops or frozenset())
    for token, a, s, p in zip(reasoning.tokens, attention, scores, pooled, strict=True):
        token.attention, token.score, token.pooled = a, s, p
    for word in words:
        for index in word.tokens:
            token = reasoning.tokens[index]
            token.word = word.text if token.word is None else f"{token.word} {word.text}"
    for keyword in picked:
        for index in keyword.word.tokens:
            reasoning.tokens[index].keyword = True
    return [k.word.text for k in picked]
