"""What nodes say of what did not go as asked: each for itself, so that a node that runs once more takes back what it said before."""

from __future__ import annotations

from collections.abc import Sequence

from webrec.nodes.run import Update
from webrec.nodes.state import State


def warn(state: State, node: str, texts: Sequence[str]) -> Update:
    """The update by which `node` says `texts`, in place of what it said in an earlier round; others' stay."""
    warned = state.get("warned") or {}
    others = list(state.get("warnings") or [])
    for text in warned.get(node, []):
        if text in others:
            others.remove(text)  # once: another node may have said the same
    return {"warnings": [*others, *texts], "warned": {**warned, node: list(texts)}}
