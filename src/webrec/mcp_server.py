"""The recommender as an MCP server of its own, whose result is JSON of a published schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import WithJsonSchema

from webrec.api import arecommend
from webrec.early_checks import check_settings
from webrec.errors import WebRecError, missing_extra
from webrec.graph.build import Graph
from webrec.nodes.context import RunContext
from webrec.nodes.schema import RecommendInput
from webrec.tool_result import TOOL_DESCRIPTION, TOOL_NAME, ToolResult, safe_sentence, to_tool_result

if TYPE_CHECKING:
    from mcp.server.fastmcp import FastMCP

_SCHEMAS = RecommendInput.model_json_schema()["properties"]


def make_server(context: RunContext, *, graph: Graph | None = None) -> FastMCP[Any]:
    """A server with one tool; `context` holds for every call.

    Raises `MissingExtraError` without the extra `mcp`, and `ConfigurationError` where `webrec.as_tool` would.
    """
    try:
        from mcp.server.fastmcp import FastMCP
        from mcp.server.fastmcp.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError as error:
        raise missing_extra("mcp", "mcp") from error
    check_settings(context, graph)

    class Server(FastMCP[Any]):
        """Says of a wrong call what is wrong in a sentence; FastMCP would drop what it does not know, and dump the rest."""

        async def call_tool(self, name: str, arguments: dict[str, Any]) -> Any:
            if name == TOOL_NAME:
                if unknown := sorted(arguments.keys() - RecommendInput.model_fields.keys()):
                    raise ToolError(f"{unknown[0]}: it is no argument; give history and candidates alone")
                if lacking := next((field for field in RecommendInput.model_fields if field not in arguments), None):
                    raise ToolError(f"{lacking}: it is missing; give a list of titles")
            return await super().call_tool(name, arguments)

    server: FastMCP[Any] = Server("webrec", log_level="WARNING")

    async def recommend_items(
        history: Annotated[Any, WithJsonSchema(_SCHEMAS["history"])],
        candidates: Annotated[Any, WithJsonSchema(_SCHEMAS["candidates"])],
    ) -> ToolResult:
        try:
            return to_tool_result(await arecommend(history, candidates, context=context, graph=graph))
        except WebRecError as error:
            raise ToolError(safe_sentence(error)) from error

    server.add_tool(
        recommend_items,
        name=TOOL_NAME,
        description=TOOL_DESCRIPTION,
        annotations=ToolAnnotations(readOnlyHint=True, openWorldHint=True),
        structured_output=True,
    )
    return server
