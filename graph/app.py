"""The graph that `langgraph dev` serves and `webrec.recommend` runs."""

from __future__ import annotations

from webrec.graph.build import build_graph

graph = build_graph()
