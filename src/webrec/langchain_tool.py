"""The recommender as a LangChain tool for other people's agents."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import StructuredTool, ToolException
from pydantic import ValidationError

from webrec.api import arecommend, recommend
from webrec.early_checks import check_settings
from webrec.errors import InputError, WebRecError
from webrec.given import context_of
from webrec.graph.build import Graph
from webrec.nodes.context import RunContext
from webrec.nodes.schema import Recommendation, RecommendInput
from webrec.nodes.validation import first_error
from webrec.tool_result import TOOL_DESCRIPTION, TOOL_NAME, safe_sentence, to_tool_result


def as_tool(*, context: RunContext | None = None, graph: Graph | None = None, **settings: Any) -> StructuredTool:
    """A tool that ranks candidates; `settings` are the fields of `RunContext`, win over those of `context`, and hold for every call.

    The message to the model is JSON of `ToolResult`; the artifact is a dump of the whole `Recommendation`. A wrong call
    gives the model one sentence that says what to correct. Raises `ConfigurationError` for wrong settings, unknown providers and
    strategies, a missing key or extra, and a `graph` that pauses; what a `graph` of your own makes of its providers each call tells.
    """
    fixed = context_of(context, settings)
    check_settings(fixed, graph)

    def call(history: list[str], candidates: list[str]) -> tuple[str, dict[str, Any]]:
        try:
            return _answer(recommend(history, candidates, context=fixed, graph=graph))
        except WebRecError as error:
            raise ToolException(safe_sentence(error)) from error

    async def call_async(history: list[str], candidates: list[str]) -> tuple[str, dict[str, Any]]:
        try:
            return _answer(await arecommend(history, candidates, context=fixed, graph=graph))
        except WebRecError as error:
            raise ToolException(safe_sentence(error)) from error

    return StructuredTool.from_function(
        func=call,
        coroutine=call_async,
        name=TOOL_NAME,
        description=TOOL_DESCRIPTION,
        args_schema=RecommendInput,
        response_format="content_and_artifact",
        handle_tool_error=lambda error: f"The call failed. {error}",
        handle_validation_error=_explain,
    )


def _answer(result: Recommendation) -> tuple[str, dict[str, Any]]:
    return to_tool_result(result).model_dump_json(), result.model_dump(mode="json")


def _explain(error: Any) -> str:
    sentence = safe_sentence(InputError(first_error(error)) if isinstance(error, ValidationError) else error)
    return f"The call was not valid. {sentence}. Call again with history and candidates, both lists of titles."
