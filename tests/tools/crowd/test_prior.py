"""Saved crowds: what is written comes back, what is damaged is refused, unknown titles stay unknown."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from webrec.errors import ConfigurationError
from webrec.tools.crowd.choice import ChoiceModel
from webrec.tools.crowd.features import CrowdFeatures
from webrec.tools.crowd.prior import CrowdPrior, get_prior
from webrec.tools.crowd.records import ItemFacts, Records
from webrec.tools.crowd.saved import ITEMS, MODEL, SEQUENCES, SavedCrowd, load_crowd, save_crowd

TITLES = ["Soap", "Brush", "Towel", "Cream", "Brush"]
FACTS = {f"x{n}": ItemFacts(title, "Dove" if n else None, ("bath",), 2000 + n) for n, title in enumerate(TITLES)}
RECORDS = Records(FACTS, [["x0", "x1"], ["x0", "x1", "x2"], ["x3", "x0", "x1"]], [[1, 2], [3, 4, 5], [6, 7, 8]])
CROWD = SavedCrowd(RECORDS, ChoiceModel(("next_1", "popularity"), np.array([2.0, 0.5]), np.array([1.0, 0.5])))


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    save_crowd(tmp_path / "crowd", CROWD)
    found = load_crowd(tmp_path / "crowd")
    assert list(found.records.facts.values()) == list(FACTS.values())
    numbers = [[found.records.numbers[i] for i in s] for s in found.records.sequences]
    assert numbers == [[0, 1], [0, 1, 2], [3, 0, 1]]
    assert found.records.times == RECORDS.times
    assert CrowdPrior(found).of(["Soap"], TITLES[:4]) == CrowdPrior(CROWD).of(["Soap"], TITLES[:4])
    untimed = SavedCrowd(Records(FACTS, RECORDS.sequences), CROWD.model)
    save_crowd(tmp_path / "untimed", untimed)
    assert not load_crowd(tmp_path / "untimed").records.times


def test_log_odds_are_the_models_against_the_mean_of_the_known() -> None:
    prior = CrowdPrior(CROWD).of([" SOAP ", "Unheard of"], ["Brush", "Nothing known", "Towel"])
    assert prior.known_history == 1
    features = CrowdFeatures(RECORDS)
    places = [features.names.index(name) for name in CROWD.model.names]
    scores = CROWD.model.score(features.of(["x0"], ["x1", "x2"])[:, places])
    assert prior.log_odds[1] is None
    assert [prior.log_odds[0], prior.log_odds[2]] == pytest.approx((scores - scores.mean()).tolist())
    assert (prior.log_odds[0] or 0) > 0
    assert CrowdPrior(CROWD).of(["Soap"], ["Nothing", "known"]).log_odds == [None, None]


def test_of_two_items_with_one_title_the_more_taken_counts() -> None:
    prior = CrowdPrior(CROWD)
    assert prior.of(["Soap"], ["Brush", "Towel"]).log_odds[0] == pytest.approx(
        float(np.ptp(CROWD.model.score(_table(["x1", "x2"]))) / 2)
    )


def _table(items: list[str]) -> np.ndarray:
    features = CrowdFeatures(RECORDS)
    return features.of(["x0"], items)[:, [features.names.index(name) for name in CROWD.model.names]]


def test_it_is_counted_once_and_again_when_it_changes(tmp_path: Path) -> None:
    folder = tmp_path / "crowd"
    save_crowd(folder, CROWD)
    first = get_prior(str(folder))
    assert get_prior(str(folder)) is first
    (folder / MODEL).touch()
    assert get_prior(str(folder)) is not first


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (MODEL, None, "holds no crowd.json; give a folder made by webrec crowd"),
        (MODEL, "{}", "is damaged; make it again"),
        (MODEL, '{"format": 99}', "is of format 99 and this is 2"),
        (MODEL, '{"format": 2, "features": {"a": {"weight": NaN, "scale": 1}}}', "is damaged"),
        (MODEL, '{"format": 2, "features": {"mood": {"weight": 1, "scale": 1}}}', "its records have no mood"),
        (ITEMS, '{"title": 3, "brand": null, "categories": [], "year": null}\n', "is damaged"),
        (SEQUENCES, '{"items": [77], "times": null}\n', "is damaged"),
        (SEQUENCES, '{"items": [1, 2], "times": [1]}\n', "is damaged"),
        (SEQUENCES, "no JSON\n", "is damaged"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    save_crowd(tmp_path, CROWD)
    if content is None:
        (tmp_path / name).unlink()
    elif name == MODEL:
        (tmp_path / name).write_text(content)
    else:
        with gzip.open(tmp_path / name, "wt") as file:
            file.write(content)
    with pytest.raises(ConfigurationError, match=message):
        CrowdPrior(load_crowd(tmp_path))


def test_no_user_id_is_written(tmp_path: Path) -> None:
    save_crowd(tmp_path, CROWD)
    with gzip.open(tmp_path / SEQUENCES, "rt") as file:
        told = file.read().splitlines()
    assert [set(json.loads(line)) for line in told] == [{"items", "times"}] * 3
