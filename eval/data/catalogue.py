"""Public data sets that `webrec data get` fetches from their makers' servers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from webrec.errors import ConfigurationError

_AMAZON_2014 = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles/"
_AMAZON = "https://mcauleylab.ucsd.edu/public_datasets/data/"
_MOVIELENS = "https://files.grouplens.org/datasets/movielens/"


@dataclass(frozen=True)
class RemoteFile:
    """`md5`: as the maker publishes it; None where there is none: then the first download's SHA-256 is noted and compared with later."""

    address: str
    md5: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.address.rpartition("/")[2]


@dataclass(frozen=True)
class Release:
    """One data set: its files, what its makers allow, what to cite."""

    name: str
    what: str
    files: tuple[RemoteFile, ...]
    terms: str
    cite: str


_RESEARCH = "research use; the makers ask to be cited"
_CITE_2014 = "He, McAuley 2016, Ups and Downs (WWW); McAuley et al. 2015, Image-based Recommendations (SIGIR)"
_CITE_2018 = (
    "Ni, Li, McAuley 2019, Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects (EMNLP)"
)
_CITE_2023 = "Hou et al. 2024, Bridging Language and Items for Retrieval and Recommendation (arXiv 2403.03952)"
_CITE_MOVIELENS = "Harper, Konstan 2015, The MovieLens Datasets: History and Context (ACM TiiS 5, 4)"
_CATEGORIES = {
    "beauty": ("Beauty", "All_Beauty", "All_Beauty"),
    "toys": ("Toys_and_Games",) * 3,
    "games": ("Video_Games",) * 3,
    "movies": ("Movies_and_TV",) * 3,
    "office": ("Office_Products",) * 3,
}
"""Name of the category in 2014, 2018 and 2023."""


def _amazon() -> Iterator[Release]:
    for name, (of_2014, of_2018, of_2023) in _CATEGORIES.items():
        yield Release(
            f"amazon-2014-{name}",
            f"Amazon reviews to 2014, {of_2014}, 5-core, and metadata",
            (
                RemoteFile(f"{_AMAZON_2014}reviews_{of_2014}_5.json.gz"),
                RemoteFile(f"{_AMAZON_2014}meta_{of_2014}.json.gz"),
            ),
            _RESEARCH,
            _CITE_2014,
        )
        yield Release(
            f"amazon-2018-{name}",
            f"Amazon reviews to 2018, {of_2018}, 5-core, and metadata",
            (
                RemoteFile(f"{_AMAZON}amazon_v2/categoryFilesSmall/{of_2018}_5.json.gz"),
                RemoteFile(f"{_AMAZON}amazon_v2/metaFiles2/meta_{of_2018}.json.gz"),
            ),
            _RESEARCH,
            _CITE_2018,
        )
        yield Release(
            f"amazon-2023-{name}",
            f"Amazon reviews to 2023, {of_2023}, and metadata",
            (
                RemoteFile(f"{_AMAZON}amazon_2023/raw/review_categories/{of_2023}.jsonl.gz"),
                RemoteFile(f"{_AMAZON}amazon_2023/raw/meta_categories/meta_{of_2023}.jsonl.gz"),
            ),
            _RESEARCH,
            _CITE_2023,
        )


def _movielens() -> Iterator[Release]:
    for name, md5, what in (
        ("ml-latest-small", None, "100,000 ratings; changes with time"),
        ("ml-1m", "c4d9eecfca2ab87c1945afe126590906", "1 million ratings to 2003"),
        ("ml-25m", "6b51fb2759a8657d3bfcbfc42b592ada", "25 million ratings to 2019"),
    ):
        yield Release(
            name,
            f"MovieLens, {what}",
            (RemoteFile(f"{_MOVIELENS}{name}.zip", md5),),
            "research use, no commercial use without permission, no redistribution but under the same terms",
            _CITE_MOVIELENS,
        )


CATALOGUE: Mapping[str, Release] = {release.name: release for release in (*_movielens(), *_amazon())}


def find_release(name: str) -> Release:
    """The release of that name. Raises `ConfigurationError` where there is none."""
    if name not in CATALOGUE:
        raise ConfigurationError(f"NAME: {name!r} is unknown; webrec data list shows the names")
    return CATALOGUE[name]
