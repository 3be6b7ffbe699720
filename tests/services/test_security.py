import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.kafka import kafka_client
from services.settings import SettingError, Settings, read_settings, without_password
from services.stack.system import environment
from tests.certificates import make_certificates

SECRET = "p@ss:w/rd?#%"  # noqa: S105  a made-up one, with all that URLs have a meaning for


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{SECRET}\n")
    return file


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    return make_certificates(tmp_path).ca


def test_a_password_from_a_file_stands_in_the_url_and_is_not_shown(password: Path) -> None:
    settings = read_settings(
        {
            "redis_url": "redis://opd@redis:6379/0",
            "redis_password_file": str(password),
            "postgres_url": "postgresql://opd@one:5432,two:5432/opd",
            "postgres_password_file": str(password),
            "vault_url": "postgresql://vault@db/vault",
            "vault_password_file": str(password),
        }
    )
    assert settings.vault_address == "postgresql://vault:p%40ss%3Aw%2Frd%3F%23%25@db/vault"
    assert settings.redis_url == "redis://opd:p%40ss%3Aw%2Frd%3F%23%25@redis:6379/0"
    assert settings.postgres_url == "postgresql://opd:p%40ss%3Aw%2Frd%3F%23%25@one:5432,two:5432/opd"
    assert without_password(settings.redis_url) == "redis://opd:***@redis:6379/0"
    assert settings.redis_password_file is settings.postgres_password_file is None


@pytest.mark.parametrize(
    ("url", "complete"),
    [
        ("rediss://redis:6380/0", "rediss://:{}@redis:6380/0?ssl_ca_certs={}"),
        ("rediss+cluster://redis:6380", "rediss+cluster://:{}@redis:6380?ssl_ca_certs={}"),
        ("rediss://redis:6380/0?ssl_min_version=x", "rediss://:{}@redis:6380/0?ssl_ca_certs={}&ssl_min_version=x"),
    ],
)
def test_an_authority_and_the_default_user_s_password_go_into_the_url(
    url: str, complete: str, ca: Path, password: Path
) -> None:
    password.write_text("secret")
    settings = read_settings({"redis_url": url, "redis_ca_file": str(ca), "redis_password_file": str(password)})
    assert settings.redis_url == complete.format("secret", ca)


def test_postgres_verifies_the_name_too_once_an_authority_is_named_unless_its_url_says_otherwise(ca: Path) -> None:
    own = read_settings({"postgres_url": "postgresql://opd@db/opd?sslmode=verify-ca", "postgres_ca_file": str(ca)})
    assert urlsplit(own.postgres_url).query == f"sslmode=verify-ca&sslrootcert={ca}"
    settings = read_settings({"postgres_ca_file": str(ca)})
    assert urlsplit(settings.postgres_url).query == f"sslmode=verify-full&sslrootcert={ca}"
    apart = read_settings({"vault_url": "postgresql://vault@db/vault", "postgres_ca_file": str(ca)})
    assert urlsplit(apart.vault_address).query == f"sslmode=verify-full&sslrootcert={ca}"


def test_kafka_is_asked_in_plain_text_unless_told_otherwise() -> None:
    assert kafka_client(Settings()) == {"bootstrap_servers": "localhost:9092", "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_kafka_is_told_who_we_are_and_has_to_show_who_it_is(mechanism: str, ca: Path, password: Path) -> None:
    settings = read_settings(
        {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ca_file": str(ca),
            "kafka_sasl_mechanism": mechanism,
            "kafka_username": "opd-allocator",
            "kafka_password_file": str(password),
        }
    )
    client = kafka_client(settings)
    context = client.pop("ssl_context")
    assert client == {
        "bootstrap_servers": "localhost:9092",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "opd-allocator",
        "sasl_plain_password": SECRET,
    }
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    password.unlink()
    assert kafka_client(settings)["sasl_plain_password"] == SECRET, "what it needs later it has read before"


def test_the_environment_of_a_child_says_all_and_holds_back_what_its_parent_s_says(
    password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings({"redis_password_file": str(password)})
    monkeypatch.setenv("OPD_REDIS_PASSWORD_FILE", str(password))
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    assert read_settings() == settings


NEEDED = "is missing, and OPD_KAFKA_SECURITY_PROTOCOL=SASL_SSL needs it"


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ({"kafka_security_protocol": "sasl_ssl"}, "('sasl_ssl'): Input should be 'PLAINTEXT', 'SSL'"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_username": "opd"}, f"OPD_KAFKA_PASSWORD_FILE: {NEEDED}"),
        ({"kafka_username": "opd"}, "--kafka-username: is not used with OPD_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"kafka_password_file": "PASSWORD"}, "--kafka-password-file: is not used with"),
        ({"kafka_ca_file": "CA"}, "--kafka-ca-file: is not used with OPD_KAFKA_SECURITY_PROTOCOL=PLAINTEXT"),
        ({"kafka_security_protocol": "SSL", "kafka_key_file": "CA"}, "a certificate and its key (OPD_KAFKA_KEY_FILE)"),
        ({"redis_ca_file": "CA"}, "--redis-ca-file: needs an OPD_REDIS_URL that begins with rediss://"),
        ({"redis_password_file": "/nowhere"}, "--redis-password-file: /nowhere cannot be read: No such file"),
        ({"postgres_password_file": "EMPTY"}, "empty is empty"),
        ({"vault_password_file": "PASSWORD"}, "--vault-password-file: is not used without OPD_VAULT_URL"),
        ({"postgres_password_file": "BYTES"}, "bytes holds no text"),
        (
            {"redis_url": "redis://:other@redis", "redis_password_file": "PASSWORD"},
            "--redis-password-file: OPD_REDIS_URL holds a password already",
        ),
    ],
)
def test_what_would_not_do_what_it_is_there_for_is_refused(
    flags: dict[str, str], fault: str, tmp_path: Path, ca: Path, password: Path
) -> None:
    files = {"CA": ca, "PASSWORD": password, "EMPTY": tmp_path / "empty", "BYTES": tmp_path / "bytes"}
    files["EMPTY"].write_text("\n")
    files["BYTES"].write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError) as refused:
        read_settings({name: str(files.get(value, value)) for name, value in flags.items()})
    assert fault in str(refused.value)
    assert "other" not in str(refused.value).replace("key is another one's", "")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"kafka_ca_file": "PASSWORD"}, "OPD_KAFKA_CA_FILE"),
        ({"kafka_certificate_file": "CA", "kafka_key_file": "PASSWORD"}, "OPD_KAFKA_CERTIFICATE_FILE"),
    ],
)
def test_a_certificate_that_is_none_is_named_and_not_quoted(
    flags: dict[str, str], named: str, ca: Path, password: Path
) -> None:
    files = {"CA": str(ca), "PASSWORD": str(password)}
    settings = read_settings({"kafka_security_protocol": "SSL"} | {name: files[value] for name, value in flags.items()})
    with pytest.raises(SettingError, match=named) as refused:
        kafka_client(settings)
    assert SECRET not in str(refused.value)


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPD_KAFKA_PASSWORD_FILE", "")
    monkeypatch.setenv("OPD_HTTP_PORT", "")
    assert read_settings() == Settings()
