"""Near-duplicates against a slow, exact reading of the definition."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webrec.tools.reading.duplicates import SAMPLE, SHINGLE, near_duplicates


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.casefold().split()
    return {tuple(words[i : i + SHINGLE]) for i in range(max(len(words) - SHINGLE, 0) + 1)} if words else set()


def reference(texts: list[str], threshold: float) -> list[int | None]:
    kept: list[int] = []
    answer: list[int | None] = []
    for place, text in enumerate(texts):
        own = shingles(text)
        shared = [(len(own & shingles(texts[k])), -k) for k in kept]
        most, index = max(shared, default=(0, 0))
        repeats = bool(most) and most >= threshold * len(own)
        answer.append(-index if repeats else None)
        if not repeats:
            kept.append(place)
    return answer


WORDS = [f"w{n}" for n in range(12)]


@given(
    st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), max_size=12),
    st.sampled_from([0.3, 0.5, 0.8, 1.0]),
)
def test_is_the_definition(texts: list[str], threshold: float) -> None:
    assert near_duplicates(texts, threshold) == reference(texts, threshold)


def prose(words: int, seed: int) -> list[str]:
    return random.Random(seed).choices([f"word{n}" for n in range(3000)], k=words)


def test_copies_parts_and_edits() -> None:
    text = prose(300, 0)
    edited = list(text)
    edited[100] = "other"
    rewritten = [w if n % 4 else "other" for n, w in enumerate(text)]
    texts = [text, text, text[50:200], edited, rewritten, [*text, *prose(200, 1)], prose(300, 2)]
    joined = [" ".join(words) for words in texts]
    assert near_duplicates(joined) == [None, 0, 0, 0, None, None, None]
    assert near_duplicates([joined[0].upper() + "!!", joined[0]]) == [None, 0]


def test_a_long_text_around_a_short_one_stays() -> None:
    long = " ".join(prose(100, 0))
    assert near_duplicates([long[:200], long]) == [None, None]
    assert near_duplicates([long, long[:200]]) == [None, 0]


def test_only_texts_that_stay_are_compared_with() -> None:
    text = prose(60, 0)
    chain = [" ".join([*text[n : n + 40]]) for n in (0, 5, 10, 15)]
    assert near_duplicates(chain) == [None, 0, None, 2]


def test_scripts_without_spaces() -> None:
    first = "保湿クリームは乾燥した肌にやさしい。無香料の石けんとシャンプー。東京のお茶はおいしいです。"
    assert near_duplicates([first, first.replace("お茶", "茶"), "新しい本を読む。冬の手袋と赤い靴。"]) == [
        None,
        0,
        None,
    ]
    thai = "ครีมบำรุงผิวสำหรับผิวแห้งอ่อนโยนและไม่มีน้ำหอม"
    assert near_duplicates([thai, thai[:-4], "หนังสือเล่มใหม่น่าอ่านมาก"]) == [None, 0, None]


def test_texts_without_words_repeat_nothing() -> None:
    assert near_duplicates(["", "", "!!", "!!"]) == [None] * 4
    assert near_duplicates([]) == []
    assert near_duplicates(["one word", "one word"]) == [None, 0]


@pytest.mark.parametrize(("share", "repeats"), [(0.65, False), (0.95, True)])
def test_long_texts_are_judged_by_a_sample(share: float, repeats: bool) -> None:
    text = prose(4000, 0)
    assert len(set(text)) > SAMPLE
    whole = int(len(text) * share)
    other = [*text[:whole], *prose(len(text) - whole, 1)]
    assert near_duplicates([" ".join(text), " ".join(other)]) == [None, 0 if repeats else None]


def test_every_process_gives_the_same() -> None:
    program = (
        "import random\nfrom webrec.tools.reading.duplicates import near_duplicates\n"
        "w = random.Random(0).choices([f'w{n}' for n in range(3000)], k=4000)\n"
        "texts = [' '.join([*w[:n], *random.Random(n).choices(w, k=4000 - n)]) for n in range(4000, 3000, -10)]\n"
        "print(near_duplicates(texts))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
