"""score: every candidate's log-likelihood as the answer to the prompt, ranked."""

from __future__ import annotations

from typing import Any, cast

from pydantic import ValidationError

from webrec.errors import InputError
from webrec.models.backbone import Backbone
from webrec.models.scoring import score_candidates, scores_of, softmax
from webrec.nodes.context import RunContext
from webrec.nodes.edited import prompt_text_of
from webrec.nodes.prompt import anyones_prompt, prompt_order, user_of
from webrec.nodes.run import Run, Update
from webrec.nodes.schema import AdapterEvidence, BackboneEvidence, PromptEvidence, RankedCandidate
from webrec.nodes.state import State
from webrec.nodes.validation import first_error
from webrec.nodes.warnings import warn


def score(state: State, run: Run) -> Update:
    """Write `ranking`, `backbone` and `head`. Candidates are scored in prompt order, so input order changes nothing.

    Raises `InputError` for an edited prompt that is no text or too long.
    """
    backbone, context = run.scorer(), run.context
    user = user_of(state, context)
    titles = state["candidates"]
    order = prompt_order(titles, context.seed)
    text = prompt_text_of(state)
    prompt = backbone.chat.encode_turn(text)
    answers = [backbone.chat.encode_answer(title) for title in user.candidates]
    room = backbone.context_length - max(map(len, answers))
    if len(prompt) > room:
        raise InputError(f"prompt: it has {len(prompt):,} tokens and {room:,} fit; shorten it")
    run.emit("scoring", candidates=len(order), prompt_tokens=len(prompt))
    likelihoods = score_candidates(backbone, prompt, answers, cancelled=run.cancelled)
    alone = None
    if context.score_by == "pmi":
        plain = run.backbone()  # what titles are likely to be anyway is not what an adapter was trained to say
        anyones = plain.chat.encode_turn(anyones_prompt(user, context.prompt_form))
        alone = score_candidates(plain, anyones, answers, cancelled=run.cancelled)
    scores = scores_of(likelihoods, alone, context.score_by)
    probabilities = softmax(scores)
    best_first = sorted(range(len(order)), key=lambda n: -scores[n])
    ranking = [
        RankedCandidate(
            rank=rank,
            index=order[n],
            title=titles[order[n]],
            score=scores[n],
            mean=likelihoods[n].mean,
            sum=likelihoods[n].total,
            tokens=likelihoods[n].tokens,
            anyones=None if alone is None else alone[n].total,
            probability=probabilities[n],
        )
        for rank, n in enumerate(best_first, 1)
    ]
    evidence = BackboneEvidence(
        name=backbone.name,
        source=backbone.source,
        dtype=backbone.dtype,
        device=str(backbone.device),
        adapter=_adapter_evidence(backbone),
    )
    settings = context.model_dump(mode="json")
    changed = [name for name, value in settings.items() if value != state["settings"].get(name)]
    said = []
    if changed:
        said.append(f"these settings were changed after the run had begun: {', '.join(changed)}")
    said += _asked_otherwise(backbone, context)
    state = cast("State", {**state, **warn(state, "fuse", [])})  # of an earlier round, as is its crowd
    return {
        "prompt": _evidence(state, text, len(prompt), backbone.context_length, len(user.history)).model_dump(),
        "ranking": [r.model_dump() for r in ranking],
        "backbone": evidence.model_dump(),
        "head": "none" if backbone.adapter is None else backbone.adapter.adapted.describe(),
        "settings": settings,
        "crowd": None,  # where the settings name one, fuse comes next
        **warn(state, "score", said),
    }


def _evidence(state: State, text: str, tokens: int, limit: int, history: int) -> PromptEvidence:
    """What is told of the prompt, true of an edited one too."""
    told = {"limit": limit, "history_used": history, "pages_shortened": 0, "pages_dropped": 0}
    held: Any = state["prompt"]
    try:
        return PromptEvidence.model_validate(
            {**told, **(held if isinstance(held, dict) else {}), "text": text, "tokens": tokens}
        )
    except ValidationError as error:
        raise InputError(f"prompt.{first_error(error)}") from None


def _asked_otherwise(backbone: Backbone, context: RunContext) -> list[str]:
    """A warning, if the adapter was trained with other prompts or scores."""
    asked = {} if backbone.adapter is None else backbone.adapter.adapted.asked
    other = [f"{name} {value}" for name, value in asked.items() if getattr(context, name, value) != value]
    return [f"the adapter was trained with {', '.join(other)}; this run asks otherwise"] if other else []


def _adapter_evidence(backbone: Backbone) -> AdapterEvidence | None:
    if (loaded := backbone.adapter) is None:
        return None
    return AdapterEvidence(name=loaded.name, tuning=loaded.adapted.describe_tuning(), sha256=loaded.sha256)
