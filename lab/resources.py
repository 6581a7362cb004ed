"""Where the files stand that a lab needs beside its code: `scenarios.toml`.

In a checkout they stand at the top of the repository, where people look for them; in an installed
wheel the build has put them into the package. Deliberately not here: reading them, and files that
a user names on the command line.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_path(name: str) -> Path:
    """Return the path of the lab's own file `name`, for example ``"scenarios.toml"``.

    Args:
        name: the file's name as it stands at the top of the repository.

    Raises:
        FileNotFoundError: neither the package nor a checkout has it; the installation is damaged.
    """
    packaged = _PACKAGE / "_data" / name
    if packaged.is_file():
        return packaged
    # Beside an installed package lies site-packages: only a checkout has our pyproject.toml there.
    top = _PACKAGE.parent
    if (top / "pyproject.toml").is_file() and (top / name).is_file():
        return top / name
    raise FileNotFoundError(
        f"the lab's own file {name!r} is missing (looked in {packaged.parent} and {top}); "
        "install pulse-lab again"
    )
