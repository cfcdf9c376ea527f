"""The recommender as an MCP server of its own, whose result is JSON of a published schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from webrec.api import arecommend
from webrec.errors import WebRecError, missing_extra
from webrec.graph.build import Graph
from webrec.nodes.context import RunContext
from webrec.nodes.schema import RecommendInput
from webrec.tool_result import TOOL_DESCRIPTION, TOOL_NAME, ToolResult, to_tool_result

if TYPE_CHECKING:
    from mcp.server.fastmcp import FastMCP

_FIELDS = RecommendInput.model_fields


def make_server(context: RunContext, *, graph: Graph | None = None) -> FastMCP[Any]:
    """A server with one tool; `context` holds for every call. Raises `MissingExtraError` without the extra `mcp`."""
    try:
        from mcp.server.fastmcp import FastMCP
        from mcp.server.fastmcp.exceptions import ToolError
        from mcp.types import ToolAnnotations
    except ImportError as error:
        raise missing_extra("mcp", "mcp") from error

    server: FastMCP[Any] = FastMCP("webrec", log_level="WARNING")

    async def recommend_items(
        history: Annotated[list[str], Field(description=_FIELDS["history"].description)],
        candidates: Annotated[list[str], Field(description=_FIELDS["candidates"].description)],
    ) -> ToolResult:
        try:
            return to_tool_result(await arecommend(history, candidates, graph=graph, **context.model_dump()))
        except WebRecError as error:
            raise ToolError(str(error)) from error

    server.add_tool(
        recommend_items,
        name=TOOL_NAME,
        description=TOOL_DESCRIPTION,
        annotations=ToolAnnotations(readOnlyHint=True, openWorldHint=True),
        structured_output=True,
    )
    return server
