"""A certificate authority of a cluster's own, and the certificates it issues."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterable

LIFETIME = datetime.timedelta(days=7)
# Machines of one test run may disagree about the time.
CLOCK_SKEW = datetime.timedelta(minutes=10)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Authority:
    """A certificate authority; whoever trusts its certificate trusts what it issues."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls) -> Authority:
        """A new authority with a new key."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = distinguished_name("asyncdiff test cluster", ())
        builder = (
            unsigned(name, key)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def load(cls, pair: KeyPair) -> Authority:
        """The authority that `pair` holds."""
        key = serialization.load_pem_private_key(pair.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(
                f"the authority's key is a {type(key).__name__}; `Authority.create` makes EC keys"
            )
        return cls(x509.load_pem_x509_certificate(pair.certificate), key)

    @property
    def pair(self) -> KeyPair:
        """The authority's own certificate and key."""
        return KeyPair(self.certificate.public_bytes(serialization.Encoding.PEM), private_pem(self.key))

    def issue_to_server(self, hosts: Iterable[str]) -> KeyPair:
        """A certificate for a server that clients reach under these names and addresses."""
        names = x509.SubjectAlternativeName([general_name(host) for host in hosts])
        return self._issue(distinguished_name("server", ()), ExtendedKeyUsageOID.SERVER_AUTH, names)

    def issue_to_client(self, user: str, groups: Iterable[str]) -> KeyPair:
        """A certificate that makes its bearer the Kubernetes user `user`, member of `groups`."""
        return self._issue(distinguished_name(user, groups), ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self, name: x509.Name, usage: x509.ObjectIdentifier, alternatives: x509.SubjectAlternativeName | None
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            unsigned(name, key)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            # Python 3.13 refuses chains without it (VERIFY_X509_STRICT)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        return KeyPair(signed.public_bytes(serialization.Encoding.PEM), private_pem(key))


def signing_key() -> tuple[bytes, bytes]:
    """A key for signing service account tokens, as PEM: the private and the public half."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private_pem(key), public


def distinguished_name(common_name: str, organizations: Iterable[str]) -> x509.Name:
    """The subject by which Kubernetes knows a user (common name) and the user's groups (organizations)."""
    groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in organizations]
    return x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def unsigned(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """What the authority's certificate and those it issues have in common."""
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def general_name(host: str) -> x509.GeneralName:
    """A host as a certificate names it: an address or a DNS name."""
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM (SEC 1, which every Kubernetes program reads)."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
