"""The certificates of an overcloud: an authority of its own, and what its front shows.

They are kept among the cloud's secrets, and made anew only where those that are kept no longer
serve, so that the same cloud has the same certificates at every plan.
"""

import collections.abc
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY = "authority_certificate"
AUTHORITY_KEY = "authority_key"
FRONT = "front_certificate"

_AUTHORITY_DAYS = 3650
_FRONT_DAYS = 365
_RENEW_DAYS = 30
# Clocks differ: what is made now is good a little earlier, too.
_SKEW = datetime.timedelta(hours=1)

Secrets = collections.abc.Mapping[str, str]


def renewed(
    known: Secrets, cloud: str, addresses: collections.abc.Sequence[str], now: datetime.datetime
) -> dict[str, str]:
    """A cloud's secrets with certificates that serve: the known ones, else new ones.

    The front's is for these addresses; it and its private key are one secret, the certificate
    first. A new authority makes a new one, too.
    """
    secrets = dict(known)
    if not _authority_serves(secrets, now):
        secrets |= _new_authority(cloud, now)
    if not _front_serves(secrets, addresses, now):
        secrets[FRONT] = _new_front(secrets, cloud, addresses, now)
    return secrets


def _authority_serves(secrets: Secrets, now: datetime.datetime) -> bool:
    if AUTHORITY not in secrets or AUTHORITY_KEY not in secrets:
        return False
    return _lasts(_read(secrets[AUTHORITY]), now)


def _front_serves(
    secrets: Secrets, addresses: collections.abc.Sequence[str], now: datetime.datetime
) -> bool:
    if FRONT not in secrets:
        return False
    certificate = _read(secrets[FRONT])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    covered = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    authority = _read(secrets[AUTHORITY])
    return (
        covered == set(addresses)
        and _lasts(certificate, now)
        and _key_identifier(authority) == _issuer_identifier(certificate)
    )


def _lasts(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    return certificate.not_valid_after_utc > now + datetime.timedelta(days=_RENEW_DAYS)


def _key_identifier(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _issuer_identifier(certificate: x509.Certificate) -> bytes | None:
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    return found.value.key_identifier


def _new_authority(cloud: str, now: datetime.datetime) -> dict[str, str]:
    key = _new_key()
    name = _name(f"Altostratus authority of {cloud}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key.public_key(), now, now + _days(_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return {AUTHORITY: _pem(certificate), AUTHORITY_KEY: _key_pem(key)}


def _new_front(
    secrets: Secrets,
    cloud: str,
    addresses: collections.abc.Sequence[str],
    now: datetime.datetime,
) -> str:
    authority = _read(secrets[AUTHORITY])
    signer = serialization.load_pem_private_key(secrets[AUTHORITY_KEY].encode(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey), "the authority's key is one of ours"
    key = _new_key()
    until = min(now + _days(_FRONT_DAYS), authority.not_valid_after_utc)
    names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        _builder(_name(f"{cloud} front"), authority.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(server, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(issuer, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _pem(certificate) + _key_pem(key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime.datetime,
    until: datetime.datetime,
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _SKEW,
        not_valid_after=until,
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _days(number: int) -> datetime.timedelta:
    return datetime.timedelta(days=number)


def _read(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
