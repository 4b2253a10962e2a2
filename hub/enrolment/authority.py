"""A certificate authority of one's own: the broker's certificate, those of users, and the list of revoked ones."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = timedelta(days=3650)
_EARLIER = timedelta(days=1)  # devices without a clock's battery may be behind


@dataclass(frozen=True)
class Issued:
    """A certificate and its key in PEM, and the certificate's serial number."""

    certificate: str
    key: str
    serial: int

    def __repr__(self) -> str:
        return f"Issued({self.serial:x})"


class Authority:
    """Signs certificates. All that it signs is valid until its own certificate ends."""

    def __init__(self, certificate: str, key: str) -> None:
        """`certificate` and `key` in PEM. Raises ValueError for anything else."""
        self.certificate, self.key = certificate, key
        self._certificate = x509.load_pem_x509_certificate(certificate.encode())
        loaded = serialization.load_pem_private_key(key.encode(), password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is none of an elliptic curve")  # noqa: TRY004 - it was read, not passed
        self._key = loaded

    def issue_broker(self, hosts: Sequence[str]) -> Issued:
        """A broker's certificate for these host names and addresses."""
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        return self._issue("SLED broker", ExtendedKeyUsageOID.SERVER_AUTH, names)

    def issue_user(self, user: str) -> Issued:
        """A certificate that makes its owner `user` at the broker."""
        return self._issue(user, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def revocations(self, revoked: Mapping[int, datetime]) -> str:
        """The list of revoked certificates in PEM: serial numbers, and when each was revoked."""
        end = self._certificate.not_valid_after_utc  # a list past its end would shut all out
        builder = x509.CertificateRevocationListBuilder(self._certificate.subject, _now() - _EARLIER, end)
        for serial, at in revoked.items():
            entry = x509.RevokedCertificateBuilder(serial, at).build()
            builder = builder.add_revoked_certificate(entry)
        signed = builder.add_extension(x509.CRLNumber(len(revoked)), critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM).decode()

    def _issue(self, name: str, usage: x509.ObjectIdentifier, names: x509.SubjectAlternativeName | None) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_named(name), self._certificate.subject, key.public_key(), authority=False)
        builder = builder.not_valid_after(self._certificate.not_valid_after_utc)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        return Issued(signed.public_bytes(serialization.Encoding.PEM).decode(), _pem(key), signed.serial_number)


def new_authority() -> Authority:
    """An authority with a new key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _named("SLED authority")
    builder = _builder(name, name, key.public_key(), authority=True).not_valid_after(_now() + _VALID)
    signed = builder.sign(key, hashes.SHA256())
    return Authority(signed.public_bytes(serialization.Encoding.PEM).decode(), _pem(key))


def hosts_of(certificate: str) -> list[str]:
    """The host names and addresses in a broker's certificate."""
    loaded = x509.load_pem_x509_certificate(certificate.encode())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(name.value) for name in names]


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
) -> x509.CertificateBuilder:
    usage = x509.KeyUsage(
        digital_signature=not authority, key_cert_sign=authority, crl_sign=authority, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_now() - _EARLIER)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    unencrypted = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted).decode()


def _now() -> datetime:
    return datetime.now(timezone.utc)
