"""What is installed, which keys are set, what is cached: facts for a bug report, gathered without importing torch."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from webrec.cache_folder import MANIFEST, cache_root, damaged_files, is_complete
from webrec.tools import completions
from webrec.tools.providers import brave, tavily

PACKAGES = {
    "langgraph": "",
    "langchain-core": "",
    "tantivy": "",
    "torch": "model",
    "transformers": "model",
    "peft": "adapter",
    "gguf": "model",
    "faiss-cpu": "rerank",
    "mcp": "mcp",
    "ddgs": "duckduckgo",
    "trafilatura": "fetch",
    "protego": "fetch",
    "langgraph-checkpoint-sqlite": "sqlite",
    "langchain-community": "community",
    "langgraph-cli": "studio",
    "ray": "ray",
}
"""What is looked for, and the extra that brings it."""

KEYS = (tavily.KEY_VARIABLE, brave.KEY_VARIABLE, completions.KEY_VARIABLE)


def examine(verify: bool = False) -> dict[str, Any]:
    """The report as plain values. Of keys only whether they are set is told. `verify` hashes the files of every built folder.

    `complete` is None for folders that were not built as a whole: what they hold is looked at when it is used.
    """
    root = cache_root()
    return {
        "webrec": version("webrec"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "executable": sys.executable,
        "packages": {name: _version(name) for name in PACKAGES},
        "keys": {name: bool(os.environ.get(name, "").strip()) for name in KEYS},
        "cache": str(root),
        "cached": [_entry(folder, verify) for folder in _folders(root)],
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []


def _entry(folder: Path, verify: bool) -> dict[str, Any]:
    complete = is_complete(folder) if _is_built(folder) else None
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    entry: dict[str, Any] = {"name": folder.name, "bytes": size, "complete": complete}
    if verify and complete:
        entry["damaged"] = damaged_files(folder)
    return entry


def _is_built(folder: Path) -> bool:
    """Whether the folder is the work of `build_once`, whole or not: its list of files is in it, or the builders' lock beside it."""
    name = folder.name
    if name.startswith("."):  # where a builder that was killed worked
        name = name[1:].rpartition(".")[0]
    return (folder / MANIFEST).is_file() or folder.with_name(f"{name}.lock").is_file()
