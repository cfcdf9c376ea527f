"""How items that a crowd does not know are measured: hidden ones are in nothing that it is made of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from webrec.eval.data.build import frozen_examples
from webrec.eval.data.config import DataConfig
from webrec.eval.data.dataset import Item, RankingExample
from webrec.eval.data.source import find_source
from webrec.eval.new_items import is_hidden, new_items_table, ranked, write_without
from webrec.tools.crowd.prior import CrowdPrior
from webrec.tools.crowd.saved import SavedCrowd

from ..crowds import embedded, with_maps  # noqa: TID252
from ..worlds import chained, dataset, write_dataset  # noqa: TID252


def test_hidden_items_and_what_is_tested_are_left_out(tmp_path: Path) -> None:
    write_dataset(tmp_path / "data", dataset(chained(users=60, length=6)))
    frozen = frozen_examples(
        DataConfig(path=tmp_path / "data", min_interactions=0, draws=1, samplings=("uniform",)), tmp_path / "frozen"
    )
    (tmp_path / "shown").mkdir()
    write_without(frozen, tmp_path / "shown")
    shown = find_source(tmp_path / "shown").load("shown")
    assert shown.items
    assert not [item_id for item_id in shown.items if is_hidden(item_id)]
    assert {item_id for item_id in frozen.items if is_hidden(item_id)} == set(frozen.items) - set(shown.items)
    training = frozen.training().sequences
    for user, taken in shown.users.items():
        assert [one.item_id for one in taken] == [i for i in training[user] if not is_hidden(i)]


def test_both_ways_of_ranking_new_items() -> None:
    crowd = with_maps()
    assert isinstance(crowd, SavedCrowd)
    items = {f"i{n}": Item(f"i{n}", title) for n, title in enumerate(["Soap", "Brush", "Towel", "Unheard of"])}
    hidden = next(f"h{n}" for n in range(99) if is_hidden(f"h{n}"))
    items[hidden] = Item(hidden, "New here")
    example = RankingExample("u#0", "u", 0, ("i0",), ("i1", "i2", hidden), hidden)
    (one,) = ranked(CrowdPrior(crowd), items, [example], embedded)
    odds = CrowdPrior(crowd).of(["Soap"], ["Brush", "Towel", "New here"], embed=embedded).log_odds
    place = sum(o >= odds[2] for o in odds)  # type: ignore[operator]
    assert one.new
    assert one.read == pytest.approx(1 / np.log2(1 + place))
    assert one.unknown == pytest.approx(1 / np.log2(1 + 2))  # at the mean of two


def test_the_table(tmp_path: Path) -> None:
    row = {
        "data": "a_b",
        "sampling": "uniform",
        "targets": "new",
        "users": 1234,
        "unknown": [0.1, 0.05, 0.15],
        "read": [0.4, 0.35, 0.45],
        "difference": [0.3, 0.25, 0.35],
    }
    told = new_items_table(json.loads(json.dumps({"rows": [row]})))
    assert (
        "| a\\_b, uniform | new | 1,234 | 0.100 \\[0.050, 0.150] | 0.400 \\[0.350, 0.450] | +0.300 \\[+0.250, +0.350] |"
        in told
    )
