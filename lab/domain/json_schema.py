"""JSON Schemas made of our types, the same with every release of the library that makes them.

Not here: which types have one (`lab.report.result`, `lab.bench.report`, `lab.openapi`).
"""

from inspect import cleandoc


def with_clean_texts(schema: dict[str, object]) -> dict[str, object]:
    """The schema with docstrings as they are read: some releases keep their indentation."""
    cleaned = _cleaned(schema)
    assert isinstance(cleaned, dict)
    return cleaned


def _cleaned(value: object, name: str = "") -> object:
    if isinstance(value, dict):
        return {key: _cleaned(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cleaned(inner) for inner in value]
    return cleandoc(value) if name == "description" and isinstance(value, str) else value
