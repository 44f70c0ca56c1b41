"""What the documents say exists: every feature's command, function and test, and every command of the README."""

import ast
import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from survey.cli import app
from survey.config import Config
from survey.runs.crossmatch import FLAG_OF_KIND
from survey.schema import STAR_CLASSES
from survey.signals.vetting.checks import CHECKS
from survey.signals.vetting.verdict import KINDS
from tests.conftest import ROOT

DOCS = ROOT / "docs"
FEATURES = DOCS / "features.md"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

COUNTS = {"S0": 27, "S1": 22, "S2": 11, "S3": 11, "S4": 12}
"""Features of the five predecessor systems."""

IDS = [f"{system}.{number}" for system, count in COUNTS.items() for number in range(1, count + 1)]

FLAGS = {*(check.__name__ for check in CHECKS), *KINDS, *FLAG_OF_KIND.values()}

STATUSES = ("done", "part", "planned")

CODE = re.compile(r"`([^`\n]+)`")
TEST = re.compile(r"tests/[\w/]+\.py(?:::\w+)?")
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def table_rows(page: Path) -> Iterator[list[str]]:
    """The cells of every table row whose first cell is the id of a feature."""
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if line.startswith("| S") and re.fullmatch(r"S\d\.\d+", cells[0]):
            yield cells


@cache
def features() -> dict[str, tuple[str, str, str, str]]:
    """id -> (feature, status, where, tests)."""
    return {cells[0]: (cells[1], cells[2], cells[3], cells[4]) for cells in table_rows(FEATURES)}


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@cache
def make_targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def commands() -> dict[str, Any]:
    """Every command by its words after `survey`: "sweep", "cache du"."""

    def leaves(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from leaves(command, (*words, name))
            else:
                yield " ".join((*words, name)), command

    return dict(leaves(typer.main.get_command(app), ()))


def code_words(page: Path) -> list[str]:
    """What stands in backticks, blocks of code aside."""
    return CODE.findall(FENCE.sub("", page.read_text()))


def wrong_command(line: str) -> str | None:
    """What is wrong with a `survey ...` line: an unknown command or option; None where all is known."""
    words = shlex.split(line, comments=True)[1:]
    plain = [word for word in words if word not in ("|", ">", "&&")]
    if plain and plain[0] in ("--help", "-h"):
        return None
    name = next((" ".join(plain[:n]) for n in (2, 1) if " ".join(plain[:n]) in commands()), None)
    if name is None:
        groups = {command.split()[0] for command in commands()}
        return None if plain and plain[0] in groups and len(plain) == 1 else f"no command in: {line}"
    known = {option for parameter in commands()[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [word for word in plain if word.startswith("--") and word.split("=")[0] not in {*known, "--help"}]
    return f"`survey {name}` has no {', '.join(unknown)}" if unknown else None


def is_config_key(text: str) -> bool:
    section, _, key = text.partition(".")
    field = Config.model_fields.get(section)
    return field is not None and key in getattr(field.annotation, "model_fields", {})


def wrong_place(text: str) -> str | None:
    """What is wrong with the place of a feature: a command, function, configuration key, make target or file."""
    if text.startswith("survey "):
        return wrong_command(text)
    if text.startswith("make "):
        return None if text.split()[1] in make_targets() else f"no target: {text}"
    if text.startswith("--preset "):
        return None if (ROOT / "jobs" / "presets" / f"{text.split()[1]}.toml").is_file() else f"no preset: {text}"
    if text.startswith("python -m "):
        return None if importlib.util.find_spec(text.split()[2]) else f"no module: {text}"
    if text.startswith("survey."):
        return wrong_name(text)
    if "/" in text or text.isupper():
        return None if (ROOT / text).exists() else f"no file: {text}"
    return None if is_config_key(text.split("=")[0]) else f"neither command, name, file nor configuration key: {text}"


def wrong_name(text: str) -> str | None:
    module, _, name = text.partition("(")[0].rpartition(".")
    try:
        found = hasattr(importlib.import_module(module), name)
    except ImportError:
        found = False
    return None if found else f"no such name: {text}"


def wrong_test(reference: str) -> str | None:
    path, _, name = reference.partition("::")
    if not (ROOT / path).is_file():
        return f"no file: {reference}"
    return None if not name or name in names_in(ROOT / path) else f"no such test: {reference}"


def shell_lines(page: Path) -> Iterator[str]:
    """The commands in a page's blocks of shell; of blocks with output those after a $."""
    for language, block in FENCE.findall(page.read_text()):
        if language not in ("sh", "console"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            if language == "sh":
                yield line.strip()
            elif line.startswith("$ "):
                yield line[2:].strip()


def test_every_feature_has_its_row() -> None:
    assert list(features()) == IDS


@pytest.mark.parametrize("feature", IDS)
def test_a_feature_is_where_its_row_says(feature: str) -> None:
    _, status, where, tests = features()[feature]
    assert status in STATUSES
    if status == "planned":
        assert not TEST.search(tests), "a planned feature has no test yet"
        return
    places, references = CODE.findall(where), TEST.findall(tests)
    assert places, "a feature that is done is somewhere"
    assert references, "a feature that is done has a test"
    assert all("::" in reference for reference in references), "name the test, not only its file"
    assert not [why for place in places if (why := wrong_place(place))]
    assert not [why for reference in references if (why := wrong_test(reference))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    wrong = [why for reference in TEST.findall(text) if (why := wrong_test(reference))]
    wrong += [f"broken link: {link}" for link in LINK.findall(text) if is_broken(page, link)]
    for line in shell_lines(page):
        if line.startswith("survey "):
            wrong.append(wrong_command(line) or "")
        elif line.startswith("make "):
            wrong += [f"no target: {word}" for word in line.split("#")[0].split()[1:] if is_unknown_target(word)]
        elif line.startswith("python -m "):
            wrong.append(wrong_place(line) or "")
    assert not [why for why in wrong if why]


def is_broken(page: Path, link: str) -> bool:
    return "://" not in link and not (page.parent / link).exists()


def is_unknown_target(word: str) -> bool:
    return "=" not in word and word not in make_targets()


def test_every_command_is_documented_and_has_help() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert not [name for name in commands() if f"survey {name}" not in readme]
    assert not [name for name, command in commands().items() if not command.help]
    bare = [
        f"{name} {parameter.opts[0]}"
        for name, command in commands().items()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.help and parameter.opts[0] != "--help"
    ]
    assert not bare


def test_every_configuration_section_is_documented() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not [name for name in Config.model_fields if f"`{name}`" not in readme]


def test_the_python_of_the_readme_runs() -> None:
    """What asks the service is run against it in tests/serve/test_documented.py."""
    blocks = [block for language, block in FENCE.findall((ROOT / "README.md").read_text()) if language == "python"]
    blocks = [block for block in blocks if "import httpx" not in block]
    assert blocks
    for block in blocks:
        names: dict[str, Any] = {}
        exec(block, names)
        assert names["tces"]
        assert names["row"]["status"] == "ok"


def test_the_architecture_names_every_module() -> None:
    named = set(code_words(DOCS / "architecture.md"))
    assert not [name for name in named if name.endswith((".py", "/")) and not (ROOT / name).exists()]
    packages = [*(path.parent for path in (ROOT / "survey").glob("*/*/__init__.py")), ROOT / "serve" / "answers"]
    inside = [
        path
        for wing in ("survey", "serve")
        for path in (ROOT / wing).rglob("*.py")
        if path.name != "__init__.py" or path.parent.name == "survey"
    ]
    modules = [
        str(path.relative_to(ROOT)) for path in inside if path.parent not in packages and "cli" not in path.parts
    ]
    modules += [f"{package.relative_to(ROOT)}/" for package in packages]
    assert not sorted(set(modules) - named)


def test_the_tuning_guide_names_real_keys() -> None:
    keys = [word for word in code_words(DOCS / "tuning.md") if re.fullmatch(r"[a-z]+\.[a-z_]+", word)]
    assert len(keys) > 20
    assert not [key for key in keys if key != "run.json" and not is_config_key(key)]


def test_the_vetting_guide_names_every_flag_class_and_threshold() -> None:
    named = set(code_words(DOCS / "vetting.md"))
    assert not FLAGS - named
    assert not set(STAR_CLASSES) - named
    keys = [word for word in named if re.fullmatch(r"(gate|pixels|match|search)\.[a-z_]+", word)]
    assert len(keys) > 10
    assert not [key for key in keys if not is_config_key(key)]


def test_constraints_name_no_host_and_pin_what_the_project_needs() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "exact versions only: no path, host or +build"
    pinned = {line.partition("==")[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[\[<>=~! ]", requirement)[0].lower() for requirement in needed}
    assert not names - pinned


def test_checks_themselves_can_fail() -> None:
    """The checks above are code too: each must refuse what does not exist."""
    assert wrong_command("survey sweep --demo --out runs/x") is None
    assert wrong_command("survey swep --demo")
    assert wrong_command("survey sweep --dem")
    assert wrong_place("survey.config.load") is None
    assert wrong_place("survey.config.lode")
    assert wrong_place("survey.konfig.load")
    assert wrong_place("search.period_max=20") is None
    assert wrong_place("search.period_maximum")
    assert wrong_place("make demo") is None
    assert wrong_place("make coffee")
    assert wrong_place("--preset clasic")
    assert wrong_place("python -m jobs.sweeep")
    assert wrong_test("tests/test_docs.py::test_checks_themselves_can_fail") is None
    assert wrong_test("tests/test_docs.py::test_nothing")
    assert wrong_test("tests/test_doc.py")
