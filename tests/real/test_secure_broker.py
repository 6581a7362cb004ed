"""A Kafka that asks for TLS, a certificate and a password: the lab works with it, and tells nobody.

Not here: what the environment may ask for (`unit/bus/test_kafka_security.py`).
"""

import asyncio
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.publisher import KafkaBus
from lab.bus.kafka.security import security_of
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady
from lab.ports.bus import Outgoing
from lab.runtime.clock import SystemClock
from tests.cli.commands import lab
from tests.kit.real_servers import other_brokers

pytestmark = [
    *(pytest.mark.real, pytest.mark.alone, pytest.mark.slow),
    pytest.mark.timeout(600),
]

PASSWORD = "LAB_KAFKA_SASL_PASSWORD"
WRONG = "battery-staple"


@pytest.fixture(scope="module")
def secure() -> Iterator[Mapping[str, str]]:
    with other_brokers("--sasl") as variables:
        yield variables


def settings(variables: Mapping[str, str], **changes: str | None) -> KafkaSettings:
    """Its clients' settings, with some variables changed, or left out if they are None."""
    changed = {**variables, **{f"LAB_KAFKA_{name}": to for name, to in changes.items()}}
    plain = {name.removeprefix("LAB_"): to for name, to in changed.items() if isinstance(to, str)}
    return KafkaSettings(
        bootstrap=variables["LAB_KAFKA_BOOTSTRAP"],
        prefix=f"case-{SystemClock().wall_us()}",
        connect_us=10_000_000,
        security=security_of(plain),
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_records_go_through_tls_under_each_mechanism(
    secure: Mapping[str, str], mechanism: str
) -> None:
    kafka = settings(secure, SASL_MECHANISM=mechanism)

    async def main() -> list[bytes]:
        async with KafkaTopics(kafka) as topics:
            try:
                await topics.create({"orders": 1})
                bus = KafkaBus(kafka, "case")
                await bus.publisher().publish([Outgoing("orders", b"k", b"v", ())])
                await bus.close()
                return [record.value for record in await topics.read("orders")]
            finally:
                await topics.delete()

    assert asyncio.run(main()) == [b"v"]


NO_SASL: Mapping[str, str | None] = {
    "SASL_MECHANISM": None,
    "SASL_USERNAME": None,
    "SASL_PASSWORD": None,
}
NO_TLS: Mapping[str, str | None] = {"SSL_CA": None, "SSL_CERT": None, "SSL_KEY": None}


@pytest.mark.parametrize(
    ("changes", "what", "variable"),
    [
        ({"SASL_PASSWORD": WRONG}, "refuses the user or the password", "SASL_PASSWORD"),
        ({"SSL_CA": None}, "certificate is not trusted", "SSL_CA"),
        ({"SSL_CERT": None, "SSL_KEY": None}, "TLS fails|closes every connection", "SSL_CERT"),
        (
            {**NO_SASL, **NO_TLS, "SECURITY_PROTOCOL": None},
            "closes every connection",
            "SECURITY_PROTOCOL",
        ),
    ],
    ids=["password", "authority", "certificate", "nothing"],
)
# Of a handshake that fails, asyncio may leave the socket to the collector: closing, and not ours.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_who_is_not_let_in_hears_which_variable_is_wrong(
    secure: Mapping[str, str], changes: Mapping[str, str | None], what: str, variable: str
) -> None:
    async def enter() -> None:
        async with KafkaTopics(settings(secure, **changes)):
            raise AssertionError("it let us in")

    with pytest.raises(EnvironmentNotReady, match=what) as told:
        asyncio.run(enter())
    # Here, and not in the middle of another test.
    gc.collect()
    assert f"LAB_KAFKA_{variable}" in told.value.remedy
    assert WRONG not in str(told.value)


def test_no_file_and_no_line_of_a_run_holds_the_password(
    secure: Mapping[str, str], tmp_path: Path
) -> None:
    told = lab(
        *("run", "happy-path", "--real", "--orders", "6", "--rate", "3", "--out", "kept"),
        *("--fault", "proc.crash@payment at=500ms", "--html", "page.html", "--junit", "junit.xml"),
        folder=tmp_path,
        variables={**secure, "LAB_TELEMETRY": str(tmp_path / "telemetry")},
    )
    doctor = lab("doctor", "--json", folder=tmp_path, variables={**secure, PASSWORD: WRONG})

    assert told.code == 0, told.out + told.err
    assert doctor.code == 4
    assert "refuses the user or the password" in doctor.out
    assert "Traceback" not in doctor.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    # A page, a result, a history and logs at the least, or nothing was looked at.
    assert len(files) > 4
    shown = [told.out, told.err, doctor.out, doctor.err]
    shown += [path.read_bytes().decode("utf-8", "replace") for path in files]
    assert not [text for text in shown if secure[PASSWORD] in text or WRONG in text]
