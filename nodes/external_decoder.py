"""The reasoning written by an external decoder and read by the backbone in one pass (Eq. 1-3 as if it had written it)."""

from __future__ import annotations

from dataclasses import dataclass

from webrec.errors import BackboneError
from webrec.models.backbone import Backbone
from webrec.models.decode_step import Watched
from webrec.models.kept_reasoning import read_kept
from webrec.models.teacher_forcing import Forced, cut_text
from webrec.nodes.context import RunContext
from webrec.nodes.node_threads import node_threads
from webrec.nodes.run import kept_by
from webrec.tools.completions import complete

LEAST_AGREEMENT = 0.5
"""Of the same model even a 4-bit copy writes nearly all tokens that the backbone would have written after the same ones."""


@dataclass(frozen=True)
class Question:
    """What is asked: as text, and as the backbone's own token ids, template included."""

    text: str
    ids: list[int]


async def written_elsewhere(
    backbone: Backbone, question: Question, context: RunContext, watched: Watched | None
) -> Forced:
    """The external decoder's text, cut where our own decoder would have stopped, with its measurements.

    Its tokens are those that the server tells, else the text's in the backbone's own tokenizer. Never falls back to our own
    decoder. Raises `BackboneError` and `ConfigurationError` (`complete`).
    """
    limit = context.reasoning_tokens
    if limit == 0:
        return await node_threads.call(read_kept, kept_by(context), backbone, question.ids, [], "limit", watched)
    written = await complete(context, question.ids, question.text, limit)
    ids = written.ids
    if ids is None:
        ids = backbone.chat.encode(written.text)
    elif any(i >= backbone.model.config.vocab_size for i in ids):
        raise BackboneError(
            "the decoder (decoder_url) wrote tokens that the backbone does not have; serve the same model, or use decoder_api=chat"
        )
    kept, stop = cut_text(ids, limit, backbone.chat.end_ids, "end" if written.ended else "limit")
    return await node_threads.call(read_kept, kept_by(context), backbone, question.ids, kept, stop, watched)


def doubts(forced: Forced, context: RunContext) -> list[str]:
    """A warning where the text cannot be of the backbone's own model although it was asked for by its tokens."""
    if context.decoder_api == "chat" or forced.agreement is None or forced.agreement >= LEAST_AGREEMENT:
        return []
    return [
        f"the backbone would have written only {forced.agreement:.0%} of the external decoder's tokens: does decoder_url serve the "
        "same model? For another one use decoder_api=chat"
    ]
