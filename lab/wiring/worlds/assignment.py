"""The assignment of one operating-system process of the lab.

A supervisor writes it into a file for each life that it starts; the commands `lab serve`, `relay`,
`work` and `providers` make one out of their options. Not here: doing it (`real_process.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from lab.bus.kafka.security import security_of
from lab.domain.errors import EnvironmentNotReady
from lab.faults.processes.crash_sites import Role
from lab.faults.table.spec import parse_faults
from lab.settings import Settings, environment, settings_for
from lab.wiring.backends.real import Where

PROVIDERS: Final = "providers"


class Assignment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process life.

    Attributes:
        role: its duty; `providers` are the third parties.
        member: its name through all its lives, such as `payment-1`.
        life: ordinal of this life, from 1.
        name: of the run on the servers: schema, topics, keys.
        seed: root of all ids and coins; None outside of lab runs.
        off, settings, faults: as of the run.
        host, port: where it answers over HTTP; port None: it does not, 0: any free one.
        control: socket of the supervisor that decides about faults; "" without one.
        journal: file that takes its history; "" if nobody looks.
        telemetry: folder that takes its logs too, for Filebeat; "" if there is none.
        ledger: file of the third parties.
        clock_steps: instants of the machine's monotonic clock, and by how much its wall clock is
            further ahead from then on.
        is_healed: the faults of the run are over already.
        is_supervised: it ends when its standard input does.
    """

    role: Literal["api", "relay", "consumer", "providers"]
    member: str
    group: str
    name: str
    postgres_dsn: str
    redis_url: str
    kafka_bootstrap: str
    providers_url: str = ""
    life: int = 1
    seed: int | None = None
    off: tuple[str, ...] = ()
    settings: Mapping[str, int | float | str | tuple[int, ...]] = {}
    faults: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int | None = None
    control: str = ""
    journal: str = ""
    telemetry: str = ""
    ledger: str = ""
    clock_steps: tuple[tuple[int, int], ...] = ()
    is_healed: bool = False
    is_supervised: bool = False

    @property
    def process(self) -> str:
        """The name of this life in the history."""
        return self.member if self.life == 1 else f"{self.member}#{self.life}"

    @property
    def service(self) -> str:
        """Its name in logs."""
        return f"lab-{self.group}"

    @property
    def as_role(self) -> Role:
        """The role of a process of the lab. Not for third parties."""
        return Role(self.role)

    @property
    def where(self) -> Where:
        """The servers that it uses.

        Raises:
            EnvironmentNotReady: the environment asks for a security that there is not.
        """
        return Where(
            name=self.name,
            postgres_dsn=self.postgres_dsn,
            redis_url=self.redis_url,
            kafka_bootstrap=self.kafka_bootstrap,
            # Of the environment, which a supervisor hands on: no file of a run holds a password.
            kafka_security=security_of(environment()),
            providers_url=self.providers_url,
        )

    def policies(self) -> Settings:
        """Its settings: those of the wall-clock profile with its changes.

        Raises:
            SettingError: one has an unknown name or a senseless value.
        """
        return settings_for("wall-clock").with_changes(self.settings)

    def check(self) -> None:
        """Refuse an assignment that cannot be carried out.

        Raises:
            SettingError, FaultError: see there.
        """
        self.policies()
        parse_faults(self.faults)


def write_assignment(path: Path, assignment: Assignment) -> None:
    """Keep it in a file that only its owner reads: addresses may hold passwords."""
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(assignment))


def read_assignment(path: Path) -> Assignment:
    """The assignment in a file.

    Raises:
        EnvironmentNotReady: there is none that can be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Assignment)
    except (OSError, msgspec.MsgspecError) as error:
        raise EnvironmentNotReady(
            f"it cannot be read ({error})",
            server="the assignment of a process",
            address=str(path),
            remedy="such files are written by lab run --real; start a process by hand without one",
        ) from error
