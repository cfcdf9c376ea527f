"""`webrec mcp`: serve the recommender to MCP clients over standard input and output."""

from __future__ import annotations

from typing import Any

import click

from webrec.cli.options import context_from, context_options


@click.command()
@context_options
def mcp(**options: Any) -> None:
    """Serve the recommender as an MCP tool (stdio), with these settings for every call."""
    from webrec.mcp_server import make_server

    make_server(context_from(options)).run("stdio")
