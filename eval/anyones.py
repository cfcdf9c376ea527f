"""How likely each candidate's title is for a user of whom nothing is known: what pmi takes away, known before training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from webrec.eval.examples import Example, user_of_example
from webrec.eval.train_config import PromptConfig
from webrec.models.packing import EncodedExample
from webrec.nodes.prompt import anyones_prompt

if TYPE_CHECKING:
    from webrec.models.backbone import Backbone

_TITLES_AT_ONCE = 256


def with_anyones(
    backbone: Backbone,
    examples: Sequence[Example],
    encoded: Sequence[EncodedExample],
    prompt: PromptConfig,
    progress: Callable[[int], None] = lambda _: None,
) -> list[EncodedExample]:
    """`encoded` with each candidate's log-likelihood for a user of whom nothing is known, as `backbone` sees it.

    Titles that follow the same prompt are asked together and once; `progress` hears how many different ones are done.
    """
    from webrec.models.scoring import score_candidates

    asked: dict[tuple[int, ...], dict[tuple[int, ...], float]] = {}
    prompts = []
    for example, ids in zip(examples, encoded, strict=True):
        text = anyones_prompt(user_of_example(example, prompt), prompt.prompt_form)
        prompts.append(tuple(backbone.chat.encode_turn(text)))
        asked.setdefault(prompts[-1], {}).update((tuple(candidate), 0.0) for candidate in ids.candidates)
    done = 0
    for question, titles in asked.items():
        different = list(titles)
        for start in range(0, len(different), _TITLES_AT_ONCE):
            part = different[start : start + _TITLES_AT_ONCE]
            likelihoods = score_candidates(backbone, question, part)
            titles.update((title, found.total) for title, found in zip(part, likelihoods, strict=True))
            done += len(part)
            progress(done)
    return [
        replace(ids, anyones=[asked[question][tuple(candidate)] for candidate in ids.candidates])
        for question, ids in zip(prompts, encoded, strict=True)
    ]
