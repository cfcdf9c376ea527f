"""A head pushed to a hub and pulled from it again, against a hub on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .fake_hub import SHA, fake_hub
from .make_saved import SAVED

PROGRAM = """
import sys
import torch
from webrec.errors import ConfigurationError
from webrec.models.mp_head.model import MPHead

head = MPHead.from_pretrained(sys.argv[1])
print(head.push_to_hub("reader/adapter", token="no-secret"))
pulled = MPHead.from_pretrained("reader/adapter", revision=sys.argv[2])
assert pulled.config == head.config
assert all(torch.equal(a, b) for a, b in zip(head.state_dict().values(), pulled.state_dict().values(), strict=True))
try:
    MPHead.from_pretrained("reader/other")
except ConfigurationError as error:
    print(error)
"""


@pytest.mark.slow
def test_pushed_and_pulled(tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads its address when it is imported."""
    with fake_hub() as (address, hub):
        hub.files["adapter_model.bin"] = b"a pickle"  # never fetched
        settings = {
            "HF_ENDPOINT": address,
            "HF_HOME": str(tmp_path),
            "NO_PROXY": "127.0.0.1",
            "HF_HUB_DISABLE_XET": "1",
        }
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(SAVED / "format_1_pairwise"), SHA],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    commit, refusal = done.stdout.splitlines()
    assert commit == f"{address}/reader/adapter/commit/{SHA}"
    assert "neither a folder nor a reachable hub id" in refusal
    saved = {path.name: path.read_bytes() for path in (SAVED / "format_1_pairwise").glob("adapter_*")}
    assert hub.files.keys() == saved.keys() | {"adapter_model.bin"}
    pushed, kept = (json.loads(files["adapter_config.json"]) for files in (hub.files, saved))
    assert pushed["head"].items() >= kept["head"].items()  # what the format has gained since is added at its default
    assert pushed["shape"] == kept["shape"]
    assert not [request for request in hub.asked if request.endswith(".bin")]
