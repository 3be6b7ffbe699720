"""A certificate authority for tests, and what it signed for servers of the loopback."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates(NamedTuple):
    """Files in PEM.

    Attributes:
        ca: the authority's certificate.
        certificate: the server's, for 127.0.0.1.
        key: the server's key.
        both: key and certificate in one file, as Kafka wants them.
        other_ca: an authority that signed nothing.
    """

    ca: Path
    certificate: Path
    key: Path
    both: Path
    other_ca: Path


def make_certificates(folder: Path) -> Certificates:
    ca_key, ca = _authority("tests")
    _, other_ca = _authority("strangers")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")])
    server = _unsigned("server", ca.subject, key.public_key()).add_extension(name, critical=False)
    certificate = server.sign(ca_key, hashes.SHA256())
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    contents = {
        "ca": _pem(ca),
        "certificate": _pem(certificate),
        "key": secret,
        "both": secret + _pem(certificate) + _pem(ca),
        "other_ca": _pem(other_ca),
    }
    paths = {file: folder / f"{file}.pem" for file in contents}
    for file, content in contents.items():
        paths[file].write_bytes(content)
    return Certificates(**paths)


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    signs = x509.BasicConstraints(ca=True, path_length=0)
    unsigned = _unsigned(name, _name(name), key.public_key()).add_extension(signs, critical=True)
    return key, unsigned.sign(key, hashes.SHA256())


def _unsigned(subject: str, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
