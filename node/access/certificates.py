"""Certificates to try TLS with: an authority of this folder, and what it signs. A hospital has its own authority."""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY: Final = "authority"
KEY_BITS: Final = 2048  # RSA: also modalities of some years ago read it
EARLIER: Final = datetime.timedelta(minutes=5)
"""How long before now a certificate is valid: the clocks of two machines differ."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A test authority in a folder, made there if there is none.

    Attributes
    ----------
    folder
        Holds NAME.pem and NAME.key of the authority and of all that it signs.
    """

    folder: Path
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    @classmethod
    def open(cls, folder: Path, days: int) -> Self:
        """Return the authority of a folder.

        Raises
        ------
        ValueError, OSError
            What lies there is no such authority, or nothing can be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = folder / f"{AUTHORITY}.pem", folder / f"{AUTHORITY}.key"
        if paths[0].exists():
            key = serialization.load_pem_private_key(paths[1].read_bytes(), None)
            if not isinstance(key, rsa.RSAPrivateKey):
                raise ValueError(f"{paths[1]} is no RSA key")
            return cls(folder, x509.load_pem_x509_certificate(paths[0].read_bytes()), key)
        key = _new_key()
        name = _subject("Lookalike test authority")
        usage = x509.KeyUsage(**dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True})
        certificate = (
            _builder(name, name, key, days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        _write(folder, AUTHORITY, [certificate], key)
        return cls(folder, certificate, key)

    def issue(self, name: str, hosts: Sequence[str], days: int) -> Path:
        """Sign a certificate for both ends of a connection, and return its file; its key lies beside it.

        Parameters
        ----------
        name
            Common name of the subject, and name of the files.
        hosts
            Names and addresses of the machine.
        """
        key = _new_key()
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(_subject(name), self.certificate.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts or [name]]), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return _write(self.folder, name, [certificate], key)


_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, KEY_BITS)


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    ends = now + datetime.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, ends) - EARLIER)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, name: str, certificates: Iterable[x509.Certificate], key: rsa.RSAPrivateKey) -> Path:
    plain = serialization.NoEncryption()
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / f"{name}.pem"
    key_path = path.with_suffix(".key")
    key_path.touch(mode=0o600)
    key_path.chmod(0o600)
    key_path.write_bytes(encoded)
    path.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates))
    return path
