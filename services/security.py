"""What the settings name files for: the passwords of the servers, and by what their certificates are known."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

if TYPE_CHECKING:
    from services.settings import Settings

_FILES = (
    "kafka_ca_file",
    "kafka_certificate_file",
    "kafka_key_file",
    "kafka_password_file",
    "redis_ca_file",
    "redis_password_file",
    "postgres_ca_file",
    "postgres_password_file",
    "vault_password_file",
)


def security_faults(settings: "Settings") -> Iterator[tuple[str, str]]:
    """Give settings, by name, that would not do what they are there for, and why."""
    yield from _kafka_faults(settings)
    if settings.redis_ca_file is not None and not settings.redis_url.startswith("rediss"):
        yield "redis_ca_file", "needs an OPD_REDIS_URL that begins with rediss://, else nothing is encrypted"
    urls = {"redis": settings.redis_url, "postgres": settings.postgres_url, "vault": settings.vault_url}
    for server, url in urls.items():
        name = f"{server}_password_file"
        if getattr(settings, name) is None:
            continue
        if url is None:
            yield name, f"is not used without OPD_{server.upper()}_URL"
        elif urlsplit(url).password is not None:
            yield name, f"OPD_{server.upper()}_URL holds a password already; leave one of them out"
    for name in _FILES:
        path: Path | None = getattr(settings, name)
        if path is not None and (fault := _file_fault(path, is_password="password" in name)):
            yield name, fault


def _kafka_faults(settings: "Settings") -> Iterator[tuple[str, str]]:
    """A password that is silently left unused would be taken for safety."""
    protocol = settings.kafka_security_protocol
    for name in ("kafka_username", "kafka_password_file"):
        is_set = getattr(settings, name) is not None
        if protocol.startswith("SASL") and not is_set:
            yield name, f"is missing, and OPD_KAFKA_SECURITY_PROTOCOL={protocol} needs it"
        elif is_set and not protocol.startswith("SASL"):
            yield name, f"is not used with OPD_KAFKA_SECURITY_PROTOCOL={protocol}; SASL_SSL uses it"
    for name in ("kafka_ca_file", "kafka_certificate_file", "kafka_key_file"):
        if getattr(settings, name) is not None and not protocol.endswith("SSL"):
            yield name, f"is not used with OPD_KAFKA_SECURITY_PROTOCOL={protocol}; SSL and SASL_SSL use it"
    if (settings.kafka_certificate_file is None) != (settings.kafka_key_file is None):
        yield "kafka_certificate_file", "a certificate and its key (OPD_KAFKA_KEY_FILE) go together"


def _file_fault(path: Path, *, is_password: bool) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if is_password:
        try:
            content.decode()
        except UnicodeDecodeError:
            return f"{path} holds no text"
    return "" if content.strip() else f"{path} is empty"


def password_in(path: Path) -> str:
    """Give the password that a file holds: all of it, but for the line's end."""
    return path.read_text().rstrip("\r\n")


def complete_addresses(settings: "Settings") -> dict[str, object]:
    """Give the settings that change when what stands in the files of Redis and PostgreSQL goes into their URLs.

    Whoever is given a CA's file wants the certificate verified, and the name in it.
    """
    redis = settings.redis_url
    if settings.redis_ca_file is not None:
        redis = _with_options(redis, ssl_ca_certs=str(settings.redis_ca_file))
    postgres = _on_postgres(settings.postgres_url, settings.postgres_ca_file, settings.postgres_password_file)
    vault = settings.vault_url and _on_postgres(
        settings.vault_url, settings.postgres_ca_file, settings.vault_password_file
    )
    done = dict.fromkeys(name for name in _FILES if not name.startswith("kafka"))
    return {
        **done,
        "redis_url": _with_password(redis, settings.redis_password_file),
        "postgres_url": postgres,
        "vault_url": vault,
    }


def _on_postgres(url: str, ca_file: Path | None, password_file: Path | None) -> str:
    if ca_file is not None:
        url = _with_options(url, sslmode="verify-full", sslrootcert=str(ca_file))
    return _with_password(url, password_file)


def _with_password(url: str, file: Path | None) -> str:
    if file is None:
        return url
    parts = urlsplit(url)
    user, _, where = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password_in(file), safe='')}@{where}").geturl()


def _with_options(url: str, **options: str) -> str:
    """What the URL says itself stays."""
    parts = urlsplit(url)
    return parts._replace(query=urlencode({**options, **dict(parse_qsl(parts.query))}, safe="/")).geturl()
