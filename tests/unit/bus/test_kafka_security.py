"""The security that a Kafka is met with: what the environment may ask for, and what is told of it.

Not here: a broker that asks for it (`tests/real/test_secure_broker.py`).
"""

import asyncio
from pathlib import Path

import pytest

from lab.bus.kafka.client import KafkaSettings
from lab.bus.kafka.security import KafkaSecurity, security_of
from lab.bus.kafka.topics import KafkaTopics
from lab.domain.errors import EnvironmentNotReady

SECRET = "correct horse"
USER = {"KAFKA_SASL_USERNAME": "ann", "KAFKA_SASL_PASSWORD": SECRET}


def test_a_client_of_a_plain_broker_is_told_nothing_of_security() -> None:
    security = security_of({"KAFKA_BOOTSTRAP": "here:1"})

    assert security == KafkaSecurity()
    assert KafkaSettings(bootstrap="here:1", security=security).connection("c", 1_000) == {
        "bootstrap_servers": "here:1",
        "client_id": "c",
        "request_timeout_ms": 1,
        "retry_backoff_ms": 100,
        "metadata_max_age_ms": 10_000,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "scram-sha-512"])
def test_a_client_is_told_the_password_and_nobody_who_prints_it_is(mechanism: str) -> None:
    security = security_of(
        {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": mechanism, **USER}
    )
    told = security.arguments()

    assert told["security_protocol"] == "SASL_SSL"
    assert told["sasl_mechanism"] == mechanism.upper()
    assert (told["sasl_plain_username"], told["sasl_plain_password"]) == ("ann", SECRET)
    assert told["ssl_context"].check_hostname
    shown = repr(KafkaSettings(bootstrap="here:1", security=security))
    assert SECRET not in shown
    assert "ann" not in shown


def test_blanks_of_a_password_are_part_of_it() -> None:
    security = security_of(
        {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **USER, "KAFKA_SASL_PASSWORD": " x "}
    )

    assert security.password == " x "


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": SECRET}, "must be one of PLAINTEXT, SSL"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "GSSAPI", **USER},
            "must be one of SCRAM-SHA-512, SCRAM-SHA-256, PLAIN",
        ),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "needs a user and a password"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_PASSWORD": SECRET},
            "needs a user and a password",
        ),
        # Whoever sets a password and no protocol would send orders in the clear, and unasked.
        (USER, "LAB_KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", **USER}, "LAB_KAFKA_SECURITY_PROTOCOL is SSL"),
        ({"KAFKA_SSL_CA": "/x"}, "LAB_KAFKA_SSL_CA is set"),
        ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEY": "/x"}, "a key and no certificate"),
    ],
)
def test_half_a_security_is_refused_with_its_variable(variables: dict[str, str], what: str) -> None:
    with pytest.raises(EnvironmentNotReady, match=what) as told:
        security_of(variables)

    assert SECRET not in str(told.value)


@pytest.mark.parametrize("name", ["CA", "CERT"])
@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_that_is_none_is_named_before_anything_is_asked(
    name: str, text: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "file.pem"
    if text is not None:
        file.write_text(text)
    security = security_of(
        {
            "KAFKA_SECURITY_PROTOCOL": "SSL",
            f"KAFKA_SSL_{name}": str(file),
            "KAFKA_SSL_KEY_PASSWORD": SECRET,
        }
    )

    async def enter() -> None:
        async with KafkaTopics(KafkaSettings(bootstrap="127.0.0.1:1", security=security)):
            raise AssertionError("there is nothing on port 1")

    with pytest.raises(EnvironmentNotReady, match=f"LAB_KAFKA_SSL_{name}") as told:
        asyncio.run(enter())
    assert str(file) in str(told.value)
    assert SECRET not in str(told.value)
