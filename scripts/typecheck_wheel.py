"""Run `mypy --strict` on the wheel, as a user of the package gets it, and check that no file is left out.

The steps: copy the tree, build the sdist there and the wheel from the sdist, install that wheel alone in
`.venv-types`, and run the mypy of this interpreter's environment on the package `webrec` of `.venv-types`.
Third-party packages are seen there through a `.pth` file that names this environment's site-packages; `.pth` files
inside such a folder have no effect, so an editable install of webrec stays invisible.

    python scripts/typecheck_wheel.py              build, install, check
    python scripts/typecheck_wheel.py --dist DIR   only build, and leave the sdist and the wheel in DIR
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv-types"
# What a copy of the tree leaves out where git cannot say it (in an unpacked sdist, for instance).
IGNORED = re.compile(r"\.git|\.venv.*|__pycache__|.*\.egg-info|build|dist|out|\..*_cache|\.hypothesis|\.langgraph_api")


class CheckError(Exception):
    """A step failed; the message says which one."""


def tree_files() -> list[Path]:
    """The files of the project, relative to its root: those git tracks, and new ones that it does not ignore."""
    if (ROOT / ".git").exists():
        listing = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT).stdout
        return sorted({Path(name) for name in listing.split("\0") if name and (ROOT / name).is_file()})
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not IGNORED.fullmatch(name)]
        found += [(Path(folder) / name).relative_to(ROOT) for name in names]
    return sorted(found)


def package_folders() -> dict[str, Path]:
    """The package that each folder of the tree is installed as: package name to folder, relative to the root."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {name: Path(folder) for name, folder in settings["tool"]["setuptools"]["package-dir"].items()}


def run(command: Sequence[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without the variables that could put the tree on a search path."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "MYPYPATH", "PYTHONHOME"}}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def require(done: subprocess.CompletedProcess[str], step: str) -> str:
    """The command's standard output; raises `CheckError` if it failed."""
    if done.returncode:
        raise CheckError(f"{step} failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def has_build_backend() -> bool:
    """Whether this environment holds the setuptools that pyproject.toml asks for."""
    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


def build(target: Path) -> Path:
    """Build the sdist, and the wheel from the sdist, into `target`; returns the wheel."""
    with tempfile.TemporaryDirectory(prefix="webrec-build-") as name:
        copy = Path(name) / "webrec"
        for file in tree_files():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, copy / file)
        options = ["--no-isolation"] if has_build_backend() else []
        command: list[str | Path] = [sys.executable, "-m", "build", *options, "--outdir", target.resolve(), copy]
        require(run(command, cwd=Path(name)), "the build")
    return next(target.glob("webrec-*.whl"))


def install(wheel: Path) -> Path:
    """Make `.venv-types` anew with the wheel alone in it; returns its interpreter."""
    venv.create(ENVIRONMENT, clear=True, with_pip=False, symlinks=os.name != "nt")
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    require(run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel], cwd=wheel.parent), "the install")
    site_packages = Path(
        require(run([python, "-c", "import site; print(site.getsitepackages()[0])"], ROOT), "python").strip()
    )
    (site_packages / "third_party.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def check(python: Path) -> tuple[bool, str]:
    """Run mypy on the installed package: whether it is content, and what it says."""
    command: list[str | Path] = [sys.executable, "-m", "mypy", "--strict", "--verbose", "--python-executable", python]
    command += ["--config-file", ROOT / "pyproject.toml", "--cache-dir", ROOT / ".mypy_cache" / "wheel"]
    with tempfile.TemporaryDirectory(prefix="webrec-mypy-") as neutral:
        done = run([*command, "--package", "webrec"], cwd=Path(neutral))
    log = [line for line in done.stderr.splitlines() if line.startswith("LOG:")]
    said = done.stdout + "".join(f"{line}\n" for line in done.stderr.splitlines() if not line.startswith("LOG:"))
    folders = package_folders()
    for package in sorted(folders, key=len, reverse=True):  # name the file to edit, not the installed one
        installed = rf"(?m)^\S*/{re.escape(ENVIRONMENT.name)}/\S*/site-packages/{package.replace('.', '/')}/"
        said = re.sub(installed, f"{folders[package].as_posix()}/", said)
    if done.returncode not in {0, 1}:
        raise CheckError(f"mypy could not run:\n{said}".rstrip())

    sources = [match[1] for line in log if (match := re.search(r"Found source: +BuildSource\(path='([^']+)'", line))]
    inside = [path for path in sources if Path(neutral, path).resolve().is_relative_to(ENVIRONMENT.resolve())]
    outside = sorted(set(sources) - set(inside))
    if outside or not inside:
        raise CheckError(f"mypy did not check the wheel but {', '.join(outside[:3]) or 'nothing'}")
    count = re.search(r"(?:no issues found in|checked) (\d+) source file", done.stdout)
    expected = [
        file for file in tree_files() if file.suffix == ".py" and any(f in file.parents for f in folders.values())
    ]
    if count is None or not int(count[1]) == len(inside) == len(expected):
        checked = count[1] if count else "?"
        raise CheckError(f"{said}mypy checked {checked} files of the wheel, but the tree has {len(expected)} .py files")
    return done.returncode == 0, said.rstrip()


def main() -> int:
    """Build, install and check; 0 if mypy has nothing to say."""
    parser = argparse.ArgumentParser(description="mypy --strict on the built wheel")
    parser.add_argument("--dist", type=Path, help="only build the sdist and the wheel, into this folder")
    only_build = parser.parse_args().dist
    try:
        if only_build:
            only_build.mkdir(parents=True, exist_ok=True)
            print(build(only_build))
            return 0
        with tempfile.TemporaryDirectory(prefix="webrec-wheel-") as name:
            python = install(build(Path(name)))
        content, said = check(python)
    except CheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(said)
    return 0 if content else 1


if __name__ == "__main__":
    raise SystemExit(main())
