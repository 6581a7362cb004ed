"""The rules of the house that no linter knows: sizes, first lines, what must not be committed."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
MODULE_CODE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
FRONT_PAGE_LINES_MAX = 150

# Put together here so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")
MACHINE = re.compile(
    r"""
    (?<![\w.])/(?:root|home|Users|work|farm)/\w         # a folder of one machine
    | C:\\Users
    | https?://(?:[\w.-]*proxy[\w.-]*|10\.|192\.168\.)  # a host of one network
    | \b(?:index-url|extra-index-url|find-links)\b      # a registry of one company
    """,
    re.VERBOSE,
)
SELF = Path(__file__).resolve()


def files_of_the_repository() -> list[Path]:
    """Every file that is, or would be, committed, but packed data and pictures."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("no git here: nothing says which files belong to the repository")
    paths = [TOP / name for name in listed.stdout.split("\0") if name]
    return sorted(path for path in paths if path.is_file() and path.suffix not in {".gz", ".png"})


def modules() -> list[Path]:
    """Every Python file of the package."""
    found = sorted((TOP / "lab").rglob("*.py"))
    assert found, "no module found: the test would claim nothing"
    return found


def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    """`file:line: text` of every line in the repository that `pattern` finds."""
    return [
        f"{path.relative_to(TOP)}:{number}: {line.strip()[:120]}"
        for path in files_of_the_repository()
        if path != SELF
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function from its `def` on, its docstring left out."""
    docstring = function.body[0] if ast.get_docstring(function, clean=False) else None
    of_docstring = 0
    if docstring is not None and docstring.end_lineno is not None:
        of_docstring = docstring.end_lineno - docstring.lineno + 1
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1 - of_docstring


def test_no_line_is_left_unfinished() -> None:
    assert lines_that_match(UNFINISHED) == []


def test_no_path_or_host_of_one_machine_is_committed() -> None:
    assert lines_that_match(MACHINE) == []


@pytest.mark.parametrize(
    "line",
    [
        "open('/ro" + "ot/x')",
        "cd /wo" + "rk/main",
        "/ho" + "me/anna/lab",
        "pip install --ind" + "ex-url x",
        "http://10" + ".0.0.7:8080/simple",
    ],
)
def test_the_search_for_machine_paths_finds_them(line: str) -> None:
    assert MACHINE.search(line)


@pytest.mark.parametrize(
    "line", ["https://example.com/work/x", "lab/work.py", "http://localhost:80", "./home/x"]
)
def test_the_search_for_machine_paths_spares_other_paths(line: str) -> None:
    assert not MACHINE.search(line)


def lines_of_code(text: str) -> int:
    """Lines of a module that are neither blank nor part of a docstring."""
    documented = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    return sum(
        1
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and number not in documented
    )


def test_blank_lines_and_docstrings_are_no_code() -> None:
    text = 'one = 1\n"""What it is.\n\nMore.\n"""\n\n# why\ntwo = """text"""\n'

    assert lines_of_code(text) == 3


def test_no_module_is_longer_than_the_limit() -> None:
    lengths = {path: lines_of_code(path.read_text(encoding="utf-8")) for path in modules()}

    too_long = {
        str(path.relative_to(TOP)): length
        for path, length in lengths.items()
        if length > MODULE_CODE_LINES_MAX
    }

    assert too_long == {}


def test_no_function_is_longer_than_the_limit() -> None:
    too_long = {
        f"{path.relative_to(TOP)}:{node.name}": code_lines(node)
        for path in modules()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and code_lines(node) > FUNCTION_LINES_MAX
    }

    assert too_long == {}


# ---- entries are read by their names

ENTRY_BY_NUMBER = re.compile(r"\b(?:entry|row|fact|made|case)\[-?[0-9:]")
CHECKS = TOP / "lab" / "checks"


def numbers_in_brackets(module: ast.Module) -> Iterator[tuple[int, int]]:
    """Line and value of every number that picks an item, or begins or ends a slice."""
    for node in ast.walk(module):
        if isinstance(node, ast.Subscript):
            picked = node.slice
            for part in [picked.lower, picked.upper] if isinstance(picked, ast.Slice) else [picked]:
                text = "" if part is None else ast.unparse(part)
                if re.fullmatch(r"-?\d+", text):
                    yield node.lineno, int(text)


def test_numbers_in_brackets_are_found_wherever_they_stand() -> None:
    text = "a[7]\nb.c[-2]\nd[4:6]\ne[:3]\nf[g, 5]\nh['x']\ni[j]\nk()[0][8]\n"

    assert sorted(numbers_in_brackets(ast.parse(text))) == [
        (1, 7), (2, -2), (3, 4), (3, 6), (4, 3), (8, 0), (8, 8),
    ]  # fmt: skip


def test_no_check_picks_anything_by_a_number_that_needs_a_name() -> None:
    """The first, the second and the last of a few things need none; the seventh field has one."""
    by_number = [
        f"{path.relative_to(TOP)}:{line}: [{number}]"
        for path in modules()
        if path.is_relative_to(CHECKS)
        for line, number in numbers_in_brackets(tree(path))
        if number not in (0, 1, -1)
    ]

    assert by_number == []


def test_no_check_and_no_test_reads_an_entry_by_number() -> None:
    found = lines_that_match(ENTRY_BY_NUMBER)

    assert [line for line in found if line.startswith(("lab/checks/", "tests/"))] == []


@pytest.mark.parametrize("line", ["ent" + "ry[7]", "a = row[-1] + 1", "fa" + "ct[4:6]", "case[:3]"])
def test_the_search_for_entries_read_by_number_finds_them(line: str) -> None:
    assert ENTRY_BY_NUMBER.search(line)


def hot_folds(module: ast.Module) -> list[ast.FunctionDef]:
    """The methods that a `hot_folds` of the module names: the checker hands them plain tuples."""
    methods = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    named = {
        node.attr
        for method in methods
        if method.name == "hot_folds"
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
    }
    return [method for method in methods if method.name in named - {"hot_folds"}]


def test_a_fold_that_is_handed_a_plain_tuple_unpacks_it_and_reads_no_field_of_it() -> None:
    folds = {
        f"{path.relative_to(TOP)}: {fold.name}": fold
        for path in modules()
        if path.is_relative_to(CHECKS)
        for fold in hot_folds(tree(path))
    }
    assert len(folds) > 10
    for name, fold in folds.items():
        first = fold.body[1 if ast.get_docstring(fold) else 0]
        assert isinstance(first, ast.Assign), name
        assert ast.unparse(first).endswith(" = entry"), name
        read = [
            ast.unparse(node)
            for node in ast.walk(fold)
            if isinstance(node, ast.Attribute | ast.Subscript)
            and ast.unparse(node.value) == "entry"
        ]
        assert read == [], name


# ---- waived checks

WAIVER = re.compile(r"\bnoqa\b|\btype:\s*ignore\b", re.IGNORECASE)
WAIVER_WITH_REASON = re.compile(
    r"# (?:ruff: )?noqa: [A-Z]+[0-9]+(?:, [A-Z]+[0-9]+)* - [\w`].*"
    r"|# type: ignore\[[a-z-]+(?:, [a-z-]+)*\]  # [\w`].*"
)


def unreasoned(source: str) -> list[int]:
    """Lines on which a check is waived without its code or without a reason."""
    waived = [line for line in source.splitlines() if WAIVER.search(line)]
    # Nearly every file has none, or good ones: only the others are worth a look at their tokens.
    if all(WAIVER_WITH_REASON.search(line) for line in waived):
        return []
    return [
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
        and WAIVER.search(token.string)
        and not WAIVER_WITH_REASON.fullmatch(token.string)
    ]


def test_every_waived_check_is_named_and_has_a_reason() -> None:
    silent = [
        f"{path.relative_to(TOP)}:{line}"
        for folder in ("lab", "tests")
        for path in sorted((TOP / folder).rglob("*.py"))
        for line in unreasoned(path.read_text(encoding="utf-8"))
    ]

    assert silent == []


@pytest.mark.parametrize(
    "comment",
    [
        "noqa",
        "noqa: E501",
        "noqa: E501 too long",
        "noqa: E501 - ",
        "type: ignore",
        "type: ignore[misc]",
        "type: ignore[misc] # one space",
        "type: ignore[misc] - a dash",
    ],
)
def test_a_waived_check_without_a_reason_is_found(comment: str) -> None:
    assert unreasoned(f"one = 1\ntwo = 2  # {comment}\n") == [2]


@pytest.mark.parametrize(
    "line",
    [
        "two = 2  # noqa: E501, F401 - see above",
        "two = 2  # type: ignore[misc]  # see above",
        "two = '# noqa'",
        "two = 2  # why",
    ],
)
def test_a_waived_check_with_a_reason_is_spared(line: str) -> None:
    assert unreasoned(f"one = 1\n{line}\n") == []


def test_every_module_says_its_duty_in_its_first_line() -> None:
    silent = [
        str(path.relative_to(TOP))
        for path in modules()
        if not (ast.get_docstring(tree(path)) or "").split("\n", maxsplit=1)[0].endswith((".", ":"))
    ]

    assert silent == []


def test_every_method_of_a_port_states_what_it_guarantees() -> None:
    silent = [
        f"{path.relative_to(TOP)}: {port.name}.{method.name}"
        for path in sorted((TOP / "lab" / "ports").rglob("*.py"))
        for port in ast.walk(tree(path))
        if isinstance(port, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Protocol" for base in port.bases)
        for method in port.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
        and not method.name.startswith("_")
        and not ast.get_docstring(method)
    ]

    assert silent == []


def test_every_folder_of_the_package_is_a_package() -> None:
    bare = [
        str(folder.relative_to(TOP))
        for folder in sorted({path.parent for path in modules()})
        if not (folder / "__init__.py").is_file()
    ]

    assert bare == []


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_a_front_page_stays_short(page: str) -> None:
    lines = (TOP / page).read_text(encoding="utf-8").splitlines()

    assert len(lines) <= FRONT_PAGE_LINES_MAX


def test_the_map_names_every_package() -> None:
    page = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")
    packages = sorted(path.parent.name for path in (TOP / "lab").glob("*/__init__.py"))
    assert packages

    missing = [name for name in packages if f"`{name}/`" not in page]

    assert missing == []


def test_the_map_names_no_package_that_does_not_exist() -> None:
    page = (TOP / "docs" / "architecture.md").read_text(encoding="utf-8")
    code_map = page.split("## Code map", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    named = re.findall(r"^\| `(\w+)/` \|", code_map, flags=re.MULTILINE)
    assert named

    imagined = [name for name in named if not (TOP / "lab" / name / "__init__.py").is_file()]

    assert imagined == []


def test_every_decision_has_the_number_of_its_file() -> None:
    pages = sorted((TOP / "docs" / "adr").glob("*.md"))
    titles = {page.name: page.read_text("utf-8").partition("\n")[0] for page in pages}
    assert pages
    wrong = [name for name, title in titles.items() if title.split()[1] != f"{int(name[:4])}."]
    assert wrong == []


def test_every_decision_has_the_four_parts() -> None:
    decisions = sorted((TOP / "docs" / "adr").glob("[0-9]*.md"))
    assert decisions

    incomplete = [
        f"{path.name}: {part}"
        for path in decisions
        for part in ("## Status", "## Context", "## Decision", "## Consequences")
        if part not in path.read_text(encoding="utf-8")
    ]

    assert incomplete == []
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))


# ---- one name, one class


def public_classes() -> dict[str, list[str]]:
    """The files in which a public class of each name stands."""
    found: dict[str, list[str]] = {}
    for path in modules():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(TOP)))
    return found


def test_a_name_of_a_class_has_one_meaning() -> None:
    assert {name: places for name, places in public_classes().items() if len(places) > 1} == {}
