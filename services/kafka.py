"""How the services' clients of Kafka get in."""

import ssl
from functools import lru_cache
from typing import Any

from services.security import password_in
from services.settings import SettingError, Settings


def kafka_client(settings: Settings) -> dict[str, Any]:
    """Give the arguments of aiokafka's clients that say where Kafka is, who we are, and how we know it.

    Raises:
        SettingError: a certificate, or the key of one, is none.
    """
    return {"bootstrap_servers": settings.kafka_bootstrap_servers, **_security(settings)}


@lru_cache(maxsize=16)
def _security(settings: Settings) -> dict[str, Any]:
    """Read once: a file that is exchanged under a running service must not stop it in the middle."""
    arguments: dict[str, Any] = {"security_protocol": settings.kafka_security_protocol}
    if settings.kafka_security_protocol.endswith("SSL"):
        arguments["ssl_context"] = _ssl_context(settings)
    if settings.kafka_security_protocol.startswith("SASL") and settings.kafka_password_file is not None:
        arguments |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": password_in(settings.kafka_password_file),
        }
    return arguments


def _ssl_context(settings: Settings) -> ssl.SSLContext:
    name, file = "KAFKA_CA", settings.kafka_ca_file
    try:
        context = ssl.create_default_context(cafile=file)
        name, file = "KAFKA_CERTIFICATE", settings.kafka_certificate_file
        if file is not None:
            context.load_cert_chain(file, settings.kafka_key_file)
    except ssl.SSLError as error:
        raise SettingError(f"OPD_{name}_FILE: {file} is not in PEM, or its key is another one's: {error}") from error
    return context
