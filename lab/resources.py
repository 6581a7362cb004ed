"""Where the files stand that a lab needs beside its code, such as `scenarios.toml`.

In a checkout they stand at the top of the repository, where people look for them; in an installed
wheel the build has put them into the package. Not here: reading them, and files that
a user names on the command line.
"""

import shlex
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource_path(name: str) -> Path:
    """Return the path of the lab's own file `name`, for example ``"scenarios.toml"``.

    Args:
        name: the file's path below the top of the repository.

    Raises:
        FileNotFoundError: neither the package nor a checkout has it; the installation is damaged.
    """
    packaged = _PACKAGE / "_data" / name
    if packaged.is_file():
        return packaged
    top = _PACKAGE.parent
    if is_checkout() and (top / name).is_file():
        return top / name
    raise FileNotFoundError(
        f"the lab's own file {name!r} is missing (looked in {packaged.parent} and {top}); "
        "install pulse-lab again"
    )


def is_checkout() -> bool:
    """Whether the package stands in a checkout, where the lab's own image can be built."""
    # Beside an installed package lies site-packages: only a checkout has our pyproject.toml there.
    return (_PACKAGE.parent / "pyproject.toml").is_file()


def how_to_start(server: str, variable: str) -> str:
    """What to do about a server that is not there, as the end of a sentence.

    Args:
        server: its name for `scripts/servers`.
        variable: the variable that names another one.
    """
    return f'start one with "lab up" or "{servers_command(f"up {server}")}", or set {variable}'


def servers_command(arguments: str = "up") -> str:
    """The command line of `scripts/servers` as it exists in this installation.

    Args:
        arguments: what follows its name, such as ``"up redis"``.
    """
    script = resource_path("scripts/servers")
    if not is_checkout():
        # An archive need not have kept that it can be executed.
        return f"bash {shlex.quote(str(script))} {arguments}"
    if script.parents[1] == Path.cwd():
        return f"scripts/servers {arguments}"
    return f"{shlex.quote(str(script))} {arguments}"
