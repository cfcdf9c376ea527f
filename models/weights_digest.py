"""What a loaded model is, by its content: settings, and every weight as it lies in memory."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import Any
from weakref import WeakKeyDictionary

_NOT_CONTENT = {"_name_or_path", "transformers_version"}
_digests: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
_lock = threading.Lock()


def model_digest(model: Any) -> str:
    """Hexadecimal SHA-256 of a torch module with a `config`: its settings, names, shapes, number formats and weights.

    Read once for each model (about 1.4 GB a second on CPUs): weights that are changed in place afterwards are not noticed.
    """
    with _lock:
        if model not in _digests:
            _digests[model] = _digest(model)
        return _digests[model]


def _digest(model: Any) -> str:
    import torch

    settings = {name: value for name, value in model.config.to_dict().items() if name not in _NOT_CONTENT}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
