"""A file, a module or a page that a docstring or a page of documentation points to is there.

Not here: what the generated pages say (`cli/test_reference.py`), and the files that a run makes.
"""

import ast
import csv
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Final

import pytest

TOP: Final = Path(__file__).resolve().parents[2]

PAGES: Final = ("README.md", "CONTRIBUTING.md", "tests/README.md", "tests/kit/README.md")

QUOTED: Final = re.compile(r"`([^`\n]+)`")
FILE: Final = re.compile(r"[\w./-]*\w\.(?:py|sql|lua|toml|md|yml)|[\w.-]+(?:/[\w.-]+)*/")
MODULE: Final = re.compile(r"lab(?:\.\w+)+")
BESIDE: Final = re.compile(r"\(([^()]*)\)")
WORD: Final = re.compile(r"`([a-z]\w*)`")
LINK: Final = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
DECISION: Final = re.compile(r"\bADR (\d+)")


@cache
def fields() -> frozenset[str]:
    """The fields of spans and log lines, some of which are called as a module could be."""
    rows = csv.reader((TOP / "elk" / "fields.csv").read_text(encoding="utf-8").splitlines()[1:])
    return frozenset(name for name, *_ in rows)


def is_module(name: str) -> bool:
    """Whether `lab.a.b` or something in it, such as `lab.a.b.Class.method`, exists."""
    if name in fields():
        return True
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


def is_file(name: str, folder: Path) -> bool:
    """Whether it is there, as seen from `folder`, from the one around it, or from the top."""
    places = [folder, folder.parent, TOP, TOP / "lab"]
    package, _, rest = name.partition("/")
    if rest and (spec := find_spec(package)) is not None:
        places += [Path(place).parent for place in spec.submodule_search_locations or ()]
    return any((place / name).exists() for place in places)


def is_below(name: str) -> bool:
    """Whether something of the package has this name or ends in it, as a map may call it."""
    return any(
        path.is_dir() is name.endswith("/")
        for house in ("lab", "elk")
        for path in (TOP / house).rglob(name.rstrip("/"))
    )


def is_decision(number: str) -> bool:
    """Whether there is a decision of this number."""
    return any((TOP / "docs" / "adr").glob(f"{int(number):04}-*.md"))


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Every docstring, of attributes too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
            if isinstance(text, str):
                yield text


def named_in(tree: ast.Module) -> set[str]:
    """Every name and every word that is written in a module."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Name():
                found.add(node.id)
            case ast.Attribute():
                found.add(node.attr)
            case ast.arg():
                found.add(node.arg)
            case ast.alias():
                found.add((node.asname or node.name).rpartition(".")[2])
            case ast.Constant(value=str(text)):
                found.add(text)
            case _:
                pass
    return found


def lost_in_text(text: str, is_there: Callable[[str], bool]) -> Iterator[str]:
    """What a text points to and is not there; `is_there` knows the files."""
    for name in QUOTED.findall(text):
        if MODULE.fullmatch(name):
            if not is_module(name):
                yield name
        elif FILE.fullmatch(name) and not is_there(name):
            yield name
    for number in DECISION.findall(text):
        if not is_decision(number):
            yield f"ADR {number}"


def lost_in_module(source: str, folder: Path) -> Iterator[str]:
    """What the docstrings of a module point to and is not there.

    A word in parentheses in the module's own docstring is a neighbour, a pattern, or a name that
    the module uses.
    """
    tree = ast.parse(source)
    for text in docstrings(tree):
        yield from lost_in_text(text, lambda name: is_file(name, folder))
    known = named_in(tree)
    for beside in BESIDE.findall(ast.get_docstring(tree) or ""):
        for word in WORD.findall(beside):
            places = (folder / f"{word}.py", folder / word, TOP / "lab" / "patterns" / f"{word}.py")
            if word not in known and not any(place.exists() for place in places):
                yield word


def lost_in_page(text: str, folder: Path) -> Iterator[str]:
    """What a page points to and is not there."""
    yield from lost_in_text(text, lambda name: is_file(name, folder) or is_below(name))
    for link in LINK.findall(text):
        if not (folder / link).exists():
            yield link


@pytest.mark.slow
def test_docstrings_point_to_what_is_there() -> None:
    lost = [
        f"{path.relative_to(TOP)}: {name}"
        for path in sorted((TOP / "lab").rglob("*.py"))
        for name in lost_in_module(path.read_text(encoding="utf-8"), path.parent)
    ]

    assert lost == []


def test_pages_point_to_what_is_there() -> None:
    pages = [TOP / page for page in PAGES] + sorted((TOP / "docs").rglob("*.md"))
    lost = [
        f"{page.relative_to(TOP)}: {name}"
        for page in pages
        for name in lost_in_page(page.read_text(encoding="utf-8"), page.parent)
    ]

    assert lost == []


@pytest.mark.parametrize(
    ("docstring", "lost"),
    [
        ("See `nowhere.py` and `runner.py`.", ["nowhere.py"]),
        ("See `lab.runner` and `lab.runners`.", ["lab.runners"]),
        ("See `lab.runner.drive`, `lab.runner.halt`.", ["lab.runner.halt"]),
        ("See `bus/kafka/` and `bus/rabbit/`.", ["bus/rabbit/"]),
        ("See `aiokafka/client.py` and `aiokafka/clients.py`.", ["aiokafka/clients.py"]),
        ("Not here: the cat (`cat`), the dog (`dog`), the runner (`runner`).", ["cat"]),
        ("Why: ADR 1 and ADR 999.", ["ADR 999"]),
    ],
)
def test_a_pointer_to_what_is_not_there_is_found(docstring: str, lost: list[str]) -> None:
    assert list(lost_in_module(f'"""{docstring}"""\n\ndog = 1\n', TOP / "lab")) == lost


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("See `loop/`, `kafka/consumer.py` and `rabbit/`.", ["rabbit/"]),
        ("See `consumer.py`, `lab/consumer.py`.", ["lab/consumer.py"]),
        ("See [1](0001-a-loop-of-our-own-in-virtual-time.md#status), [2](0002.md).", ["0002.md"]),
        ("See [a site](https://example.com/a).", []),
    ],
)
def test_a_page_that_points_to_what_is_not_there_is_found(text: str, lost: list[str]) -> None:
    assert list(lost_in_page(text, TOP / "docs" / "adr")) == lost
