"""WebRec: a recommender that reads the web before it recommends (arXiv 2511.14182).

The public API is `__all__`. Importing this package loads no model library and changes nothing in the process.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webrec.api import arecommend, arecommend_many, recommend
    from webrec.errors import (
        BackboneError,
        BusyError,
        ConfigurationError,
        InputError,
        MissingExtraError,
        RunCancelled,
        SearchError,
        TrainingError,
        WebRecError,
    )
    from webrec.graph.build import build_graph
    from webrec.langchain_tool import as_tool
    from webrec.models.adapter import AdaptedLlama
    from webrec.models.mp_head.config import MPHeadConfig
    from webrec.models.mp_head.model import MPHead
    from webrec.nodes.context import RunContext
    from webrec.nodes.query_strategies import QueryStrategy
    from webrec.nodes.schema import Recommendation, RecommendInput
    from webrec.tools.page import Page, SearchProvider

__version__ = _version("webrec")

_HOME = {
    "AdaptedLlama": "webrec.models.adapter",
    "MPHead": "webrec.models.mp_head.model",
    "MPHeadConfig": "webrec.models.mp_head.config",
    "TrainingError": "webrec.errors",
    "arecommend": "webrec.api",
    "arecommend_many": "webrec.api",
    "recommend": "webrec.api",
    "BackboneError": "webrec.errors",
    "BusyError": "webrec.errors",
    "ConfigurationError": "webrec.errors",
    "InputError": "webrec.errors",
    "MissingExtraError": "webrec.errors",
    "RunCancelled": "webrec.errors",
    "SearchError": "webrec.errors",
    "WebRecError": "webrec.errors",
    "build_graph": "webrec.graph.build",
    "as_tool": "webrec.langchain_tool",
    "RunContext": "webrec.nodes.context",
    "QueryStrategy": "webrec.nodes.query_strategies",
    "RecommendInput": "webrec.nodes.schema",
    "Recommendation": "webrec.nodes.schema",
    "Page": "webrec.tools.page",
    "SearchProvider": "webrec.tools.page",
}

__all__ = [
    "AdaptedLlama",
    "BackboneError",
    "BusyError",
    "ConfigurationError",
    "InputError",
    "MPHead",
    "MPHeadConfig",
    "MissingExtraError",
    "Page",
    "QueryStrategy",
    "RecommendInput",
    "Recommendation",
    "RunCancelled",
    "RunContext",
    "SearchError",
    "SearchProvider",
    "TrainingError",
    "WebRecError",
    "__version__",
    "arecommend",
    "arecommend_many",
    "as_tool",
    "build_graph",
    "recommend",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'webrec' has no attribute {name!r}")
    try:
        value = getattr(import_module(_HOME[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in {"torch", "transformers", "safetensors"}:
            raise
        from webrec.errors import missing_extra

        raise missing_extra("model", error.name) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
