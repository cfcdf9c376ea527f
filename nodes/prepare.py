"""prepare: check input and settings before anything is computed or searched, and start from a clean state."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec

from webrec.models.backbone import require_model_extra
from webrec.models.influence import resolve_layer
from webrec.nodes.augment import prompt_limit, prompt_room
from webrec.nodes.prompt import user_of
from webrec.nodes.query_strategies import strategy_of
from webrec.nodes.run import Run, Update
from webrec.nodes.state import State
from webrec.nodes.validation import check_input
from webrec.tools.completions import decoder_address
from webrec.tools.fetching.extraction import require_fetch_extra
from webrec.tools.providers.registry import fallback_names, open_provider, resolve_names
from webrec.tools.ranking.faiss_rerank import require_rerank_extra
from webrec.tools.reading.leakage import LeakageRules

_VERSIONED = ("webrec", "langgraph", "torch", "transformers", "tantivy")


def prepare(state: State, run: Run) -> Update:
    """Raises `InputError` or `ConfigurationError` with one sentence; else resets what an earlier run left behind."""
    checked = check_input(dict(state))
    require_model_extra()
    if run.context.rerank:
        require_rerank_extra()
    if run.context.fetch_pages:
        require_fetch_extra()
    LeakageRules.of(run.context)  # refuses what is no date
    decoder_address(run.context)
    strategy = strategy_of(run.context, run.resources.strategies)
    if strategy is not None:
        for name in [*resolve_names(run.context), *fallback_names(run.context, run.resources.providers)]:
            open_provider(name, run.context, run.resources.providers)
    if run.context.crowd is not None:
        from webrec.tools.crowd.prior import get_prior

        get_prior(run.context.crowd)
    run.emit("loading", backbone=run.context.backbone)
    backbone = run.backbone()
    scorer = run.scorer()  # an adapter that does not fit is told before anything is searched for
    if "augment" not in run.resources.replaced:  # and so is a prompt, unless somebody's own node writes another one
        user = user_of(state, run.context)
        prompt_room(scorer.chat, user, prompt_limit(run.context, scorer), run.context.prompt_form)
    if strategy is not None and strategy.reads_tokens:
        resolve_layer(len(backbone.model.model.layers), run.context.attention_layer)
    return {
        **checked.model_dump(),
        "reasoning": None,
        "keywords": [],
        "results": None,
        "query": "",
        "searches": [],
        "pages": [],
        "left_out": [],
        "retrieval": "off",
        "prompt": {},
        "ranking": [],
        "backbone": {},
        "head": "none",
        "crowd": None,
        "settings": run.context.model_dump(mode="json"),
        "versions": {
            name: version(name)
            for name in (*_VERSIONED, *(["peft"] if run.context.adapter and find_spec("peft") else []))
        },
        "warnings": [],
        "warned": {},
    }
