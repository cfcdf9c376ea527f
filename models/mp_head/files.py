"""Heads on disk and on a hub: adapter_config.json and adapter_model.safetensors, with a format version."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from webrec.errors import ConfigurationError
from webrec.models.mp_head.config import HeadShape, MPHeadConfig

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PEFT_FOLDER = "peft"
ASKED_FILE = "prompt.json"
"""How the adapter was asked while it was trained: settings of prompt and score by name."""
ADAPTER_TYPE = "webrec_mp_head"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class HeadFiles:
    """What is saved: settings, sizes of the backbone, tensors by name, the version that wrote it, and whether a PEFT folder belongs to it."""

    config: MPHeadConfig
    shape: HeadShape
    tensors: dict[str, torch.Tensor]
    webrec_version: str
    with_peft: bool = False


def write_head(folder: Path, files: HeadFiles) -> None:
    """Write both files."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(files.tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    described = {
        "adapter_type": ADAPTER_TYPE,
        "format_version": FORMAT_VERSION,
        "webrec_version": files.webrec_version,
        "with_peft": files.with_peft,
        "head": files.config.model_dump(mode="json"),
        "shape": asdict(files.shape),
    }
    (folder / CONFIG_FILE).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def read_config(folder: Path) -> dict[str, Any]:
    """What `adapter_config.json` says. Raises `ConfigurationError` where it is missing or no JSON object."""
    try:
        described = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    except OSError:
        raise ConfigurationError(
            f"adapter: {folder} has no {CONFIG_FILE}; give the folder of a saved adapter"
        ) from None
    except ValueError as error:
        raise ConfigurationError(f"adapter: {folder / CONFIG_FILE} is not JSON ({error}); save it again") from None
    if not isinstance(described, dict):
        raise ConfigurationError(f"adapter: {folder / CONFIG_FILE} is not a JSON object; save it again")
    return described


def read_asked(folder: Path) -> dict[str, Any]:
    """What `prompt.json` says; empty where there is none. Raises `ConfigurationError` where it is no JSON object."""
    path = folder / ASKED_FILE
    try:
        asked = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"adapter: {path} is not JSON ({error}); save it again, or remove that file") from None
    if not isinstance(asked, dict):
        raise ConfigurationError(f"adapter: {path} is not a JSON object; save it again, or remove that file")
    return asked


def read_head(folder: Path) -> HeadFiles:
    """Read and check both files. Raises `ConfigurationError`, naming what is wrong."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    described = read_config(folder)
    if described.get("adapter_type") != ADAPTER_TYPE:
        raise ConfigurationError(
            f"adapter: {folder} holds no message-passing head; give a folder that a head was saved to"
        )
    version = described.get("format_version")
    if version != FORMAT_VERSION:
        raise ConfigurationError(
            f"adapter: {folder} has format version {version}, and this WebRec reads {FORMAT_VERSION}; update WebRec"
        )
    try:
        config = MPHeadConfig.model_validate(described.get("head"))
        shape = HeadShape(**{name: int(described["shape"][name]) for name in ("hidden", "head_dim", "kv_heads")})
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ConfigurationError(f"adapter: {folder / CONFIG_FILE} is not valid ({reason}); save it again") from None
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(
            f"adapter: {folder / WEIGHTS_FILE} cannot be read ({error}); only safetensors are loaded, save it again"
        ) from None
    return HeadFiles(config, shape, tensors, str(described.get("webrec_version")))


def fetch_folder(name: str, revision: str | None) -> Path:
    """The local folder `name`, or a download of the hub repository `name`, adapter files only."""
    path = Path(name).expanduser()
    if path.is_dir():
        if revision is not None:
            raise ConfigurationError(f"adapter_revision: {name!r} is a folder, which has no revisions; leave it out")
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    files = [CONFIG_FILE, WEIGHTS_FILE]
    try:
        found = snapshot_download(
            name, revision=revision, allow_patterns=[*files, ASKED_FILE, *(f"{PEFT_FOLDER}/{file}" for file in files)]
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigurationError(
            f"adapter: {name!r} is neither a folder nor a reachable hub id; give the folder of a saved adapter"
        ) from error
    return Path(found)


def push_folder(save: Callable[[Path], None], repo_id: str, *, private: bool | None, token: str | None) -> str:
    """Upload what `save` writes to the hub repository `repo_id`, made if need be; returns the commit's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    made = api.create_repo(repo_id, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder))
        commit = api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message="Save the adapter")
    return str(commit.commit_url)
