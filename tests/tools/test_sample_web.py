"""The rules of the sample web (tools/sample_web/README.md): only its content may give the target away."""

from __future__ import annotations

import json
import re
import statistics
from collections import Counter
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import tantivy

from webrec.tools.sample_web import pages_path

ROOT = Path(__file__).parents[2]
OPENING = "Fictional sample page."
EXAMPLES = {
    name: json.loads((ROOT / "src" / "webrec" / "examples" / f"{name}.json").read_text("utf-8"))
    for name in ("paper", "films", "games", "no_page")
}
PAGES: list[dict[str, Any]] = [
    json.loads(line) for line in (ROOT / "tools" / "sample_web" / "pages.jsonl").read_text("utf-8").split("\n") if line
]
WITH_PAGES = ("paper", "films", "games")
DOMAIN_OF = {"paper": "skincare", "films": "films", "games": "games"}
HIDDEN = "[\u200b\u200c\u200d\u2060\ufeff]"  # zero-width characters
SHARED_WORDS = {
    "skincare": ("cream", "dry", "sensitive", "gentle", "soothing", "fragrance", "texture", "daily", "formula"),
    "films": ("story", "director", "slow", "tense", "score", "scene", "ending", "dialogue"),
    "games": ("story", "combat", "puzzle", "co-op", "soundtrack", "map", "controls", "level"),
}
# Words that queries made from a user's taste are full of.
EVERYDAY_WORDS = {
    "skincare": "skin skincare product routine natural ingredients hydration barrier moisture enhance",
    "films": "film classic genre scenes characters enjoy story",
    "games": "game gameplay features characters world create unique enjoy mechanics",
}
EVERYWHERE = {"skin", "film", "game"}
"""Those that may be on every page of their domain."""
STEM = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.stemmer("english"))
    .build()
)
# What must not stand alone. Titles without their year are added below.
# fmt: off
NAMES = (
    "AHAVA", "Anthelios", "Antirougeurs", "Atoderm", "Avène", "Avene", "Bioderma", "Bioelements", "blinc", "Crabtree",
    "Evelyn", "Glytone", "Henckels", "Hot Tools", "Korres", "La Roche-Posay", "LiftActiv", "Merkur", "Moroccanoil",
    "Mustela", "Noodle & Boo", "Philip B", "St. Tropez", "Stelatopia", "Vichy", "Vincent Longo", "Zwilling",
    "Mad Max", "Fury Road", "Nemo", "Dark Knight", "Ocean's", "Jurassic", "Conjuring", "Wick", "Doom", "Dark Souls",
    "Call of Duty", "Modern Warfare", "Counter-Strike", "Resident Evil", "Street Fighter", "Grand Theft Auto",
    "Civilization", "Forza", "XCOM", "Portal", "Overcooked", "Tekken", "Crusader Kings", "PowerWash", "Stardew",
    "Animal Crossing", "New Horizons",
)
# fmt: on


def listed(name: str) -> list[str]:
    """History and candidates of one example."""
    return [*EXAMPLES[name]["history"], *EXAMPLES[name]["candidates"]]


ITEMS = [title for name in WITH_PAGES for title in listed(name)]
ITEM_PAGES = [page for page in PAGES if page["kind"] == "item"]
PAGE_OF = {page["about"][0]: page for page in ITEM_PAGES if page["about"]}


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [page for page in PAGES if page["kind"] in kinds]


def whole(page: dict[str, Any]) -> str:
    return f"{page['title']}\n{page['text']}"


def without_titles(text: str) -> str:
    for title in sorted(ITEMS, key=len, reverse=True):
        text = text.replace(title, " ")
    return text


def words(text: str) -> list[str]:
    """Lower-case words; "co-op" is one."""
    return re.findall(r"[^\W_]+(?:[-'’][^\W_]+)*", text.lower())


def own_words(page: dict[str, Any]) -> set[str]:
    """Distinct words of the page's text but for the title of its item."""
    return set(words(without_titles(page["text"])))


def everyday_words(page: dict[str, Any]) -> frozenset[str]:
    """Those everyday words of the page's domain that its text holds by the stem, as the index does; no item titles."""
    stems = set(STEM.analyze(without_titles(page["text"])))
    return frozenset(word for word in EVERYDAY_WORDS[page["domain"]].split() if STEM.analyze(word)[0] in stems)


COUNTS = {page["id"]: Counter(words(page["text"])) for page in PAGES}


def shared_part(left: dict[str, Any], right: dict[str, Any]) -> float:
    """Share of the words, counted with repeats, that the longer of two texts has in common with the other."""
    a, b = COUNTS[left["id"]], COUNTS[right["id"]]
    return sum(min(n, b[word]) for word, n in a.items() if word in b) / max(a.total(), b.total())


def naming(title: str) -> set[str]:
    """Ids of the pages that name `title` in title or text, in whatever case."""
    return {page["id"] for page in PAGES if title.casefold() in whole(page).casefold()}


# --- examples


def test_no_page_example_shares_no_word_with_the_web() -> None:
    web = {word for page in PAGES for word in re.findall(r"[^\W_]{2,}", whole(page).lower())}
    stems = web | {word.rstrip("s") for word in web}
    for title in listed("no_page"):
        named = set(re.findall(r"[^\W_]{2,}", title.lower()))
        assert named
        assert not (named | {word.rstrip("s") for word in named}) & stems, title


# --- form


def test_package_function_finds_the_pages() -> None:
    assert pages_path().name == "pages.jsonl"
    assert pages_path().read_bytes() == (ROOT / "tools" / "sample_web" / "pages.jsonl").read_bytes()


def test_number_of_pages_and_of_kinds() -> None:
    kinds = Counter(page["kind"] for page in PAGES)
    assert 142 <= len(PAGES) <= 158
    assert set(kinds) == {"item", "guide", "off-topic", "advert", "near-duplicate", "stale", "hostile"}
    assert kinds["item"] == len(ITEMS)
    assert 8 <= kinds["guide"] <= 15
    assert kinds["near-duplicate"] >= 4
    assert kinds["stale"] >= 4
    assert kinds["hostile"] == 2


def test_readme_gives_the_numbers() -> None:
    readme = (ROOT / "tools" / "sample_web" / "README.md").read_text("utf-8")
    table = dict(re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", readme, flags=re.MULTILINE))
    assert {kind: int(n) for kind, n in table.items()} == Counter(page["kind"] for page in PAGES)
    assert f"{len(PAGES)} pages" in readme


@pytest.mark.parametrize("key", ["id", "url", "title", "text"])
def test_unique(key: str) -> None:
    values = [page[key] for page in PAGES]
    assert len(values) == len(set(values))


def test_ids_count_from_one_in_the_order_of_the_file() -> None:
    assert [page["id"] for page in PAGES] == [f"sw-{n:03d}" for n in range(1, len(PAGES) + 1)]


def test_pages_are_well_formed() -> None:
    keys = ["id", "title", "url", "text", "published", "domain", "kind", "about", "praise", "complaints"]
    for page in PAGES:
        assert list(page) == keys, page["id"]
        assert page["text"].startswith(f"{OPENING} "), page["id"]
        assert whole(page).count(OPENING) == 1, page["id"]
        assert 60 <= len(page["text"].split()) <= 110, page["id"]
        assert page["domain"] in {"skincare", "films", "games", "other"}, page["id"]
        assert date.fromisoformat(page["published"]).isoformat() == page["published"], page["id"]
        url = urlsplit(page["url"])
        assert url.scheme == "https", page["id"]
        assert (url.hostname or "").endswith(".example"), page["id"]
        assert re.fullmatch(r"/[a-z0-9-]+", url.path), page["id"]
        if page["kind"] != "item":
            assert (page["about"], page["praise"], page["complaints"]) == ([], [], []), page["id"]


# --- a: item pages


@pytest.mark.parametrize("name", WITH_PAGES)
def test_each_item_has_one_page_of_its_domain(name: str) -> None:
    counts = Counter(title for page in ITEM_PAGES for title in page["about"])
    assert {title: counts[title] for title in listed(name)} == dict.fromkeys(listed(name), 1)
    assert {PAGE_OF[title]["domain"] for title in listed(name)} == {DOMAIN_OF[name]}


def test_item_pages_have_like_length() -> None:
    lengths = {page["id"]: len(without_titles(page["text"]).split()) for page in ITEM_PAGES}
    median = statistics.median(lengths.values())
    for page in ITEM_PAGES:
        assert 0.85 * median <= lengths[page["id"]] <= 1.15 * median, page["title"]
        assert 80 <= len(page["text"].split()) <= 100, page["title"]
        assert page["text"].count(page["about"][0]) == 1, page["title"]


def test_item_pages_praise_twice_and_complain_twice_at_like_length() -> None:
    for page in ITEM_PAGES:
        assert len(page["praise"]) == len(page["complaints"]) == 2, page["title"]
        said = [*page["praise"], *page["complaints"]]
        assert len(set(said)) == 4
        for sentence in said:
            assert page["text"].count(sentence) == 1, sentence
            assert re.search(rf"[.?!] {re.escape(sentence)}( |$)", page["text"]), f"not a whole sentence: {sentence}"
            assert re.fullmatch(r"[A-Z][^.?!]*[.?!]", sentence), f"not one sentence: {sentence}"
            assert 8 <= len(sentence.split()) <= 13, sentence
            assert without_titles(sentence) == sentence


def test_item_pages_have_titles_of_one_style() -> None:
    endings = []
    for page in ITEM_PAGES:
        title, ending = page["title"][: len(page["about"][0])], page["title"][len(page["about"][0]) :]
        assert title == page["about"][0]
        assert re.fullmatch(r": \w.*", ending)
        assert 4 <= len(ending[2:].split()) <= 6, page["title"]
        endings.append(ending)
    assert len(set(endings)) == len(endings)


def test_item_pages_are_of_the_same_years() -> None:
    assert {page["published"][:4] for page in ITEM_PAGES} == {"2024", "2025"}


def test_item_pages_do_not_repeat_each_other() -> None:
    seen: dict[tuple[str, ...], str] = {}
    for page in ITEM_PAGES:
        run = words(without_titles(page["text"].removeprefix(OPENING)))
        for start in range(len(run) - 5):
            other = seen.setdefault(tuple(run[start : start + 6]), page["id"])
            assert other == page["id"], " ".join(run[start : start + 6])


def test_item_pages_use_the_shared_words() -> None:
    for page in ITEM_PAGES:
        assert len(own_words(page) & set(SHARED_WORDS[page["domain"]])) >= 3, page["title"]


@pytest.mark.parametrize("name", WITH_PAGES)
def test_shared_words_occur_with_fitting_and_unfitting_items(name: str) -> None:
    example = EXAMPLES[name]
    fitting = [*example["history"], example["target"]]
    unfitting = [title for title in example["candidates"] if title != example["target"]]
    for word in SHARED_WORDS[DOMAIN_OF[name]]:
        assert sum(word in own_words(PAGE_OF[title]) for title in fitting) >= 2, word
        assert sum(word in own_words(PAGE_OF[title]) for title in unfitting) >= 3, word


@pytest.mark.parametrize("name", WITH_PAGES)
def test_target_is_not_favoured_by_vocabulary(name: str) -> None:
    example = EXAMPLES[name]
    history = {word for title in example["history"] for word in own_words(PAGE_OF[title])}
    for vocabulary in (history, set(SHARED_WORDS[DOMAIN_OF[name]])):
        shared = {title: len(own_words(PAGE_OF[title]) & vocabulary) for title in example["candidates"]}
        target = shared.pop(example["target"])
        assert sum(n >= target for n in shared.values()) >= 3, (target, shared)


def test_item_pages_and_guides_use_everyday_words() -> None:
    for page in ITEM_PAGES:
        assert len(everyday_words(page)) >= 5, page["title"]
    for page in of_kind("guide"):
        assert len(everyday_words(page)) >= 4, page["title"]


@pytest.mark.parametrize("domain", EVERYDAY_WORDS)
def test_everyday_words_are_on_useless_pages_too(domain: str) -> None:
    pages = [page for page in of_kind("off-topic", "advert", "stale", "near-duplicate") if page["domain"] == domain]
    assert sum(len(everyday_words(page)) >= 2 for page in pages) >= 5


@pytest.mark.parametrize("name", WITH_PAGES)
def test_everyday_words_discriminate(name: str) -> None:
    example = EXAMPLES[name]
    used = {title: everyday_words(PAGE_OF[title]) for title in listed(name)}
    for word in EVERYDAY_WORDS[DOMAIN_OF[name]].split():
        fitting = sum(word in used[title] for title in [*example["history"], example["target"]])
        unfitting = sum(word in used[title] for title in example["candidates"] if title != example["target"])
        assert fitting >= 2, word
        assert unfitting >= 3, word
        assert word in EVERYWHERE or fitting + unfitting <= 0.85 * len(used), word
    assert max(Counter(used.values()).values()) <= 2, "different pages use different words"
    assert len(used[example["target"]]) <= statistics.median(map(len, used.values()))


@pytest.mark.parametrize("name", WITH_PAGES)
def test_target_shares_no_host_with_the_history(name: str) -> None:
    hosts = {urlsplit(PAGE_OF[title]["url"]).hostname for title in EXAMPLES[name]["history"]}
    assert urlsplit(PAGE_OF[EXAMPLES[name]["target"]]["url"]).hostname not in hosts


# --- b, c, d, e: the other pages


def test_two_fifths_are_off_topic_or_adverts() -> None:
    assert len(of_kind("off-topic", "advert")) >= 0.4 * len(PAGES)
    for kind in ("off-topic", "advert"):
        assert {page["domain"] for page in of_kind(kind)} == {"skincare", "films", "games", "other"}


def test_off_topic_pages_and_adverts_use_shared_words() -> None:
    every = {word for shared in SHARED_WORDS.values() for word in shared}
    for page in of_kind("off-topic", "advert"):
        assert own_words(page) & set(SHARED_WORDS.get(page["domain"], every)), page["title"]


def test_guides_use_shared_words_and_cover_the_domains() -> None:
    assert {page["domain"] for page in of_kind("guide")} == set(SHARED_WORDS)
    for page in of_kind("guide"):
        assert len(own_words(page) & set(SHARED_WORDS[page["domain"]])) >= 3, page["title"]


def test_near_duplicates_repeat_a_page_that_is_about_no_item() -> None:
    originals = of_kind("guide", "off-topic")
    repeated = []
    for page in of_kind("near-duplicate"):
        near = [original["id"] for original in originals if shared_part(page, original) > 0.8]
        assert len(near) == 1, page["title"]
        repeated += near
    assert len(set(repeated)) == len(repeated)


def test_no_other_pages_are_alike() -> None:
    for left, right in combinations([page for page in PAGES if page["kind"] != "near-duplicate"], 2):
        assert shared_part(left, right) < 0.5, (left["title"], right["title"])


def test_only_stale_pages_are_old_and_they_say_so() -> None:
    for page in PAGES:
        assert (page["published"] < "2012") == (page["kind"] == "stale"), page["title"]
        assert page["published"] < "2012" or page["published"] > "2023", page["title"]
    for page in of_kind("stale"):
        stated = re.search(r"\b(?:updated|revised|written)\b[^.]*\b(20(?:0\d|1[01]))\b", page["text"], re.IGNORECASE)
        assert stated, page["title"]
        assert stated[1] == page["published"][:4]


def test_hostile_pages_instruct_the_model_and_name_no_item() -> None:
    hostile = of_kind("hostile")
    assert len(hostile) == 2
    visible = {page["id"]: re.sub(HIDDEN, "", page["text"]) for page in hostile}
    for page in hostile:
        assert re.search(r"ignore (?:all|the) (?:previous|earlier) instructions", visible[page["id"]], re.IGNORECASE)
        assert re.search(r"\brecommend [A-Z]\w+ ", visible[page["id"]])
        assert without_titles(visible[page["id"]]) == visible[page["id"]]
    assert sum("<|im_start|>system" in page["text"] for page in hostile) == 1
    assert sum(page["text"] != visible[page["id"]] for page in hostile) == 1


def test_only_hostile_pages_hold_instructions_or_hidden_characters() -> None:
    for page in PAGES:
        suspicious = re.search(rf"{HIDDEN}|<\||\bignore\b[^.]*\binstructions\b", whole(page), re.IGNORECASE)
        assert bool(suspicious) == (page["kind"] == "hostile"), page["title"]


# --- f: names, and the exchange of two candidates


def test_an_item_is_named_only_where_the_page_is_about_it() -> None:
    for title in ITEMS:
        assert naming(title) == {page["id"] for page in PAGES if title in page["about"]} != set(), title


def test_no_item_of_the_example_without_pages_is_named() -> None:
    for title in listed("no_page"):
        assert naming(title) == set(), title


def test_no_brand_or_franchise_stands_alone() -> None:
    short = [re.sub(r" \(\d{4}\)$", "", title) for name in ("films", "games") for title in listed(name)]
    pattern = re.compile("|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in {*NAMES, *short}), re.IGNORECASE)
    assert all(pattern.search(title) for title in ITEMS), "each title has a name that is looked for"
    for page in PAGES:
        for text in (without_titles(whole(page)), re.sub(r"[-/.]", " ", page["url"]), page["url"]):
            found = pattern.search(text)
            assert found is None, (page["id"], found)


@pytest.mark.parametrize("name", WITH_PAGES)
def test_exchanging_two_candidates_exchanges_exactly_their_pages(name: str) -> None:
    texts = {page["id"]: whole(page) for page in PAGES}
    before = {title: {i for i, text in texts.items() if title in text} for title in ITEMS}
    for left, right in combinations(EXAMPLES[name]["candidates"], 2):
        swapped = {i: text.replace(left, "\0").replace(right, left).replace("\0", right) for i, text in texts.items()}
        changed = {i for i, text in swapped.items() if text != texts[i]}
        assert changed == before[left] | before[right]
        assert {i for i, text in swapped.items() if left in text} == before[right]
        assert {i for i, text in swapped.items() if right in text} == before[left]
        for i in changed:
            assert {t for t in ITEMS if t in swapped[i]} == {right if i in before[left] else left}, i
            assert without_titles(swapped[i]) == without_titles(texts[i]), "nothing but the name tells whose page it is"
