"""The output folder of a run: held by one process, refused to another run, described by run.json."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from webrec.errors import ConfigurationError
from webrec.eval.machine import gpus, processor
from webrec.eval.whole_text import write_whole_text

RUN_FILE = "run.json"
LOCK_FILE = ".lock"
CHANGED = "+changes"
"""After the commit, where files differ from it."""
_CODE = (":/", ":(top,exclude)eval/results")
"""A measurement that has just been written changes no other one."""
_VERSIONED = ("webrec", "numpy", "torch", "transformers", "peft", "ray", "replay-rec")


class RunFolder:
    """The folder of one run. Use it as a context: nobody else writes to it meanwhile.

    `description` becomes run.json; its `fingerprint` is what makes the run what it is: with anything else in it the numbers
    would be others. `kind`: what sort of run, for messages.
    """

    def __init__(self, folder: Path, description: dict[str, Any], kind: str) -> None:
        self.folder = folder
        self._new = {**description, "starts": []}
        self._kind = kind
        self._lock = FileLock(folder / LOCK_FILE)

    def __enter__(self) -> Self:
        """Take the folder.

        Raises `ConfigurationError` if it holds something else, belongs to a run of other settings or data, or is in use.
        """
        folder = self.folder
        try:
            known = (folder / RUN_FILE).exists()
            if not known and folder.is_dir() and (other := _foreign(folder)):
                raise ConfigurationError(f"output: {folder} holds {other!r} and no {RUN_FILE}; give a new folder")
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigurationError(
                f"output: another process is writing to {folder}; wait for it, or give another folder"
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"output: {folder} cannot be written ({error.strerror}); give another folder"
            ) from None
        try:
            if known:
                self._check()
            else:
                self._write(self._new)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Let others have it."""
        self._lock.release()

    def started(self, event: dict[str, Any]) -> None:
        """Note that the run starts, or goes on, with what `event` says of the machine."""
        said = {name: value for name, value in event.items() if name not in {"event", "pid", "rank"}}
        description = self._read()
        description["starts"].append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                **said,
                "versions": _versions(),
                "commit": source_commit(),
                "platform": f"{platform.system()} {platform.machine()}",
                "machine": {"processor": processor(), "cpus": os.cpu_count(), "gpus": gpus()},
            }
        )
        self._write(description)

    def computes(self, name: str, number_format: str) -> None:
        """Note in which format the backbone of `name` computes since the last start: `auto` is another one on another machine."""
        description = self._read()
        formats = description["starts"][-1].setdefault("formats", {})
        if number_format not in (known := formats.setdefault(name, [])):
            known.append(number_format)
            self._write(description)

    def starts(self) -> list[dict[str, Any]]:
        """What each start noted, the first one first."""
        return list(self._read()["starts"])

    def took_over(self, other: Path, starts: list[dict[str, Any]]) -> None:
        """Note that rows or trainings come from the run in `other`, and how that one was started; nothing if it was not."""
        if not starts:
            return
        description = self._read()
        taken = [one for one in description.get("taken", []) if one["from"] != other.name]
        self._write({**description, "taken": [*taken, {"from": other.name, "starts": starts}]})

    def _check(self) -> None:
        described = self._read()
        found, own = described["fingerprint"], self._new["fingerprint"]
        if (name := next((name for name in own if found.get(name) != own[name]), None)) is not None:
            if _foreign(self.folder, RUN_FILE) is None:  # refused before anything came of it: nothing is lost
                self._write(self._new)
                return
            read, reads = (told.get("config", {}).get("data") for told in (described, self._new))
            why = (
                _difference("data", read, reads)  # rather than the digest that came of it
                if name == "examples" and read != reads
                else _difference(name, found.get(name), own[name])
            )
            raise ConfigurationError(
                f"output: {self.folder} is of another run ({why}); give another folder, or remove that one"
            )
        told: dict[str, Any] = {name: self._new[name] for name in ("config", "written") if name in self._new}
        if any(
            described.get(name) != value for name, value in told.items()
        ):  # threads, comparisons: what changes no row
            self._write({**described, **told})

    def _read(self) -> dict[str, Any]:
        path = self.folder / RUN_FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found["fingerprint"], dict) and isinstance(found["starts"], list):
                return dict(found)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        raise ConfigurationError(f"output: {path} is not of {self._kind}; give another folder")

    def _write(self, description: dict[str, Any]) -> None:
        write_whole_text(self.folder / RUN_FILE, json.dumps(description, indent=1) + "\n")


def source_commit() -> str | None:
    """The git commit that this code is checked out from, with `CHANGED` if files differ from it, results apart; None elsewhere."""
    here = Path(__file__).resolve()
    if shutil.which("git") is None or _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None
    commit = _git(here.parent, "rev-parse", "HEAD")
    changed = _git(here.parent, "status", "--porcelain", "--untracked-files=no", "--", *_CODE)
    return f"{commit}{CHANGED}" if commit and changed else commit


def _git(folder: Path, *arguments: str) -> str | None:
    done = subprocess.run(  # noqa: S603 (fixed arguments)
        ["git", "-C", str(folder), *arguments],  # noqa: S607
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _foreign(folder: Path, *known: str) -> str | None:
    """The name of something in `folder` that a run did not leave there when it was killed at its very start, nor is `known`."""
    ours = {LOCK_FILE, f"{RUN_FILE}.new", *known}
    return next((p.name for p in sorted(folder.iterdir()) if p.name not in ours), None)


def _difference(name: str, found: Any, own: Any) -> str:
    """Names the setting inside a table that differs."""
    if isinstance(found, dict) and isinstance(own, dict):
        for inner in sorted(found.keys() | own.keys()):
            if found.get(inner) != own.get(inner):
                return _difference(f"{name}.{inner}", found.get(inner), own.get(inner))
    if isinstance(found, list) and isinstance(own, list) and len(found) == len(own):
        place = next(place for place, (one, other) in enumerate(zip(found, own, strict=True)) if one != other)
        if isinstance(found[place], dict) and isinstance(own[place], dict):
            return _difference(f"{name}[{place}]", found[place], own[place])
    shown = [value.get("kind", "set") if isinstance(value, dict) else value for value in (found, own)]
    return f"{name} is {shown[0]!r} there and {shown[1]!r} now"
