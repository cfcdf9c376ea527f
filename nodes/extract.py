"""extract: from what the backbone wrote to keywords, by attention × entropy (Eq. 1-5)."""

from __future__ import annotations

from webrec.models.backbone import Backbone
from webrec.models.influence import influence
from webrec.models.keywords import pick_keywords, pool, stop_words, token_scores
from webrec.models.teacher_forcing import read_text
from webrec.models.words import split_words, token_spans
from webrec.nodes.edited import reasoning_of
from webrec.nodes.prompt import User, user_of
from webrec.nodes.query_strategies import QueryStrategy, keywords_by, question_by, strategy_of
from webrec.nodes.reason import as_reasoning
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import Reasoning
from webrec.nodes.state import State
from webrec.nodes.validation import check_room
from webrec.nodes.warnings import warn


def extract(state: State, run: Run) -> Update:
    """Write `keywords`, and into `reasoning` every token's attention, score, pooled score and word.

    Raises `ConfigurationError` for a strategy that gives no keywords.
    """
    strategy = strategy_of(run.context, run.resources.strategies)
    if strategy is None:
        return {"keywords": []}
    user, name = user_of(state, run.context), run.context.query_strategy
    reasoning = reasoning_of(state)
    if reasoning is None:
        return {"keywords": keywords_by(strategy, name, user, "", [])}
    if not strategy.reads_tokens:
        return {"keywords": keywords_by(strategy, name, user, reasoning.text, [])}
    decoder = reasoning.decoder
    picked = _pick(reasoning, user, strategy, run)
    taken_back = {} if reasoning.decoder == decoder else warn(state, "reason", [])  # read anew, it is no decoder's text
    return {
        "keywords": keywords_by(strategy, name, user, reasoning.text, picked),
        "reasoning": reasoning.model_dump(),
        **taken_back,
    }


def _spelled(reasoning: Reasoning, backbone: Backbone) -> bool:
    """Whether the tokens are those of the text: somebody may have changed it."""
    ids = [token.id for token in reasoning.tokens]
    if not ids or min(ids) < 0 or max(ids) >= backbone.model.config.vocab_size:
        return False
    text, spans = token_spans(ids, backbone.chat.decode)
    return text == reasoning.text and spans == [(token.start, token.end) for token in reasoning.tokens]


def _read_again(reasoning: Reasoning, prompt: list[int], backbone: Backbone) -> None:
    """Give a text that the backbone did not write its tokens, with the entropy at each, as that of an external decoder."""
    ids = backbone.chat.encode(reasoning.text)
    check_room(len(prompt) + len(ids), backbone.context_length)
    read = as_reasoning(read_text(backbone, prompt, ids, "end", None).decoded, backbone)
    reasoning.text, reasoning.stop, reasoning.tokens = read.text, read.stop, read.tokens
    reasoning.decoder, reasoning.agreement = None, None


def _pick(reasoning: Reasoning, user: User, strategy: QueryStrategy, run: Run) -> list[str]:
    """The picked words; fills in the evidence of every token."""
    context = run.context
    stops = stop_words(context.language)
    reasoning.stop_list = f"none: {context.language}" if stops is None else context.language
    question = question_by(strategy, context.query_strategy, user) if reasoning.text else None
    if question is None:
        return []
    backbone = run.backbone()
    prompt = backbone.chat.encode_turn(question)
    if not _spelled(reasoning, backbone):
        _read_again(reasoning, prompt, backbone)
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
