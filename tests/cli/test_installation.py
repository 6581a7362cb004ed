"""What a user gets: a wheel that carries the lab's data, an editable install follows the checkout.

Both are built from this checkout by the build backend itself, so no network is needed, and each is
imported by an interpreter that sees nothing else of ours.
"""

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]

ASK = """
import site, sys
site.addsitedir(sys.argv[1])
from lab.resources import resource_path
print(resource_path("scenarios.toml"))
"""


def build(target: str, folder: Path) -> Path:
    """Build this checkout and unpack it as an installer would: the folder it is installed in."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=TOP,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    installed = folder / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    return installed


def ask(installed: Path, script: str = ASK, arguments: Sequence[str] = ()) -> str:
    """What an interpreter without our environment prints when `installed` is its site-packages."""
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(installed), *arguments],
        cwd=installed,
        check=True,
        capture_output=True,
        text=True,
    )
    return answer.stdout.strip()


def test_an_installed_wheel_carries_the_scenarios(tmp_path: Path) -> None:
    installed = build("wheel", tmp_path)

    found = Path(ask(installed))

    assert found == installed / "lab" / "_data" / "scenarios.toml"
    assert found.read_bytes() == (TOP / "scenarios.toml").read_bytes()


def test_an_installed_wheel_carries_the_sample_of_real_orders_with_its_attribution(
    tmp_path: Path,
) -> None:
    installed = build("wheel", tmp_path)

    for name in ("orders-sample.ndjson.gz", "README.md"):
        packed = installed / "lab" / "data" / name
        assert packed.read_bytes() == (TOP / "lab" / "data" / name).read_bytes()


def test_a_wheel_holds_every_file_of_the_package_and_no_test(tmp_path: Path) -> None:
    installed = build("wheel", tmp_path)

    packed = {path.relative_to(installed) for path in (installed / "lab").rglob("*.py")}

    assert packed == {path.relative_to(TOP) for path in (TOP / "lab").rglob("*.py")}
    assert (installed / "lab" / "py.typed").is_file()
    assert not (installed / "tests").exists()


RESOURCES = (
    "docker-compose.yml",
    *("elk/fields.csv", "elk/filebeat.yml", "elk/kibana/lab.ndjson", "elk/setup"),
    *(str(file.relative_to(TOP)) for file in sorted((TOP / "elk" / "server").rglob("*.json"))),
    *("scripts/filebeat/main.go", "scripts/poms/kafka.xml", "scripts/poms/search.xml"),
    "scripts/servers",
)

ASK_SERVERS = """
import site, sys
site.addsitedir(sys.argv[1])
from lab.resources import is_checkout, resource_path, servers_command
print(is_checkout())
for name in sys.argv[2:]:
    print(resource_path(name))
print(servers_command("status"))
"""


def test_an_installed_wheel_carries_what_starts_the_servers(tmp_path: Path) -> None:
    installed = build("wheel", tmp_path)
    data = installed / "lab" / "_data"

    is_checkout, *found, command = ask(installed, ASK_SERVERS, RESOURCES).splitlines()

    assert is_checkout == "False"
    assert [Path(path) for path in found] == [data / name for name in RESOURCES]
    assert all((data / name).read_bytes() == (TOP / name).read_bytes() for name in RESOURCES)
    # What a message names exists here and runs, though it lies in no checkout.
    script = ["env", f"LAB_SERVERS_DIR={tmp_path / 'state'}", "bash", "-c", command]
    told = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    servers = ("postgres", "redis", "kafka", "search")
    assert told.splitlines() == [f"{server} down" for server in servers]


def test_an_editable_install_names_the_scripts_of_the_checkout(tmp_path: Path) -> None:
    installed = build("wheel:editable", tmp_path)

    is_checkout, *found, command = ask(installed, ASK_SERVERS, RESOURCES).splitlines()

    assert is_checkout == "True"
    assert [Path(path) for path in found] == [TOP / name for name in RESOURCES]
    assert command == f"{TOP / 'scripts' / 'servers'} status"


def test_an_editable_install_reads_the_scenarios_of_the_checkout(tmp_path: Path) -> None:
    installed = build("wheel:editable", tmp_path)

    assert Path(ask(installed)) == TOP / "scenarios.toml"


def test_a_damaged_installation_says_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    installed = build("wheel", tmp_path)
    (installed / "lab" / "_data" / "scenarios.toml").unlink()

    with pytest.raises(subprocess.CalledProcessError) as failed:
        ask(installed)

    assert "scenarios.toml" in failed.value.stderr
    assert "install pulse-lab again" in failed.value.stderr


def test_importing_the_package_builds_nothing(tmp_path: Path) -> None:
    installed = build("wheel", tmp_path)
    script = (
        "import site, sys; site.addsitedir(sys.argv[1]); import lab; "
        "print(lab.__version__, *sorted(name for name in sys.modules if name.startswith('lab.')))"
    )

    assert ask(installed, script) == "0.1.0"
