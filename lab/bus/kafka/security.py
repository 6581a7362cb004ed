"""How a client proves to a Kafka who it is, and knows whom it talks to: TLS and SASL.

No secret stands in a `repr`, and no message of ours quotes one. Not here: the environment, which
names all of it (`security_of` takes its variables), and access lists, which are the broker's.
"""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from aiokafka import conn
from aiokafka import errors as kafka_errors

from lab.domain.errors import EnvironmentNotReady

T = TypeVar("T")

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSecurity:
    """The security of one broker's listener, as its clients meet it.

    Attributes:
        protocol: one of `PROTOCOLS`.
        mechanism: one of `MECHANISMS`.
        username, password: for SASL.
        ca: file of the authorities that are trusted; "" for those of this machine.
        cert, key: files of the client's certificate and its key; "" for none, or for one file.
        key_password: of the key.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = MECHANISMS[0]
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    ca: str = ""
    cert: str = ""
    key: str = ""
    key_password: str = field(default="", repr=False)

    def arguments(self) -> dict[str, Any]:
        """What every client of the library is told of it; nothing where nothing is asked for.

        Raises:
            EnvironmentNotReady: a file of it cannot be used.
        """
        if self.protocol == "PLAINTEXT":
            return {}
        told: dict[str, Any] = {"security_protocol": self.protocol}
        if "SSL" in self.protocol:
            told["ssl_context"] = self._context()
        if self.protocol.startswith("SASL"):
            told["sasl_mechanism"] = self.mechanism
            told["sasl_plain_username"] = self.username
            told["sasl_plain_password"] = self.password
        return told

    def _context(self) -> ssl.SSLContext:
        def trust() -> ssl.SSLContext:
            return ssl.create_default_context(cafile=self.ca or None)

        context = _reading(trust, "CA", self.ca)
        if self.cert:
            chain, key, password = self.cert, self.key or None, self.key_password
            # Without a password OpenSSL would ask for one on the terminal, and wait.
            _reading(lambda: context.load_cert_chain(chain, key, lambda: password), "CERT", chain)
        return context


def security_of(variables: Mapping[str, str]) -> KafkaSecurity:
    """The security that the environment asks for.

    Args:
        variables: `lab.settings.environment()`: names without `LAB_`.

    Raises:
        EnvironmentNotReady: it asks for something that is unknown, or for a part of something.
    """

    def of(name: str) -> str:
        return variables.get(f"KAFKA_{name}", "").strip()

    security = KafkaSecurity(
        protocol=_one_of(PROTOCOLS, "SECURITY_PROTOCOL", of("SECURITY_PROTOCOL")),
        mechanism=_one_of(MECHANISMS, "SASL_MECHANISM", of("SASL_MECHANISM")),
        username=of("SASL_USERNAME"),
        # Blanks may belong to it.
        password=variables.get("KAFKA_SASL_PASSWORD", ""),
        ca=of("SSL_CA"),
        cert=of("SSL_CERT"),
        key=of("SSL_KEY"),
        key_password=variables.get("KAFKA_SSL_KEY_PASSWORD", ""),
    )
    given = [name for name in variables if name.startswith(("KAFKA_SASL_", "KAFKA_SSL_"))]
    unused = [name for name in given if name.split("_")[1] not in security.protocol]
    if unused:
        raise _wrong(
            f"LAB_{unused[0]} is set, and LAB_KAFKA_SECURITY_PROTOCOL is {security.protocol}",
            "set that to SSL, SASL_PLAINTEXT or SASL_SSL, or unset the other",
        )
    is_whole = security.username and security.password
    if security.protocol.startswith("SASL") and not is_whole:
        raise _wrong(
            f"{security.protocol} needs a user and a password",
            "set LAB_KAFKA_SASL_USERNAME and LAB_KAFKA_SASL_PASSWORD",
        )
    if security.key and not security.cert:
        raise _wrong("there is a key and no certificate", "set LAB_KAFKA_SSL_CERT, too")
    return security


def _one_of(words: tuple[str, ...], name: str, given: str) -> str:
    word = given.upper() or words[0]
    if word not in words:
        raise _wrong(
            f"LAB_KAFKA_{name} is none that the lab knows", f"it must be one of {', '.join(words)}"
        )
    return word


def _reading(load: Callable[[], T], name: str, file: str) -> T:
    """What `load` makes of a file of security."""
    what = f"the file of LAB_KAFKA_SSL_{name} ({file}) cannot be used"
    remedy = "it must be readable PEM; a key that is encrypted needs LAB_KAFKA_SSL_KEY_PASSWORD"
    try:
        if file and not Path(file).is_file():
            raise _wrong(f"{what}: there is no such file", remedy)
        return load()
    except (OSError, ValueError) as error:
        raise _wrong(f"{what}: {type(error).__name__}", remedy) from error


def _wrong(what: str, remedy: str) -> EnvironmentNotReady:
    return EnvironmentNotReady(what, server="Kafka", address="", remedy=remedy)


_SHUT_OUT: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (
        ssl.SSLCertVerificationError,
        "its certificate is not trusted",
        (
            "LAB_KAFKA_SSL_CA must name the file of the authority that signed it, and "
            "LAB_KAFKA_BOOTSTRAP the host that it is made out to"
        ),
    ),
    (
        ssl.SSLError,
        "TLS fails",
        (
            "see that LAB_KAFKA_SECURITY_PROTOCOL is the one of this port, and LAB_KAFKA_SSL_CERT "
            "a certificate that it takes"
        ),
    ),
    (
        kafka_errors.UnsupportedSaslMechanismError,
        "it does not take this LAB_KAFKA_SASL_MECHANISM",
        f"set another one of {', '.join(MECHANISMS)}",
    ),
    (
        kafka_errors.SaslAuthenticationFailed,
        "it refuses the user or the password",
        "see to LAB_KAFKA_SASL_USERNAME, LAB_KAFKA_SASL_PASSWORD and LAB_KAFKA_SASL_MECHANISM",
    ),
    (
        kafka_errors.KafkaConnectionError,
        "it listens, and closes every connection",
        (
            "wait if it has just been started; else see that LAB_KAFKA_SECURITY_PROTOCOL is that "
            "of this port, and LAB_KAFKA_SSL_CERT is set if it asks for one"
        ),
    ),
)
"""The error of a connection, what it means, and the remedy."""


async def why_not(host: str, port: int, arguments: Mapping[str, Any]) -> tuple[str, str] | None:
    """Why a broker that listens lets no such client in, and the remedy; None if it seems away.

    The library says of a bootstrap that failed only that it did.

    Args:
        host: of the broker.
        port: of the broker.
        arguments: of a connection, with its deadline.
    """
    try:
        connection = await conn.create_conn(host, port, **arguments)
    except (OSError, TimeoutError, kafka_errors.KafkaError) as error:
        return next(
            ((what, remedy) for kind, what, remedy in _SHUT_OUT if isinstance(error, kind)), None
        )
    connection.close()
    return None
