"""What is installed: the packages, their dependency direction, the wheel and the sdist, the documented commands."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def _load_script() -> Any:
    spec = importlib.util.spec_from_file_location("typecheck_wheel", ROOT / "scripts" / "typecheck_wheel.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _load_script()
FILES: list[Path] = script.tree_files()
PYTHON_FILES = [file for file in FILES if file.suffix == ".py"]
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
FOLDERS: dict[str, Path] = script.package_folders()
ROOT_PACKAGES = {folder.name for folder in FOLDERS.values() if len(folder.parts) == 1}
DATA_SUFFIXES = {".json", ".jsonl", ".j2", ".css", ".js", ".md"}
NOT_INSTALLED = Path("eval/results")
"""Measurements that the documents are made from."""
NOT_PACKED = Path("adapters")
"""Weights under terms of their own: in no distribution of the package."""


def installed_path(file: Path) -> Path | None:
    """Where a file of the tree lies in site-packages; None for a file outside the package."""
    if NOT_INSTALLED in file.parents:
        return None
    for package, folder in FOLDERS.items():
        if folder in file.parents:
            return Path(*package.split(".")) / file.relative_to(folder)
    return None


def module_name(file: Path) -> str:
    """The name a Python file is imported by, or its path for one outside the package."""
    path = installed_path(file)
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__") if path else file.as_posix()


# They would put the tree on the path, or hand the options of an outer `make test-slow ARGS=...` to an inner make.
UNWANTED = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS"}


def run(command: list[str | Path], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run with a cleaned environment and no input."""
    environment = {k: v for k, v in os.environ.items() if k not in UNWANTED}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**environment, "COLUMNS": "200", **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# The tree


def test_packages_are_those_of_the_tree() -> None:
    found = {module_name(file) for file in PYTHON_FILES if file.name == "__init__.py" and installed_path(file)}
    assert sorted(SETTINGS["tool"]["setuptools"]["packages"]) == sorted(found)
    lost = [str(f) for f in PYTHON_FILES if installed_path(f) and f.parent / "__init__.py" not in FILES]
    assert not lost, "a folder of the package has no __init__.py"


def test_bare_names_are_banned_for_every_root_package() -> None:
    assert {"graph", "nodes", "models", "tools", "eval"} == ROOT_PACKAGES
    lint = SETTINGS["tool"]["ruff"]["lint"]
    assert set(lint["flake8-tidy-imports"]["banned-api"]) == ROOT_PACKAGES
    assert "TID" in lint["select"]


@dataclass(frozen=True)
class Import:
    """One imported name, in full, and where."""

    name: str
    file: Path
    line: int

    @property
    def layer(self) -> str:
        """`models` for webrec.models.chat, empty for the bare package and for other packages."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "webrec" and len(parts) > 1 else ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.name}"


def imports(file: Path) -> Iterator[Import]:
    """All imports of a file, at any depth, also import_module("a literal"). `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"), str(file))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module_name(file).split(".")
                keep = len(parts) - node.level + (file.name == "__init__.py")
                base = ".".join([*parts[:keep], *filter(None, [base])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and re.search(r"(^|\.)(import_module|__import__)$", ast.unparse(node.func)):
            names = [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        else:
            continue
        for name in names:
            yield Import(name, file, node.lineno)


def test_nobody_imports_a_bare_name() -> None:
    wrong = [str(i) for file in PYTHON_FILES for i in imports(file) if i.name.split(".")[0] in ROOT_PACKAGES]
    assert not wrong


LOWER_LAYERS = {
    "errors": set[str](),
    "cache_folder": {"errors"},
    "models": {"errors", "cache_folder"},
    "tools": {"errors", "cache_folder"},
    "nodes": {"errors", "cache_folder", "models", "tools"},
    "graph": {"errors", "cache_folder", "models", "tools", "nodes"},
}


def test_dependency_direction() -> None:
    wrong = []
    for file in PYTHON_FILES:
        if installed_path(file) is None:
            continue
        layer = Import(module_name(file), file, 0).layer
        for found in imports(file):
            if found.name.split(".")[0] != "webrec":
                continue
            if layer in LOWER_LAYERS:
                allowed = found.layer == layer or found.layer in LOWER_LAYERS[layer]
            else:
                allowed = found.layer != "eval" or layer in {"eval", "cli"}
            if not allowed:
                wrong.append(str(found))
    assert not wrong


def text_files() -> Iterator[tuple[Path, str]]:
    for file in FILES:
        data = (ROOT / file).read_bytes()
        if b"\0" not in data:
            yield file, data.decode("utf-8")


def test_no_registry_is_named() -> None:
    hosts = [("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org"), ("anaconda", "org")]
    hosts += [("registry", "npmjs", "org"), ("crates", "io"), ("proxy", "golang", "org")]
    pattern = re.compile("|".join(r"\.".join(host) for host in hosts), re.IGNORECASE)
    wrong = [f"{file}: {match[0]}" for file, text in text_files() if (match := pattern.search(text))]
    assert not wrong


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.)}/-])/(?:" + "|".join(("work", "root", "home")) + r")/[\w.-]+")
    wrong = [f"{file}: {match[0]}" for file, text in text_files() if (match := pattern.search(text))]
    assert not wrong


def test_python_files_are_short() -> None:
    lengths = {str(file): (ROOT / file).read_text("utf-8").count("\n") for file in PYTHON_FILES}
    assert not {file: length for file, length in lengths.items() if length >= 400}


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("target", ["help", "demo", "test", "test-slow", "lint", "bench", "clean"])
def test_make_target_parses(target: str) -> None:
    done = run(["make", "-n", target], ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


# The wheel and the sdist


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done = run([sys.executable, ROOT / "scripts" / "typecheck_wheel.py", "--dist", folder], ROOT)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def python(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds the wheel without extras."""
    folder = tmp_path_factory.mktemp("clean") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    interpreter = folder / "bin" / "python"
    command: list[str | Path] = [sys.executable, "-m", "pip", "--python", interpreter, "install", "--quiet"]
    done = run([*command, "-c", ROOT / "constraints.txt", next(dist.glob("*.whl"))], dist)
    assert done.returncode == 0, done.stderr
    return interpreter


@pytest.mark.slow
def test_wheel_holds_the_tree_and_nothing_else(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    paths = {path for file in FILES if (path := installed_path(file))}
    expected = {p.as_posix() for p in paths if p.suffix in {".py", *DATA_SUFFIXES} or p.name == "py.typed"}
    assert sorted(expected - found) == []
    assert sorted(found - {path.as_posix() for path in paths}) == []


@pytest.mark.slow
def test_sdist_holds_the_tree(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        found = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"langgraph.json", "Makefile", "constraints.txt", "LICENSE", "tests/packaging/test_wheel.py"} <= found
    assert sorted({file.as_posix() for file in FILES if NOT_PACKED not in file.parents} - found) == []
    assert not [name for name in found if name.startswith(f"{NOT_PACKED}/")]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["root", "elsewhere"])
def test_installed_copy_is_imported(python: Path, where: str, tmp_path: Path) -> None:
    code = "import json, sys, webrec, webrec.graph.app, webrec.tools.sample_web; print(json.dumps("
    code += "[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'webrec']))"
    done = run([python, "-c", code], ROOT if where == "root" else tmp_path)
    assert done.returncode == 0, done.stderr
    files = [Path(name) for name in json.loads(done.stdout)]
    assert len(files) > 10
    assert not [str(file) for file in files if not file.is_relative_to(python.parents[1])]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["root", "elsewhere"])
@pytest.mark.parametrize("command", [["--help"], ["--version"], ["doctor"], ["recommend", "--help"]])
def test_command_works_without_extras(python: Path, where: str, command: list[str | Path], tmp_path: Path) -> None:
    assert run([python, "-c", "import torch"], tmp_path).returncode, "the plain install is not to bring torch"
    done = run([python.parent / "webrec", *command], ROOT if where == "root" else tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr


@pytest.mark.slow
def test_recommend_without_the_model_extra_says_so(python: Path, tmp_path: Path) -> None:
    user = tmp_path / "user.json"
    user.write_text(json.dumps({"history": ["Alien", "Blade Runner"], "candidates": ["Solaris", "Grease"]}), "utf-8")
    done = run([python.parent / "webrec", "recommend", user], tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert "webrec[model]" in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["--help"], ["doctor"]])
def test_command_does_not_import_the_model_libraries(command: list[str | Path], tmp_path: Path) -> None:
    """Here they are installed, so that an import of them would show."""
    assert importlib.util.find_spec("torch")
    done = run([sys.executable, "-X", "importtime", BIN / "webrec", *command], tmp_path)
    assert done.returncode == 0, done.stderr
    modules = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "webrec" in modules
    assert not modules & {"torch", "transformers", "peft", "faiss"}


# The README

NOT_RUN = {
    r"\.\.\.|<\w[\w -]*>|YOUR[_-]|_API_KEY=": "holds a placeholder, for a key for instance",
    r"langgraph dev|make studio": "a server; tested elsewhere",
    r"make test(-slow)?\b": "these are the tests",
    r"pip install": "installs into the reader's environment",
    r"make clean": "takes away what the other commands need",
}
"""Commands of the README that are not run here, and why."""

SHORTER = {"make bench": "--rounds 1 --max-tokens 800"}
"""Arguments of those that else take very long."""


def readme_commands() -> list[str]:
    """The lines of the README's sh blocks that begin with `webrec` or `make`; a trailing backslash joins lines."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if re.match(r"(webrec|make) ", line)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree with this environment as its .venv; what one command leaves there, the next one finds."""
    copy = tmp_path_factory.mktemp("readme") / "webrec"
    for file in FILES:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, copy / file)
    (copy / ".venv").symlink_to(sys.prefix)
    return copy


@pytest.mark.slow
def test_readme_shows_commands() -> None:
    assert {command.split()[0] for command in readme_commands()} == {"make", "webrec"}


@pytest.mark.slow
@pytest.mark.parametrize("command", readme_commands())
def test_readme_command(command: str, reader: Path) -> None:
    for pattern, reason in NOT_RUN.items():
        if re.search(pattern, command):
            pytest.skip(reason)
    # The stamps are declared old: make must not install the copy into the environment that runs this test.
    stamps = " ".join(f"-o .venv/{name}" for name in (".ready", ".demo", ".dev"))
    line = re.sub(r"^make ", f"make {stamps} ", command)
    done = run(
        ["bash", "-c", line], reader, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}", ARGS=SHORTER.get(command, "")
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
