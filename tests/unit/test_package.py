"""The package's front door: its version, and `run` fetched on first use."""

import re

import pytest

import lab
from lab.resources import resource_path


def test_the_version_is_a_release_number() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", lab.__version__)


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no attribute 'ruin'"):
        lab.ruin  # noqa: B018 - the access is the claim


def test_a_missing_file_of_the_lab_names_the_file() -> None:
    with pytest.raises(FileNotFoundError, match=r"'nothing\.toml'"):
        resource_path("nothing.toml")
