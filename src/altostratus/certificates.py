"""The certificates of a cloud: an authority of its own, and what each of its instances shows.

They are kept among the cloud's secrets, and made anew only where those that are kept no longer
serve or somebody asks for it, so that the same cloud has the same certificates at every plan. A new
authority is signed by the one before it, too: who trusts only that goes on to trust the instances.
"""

import collections.abc
import dataclasses
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY = "authority_certificate"
AUTHORITY_KEY = "authority_key"
# The authority before, and the present one's certificate as signed by it.
_BEFORE = "authority_before_certificate"
_BRIDGE = "authority_bridge_certificate"

_INSTANCE = "certificate_"

_AUTHORITY_DAYS = 3650
_INSTANCE_DAYS = 365
_RENEW_DAYS = 30
# X.509 allows a common name no more characters.
_LONGEST_NAME = 64
# Clocks differ: what is made now is good a little earlier, too.
_SKEW = datetime.timedelta(hours=1)

Secrets = collections.abc.Mapping[str, str]
# The addresses at which each instance of a cloud is reached, and names that it has elsewhere.
Reached = collections.abc.Mapping[str, collections.abc.Sequence[str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Certificate:
    """What is told of a certificate; ``name`` is whose it is, ``until`` is when it ends."""

    name: str
    serial: str
    until: datetime.datetime


def of(instance: str) -> str:
    """The name of the secret that is an instance's certificate.

    It, what a client needs beside its authority, and its private key, in this order: PEM.
    """
    return f"{_INSTANCE}{instance}"


def host_name(cloud: str, instance: str) -> str:
    """The name in an instance's certificate: no name service knows it, but HAProxy checks it."""
    return f"{instance}.{cloud}"


def common_name(cloud: str, instance: str) -> str:
    """What an instance's certificate calls it, where who asks is known by that and no address."""
    return host_name(cloud, instance)[:_LONGEST_NAME]


def renewed(
    known: Secrets,
    cloud: str,
    instances: Reached,
    now: datetime.datetime,
    anew: collections.abc.Collection[str] = (),
) -> dict[str, str]:
    """A cloud's secrets with certificates that serve: the known ones, else new ones.

    Those of instances that the cloud has no longer are left out. ``anew`` are those (``AUTHORITY``,
    ``of(instance)``) that are made in any case. A new authority makes all others new, too.
    """
    wanted = {of(name) for name in instances}
    secrets = {
        name: value
        for name, value in known.items()
        if name in wanted or not name.startswith(_INSTANCE)
    }
    if AUTHORITY in anew or not _authority_serves(secrets, now):
        secrets = _without_overlap(secrets) | _new_authority(secrets, cloud, now)
    stale = [
        name
        for name, addresses in instances.items()
        if of(name) in anew or not _serves(secrets, of(name), _names(cloud, name, addresses), now)
    ]
    if stale and _BRIDGE in secrets and _read(secrets[_BRIDGE]).not_valid_after_utc <= now:
        secrets = _without_overlap(secrets)
    made = {of(name): _new(secrets, cloud, name, instances[name], now) for name in stale}
    return secrets | made


def trusted(secrets: Secrets) -> str | None:
    """The authorities that a client of the cloud is to trust, if it has one: PEM."""
    found = [secrets[name] for name in (AUTHORITY, _BEFORE) if name in secrets]
    return "".join(found) or None


def described(secrets: Secrets) -> tuple[Certificate, ...]:
    """The certificates among a cloud's secrets: the authority's, and then the instances'."""
    titles = {AUTHORITY: "authority"} | {
        name: name.removeprefix(_INSTANCE) for name in sorted(secrets) if name.startswith(_INSTANCE)
    }
    return tuple(
        Certificate(title, f"{found.serial_number:X}", found.not_valid_after_utc)
        for name, title in titles.items()
        if name in secrets
        for found in [_read(secrets[name])]
    )


def ending(
    certificates: collections.abc.Iterable[Certificate], now: datetime.datetime
) -> list[str]:
    """Those that should be renewed now, in words."""
    return [
        f"the certificate of {one.name} {_ends(one, now)}"
        for one in certificates
        if one.until <= now + _days(_RENEW_DAYS)
    ]


def _ends(certificate: Certificate, now: datetime.datetime) -> str:
    if certificate.until <= now:
        return f"ended on {certificate.until:%Y-%m-%d}"
    days = (certificate.until - now).days
    return f"ends on {certificate.until:%Y-%m-%d}, in {days} day{'s' if days != 1 else ''}"


def _without_overlap(secrets: Secrets) -> dict[str, str]:
    return {name: value for name, value in secrets.items() if name not in (_BEFORE, _BRIDGE)}


def _authority_serves(secrets: Secrets, now: datetime.datetime) -> bool:
    if AUTHORITY not in secrets or AUTHORITY_KEY not in secrets:
        return False
    return _lasts(_read(secrets[AUTHORITY]), now)


def _serves(
    secrets: Secrets,
    which: str,
    wanted: collections.abc.Sequence[x509.GeneralName],
    now: datetime.datetime,
) -> bool:
    if which not in secrets:
        return False
    certificate = _read(secrets[which])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    authority = _read(secrets[AUTHORITY])
    return (
        set(names) == set(wanted)
        and _lasts(certificate, now)
        and _key_identifier(authority) == _issuer_identifier(certificate)
    )


def _lasts(certificate: x509.Certificate, now: datetime.datetime) -> bool:
    return certificate.not_valid_after_utc > now + _days(_RENEW_DAYS)


def _key_identifier(certificate: x509.Certificate) -> bytes:
    return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest


def _issuer_identifier(certificate: x509.Certificate) -> bytes | None:
    found = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    return found.value.key_identifier


def _new_authority(known: Secrets, cloud: str, now: datetime.datetime) -> dict[str, str]:
    """A new authority, and where there is one that lasts, what makes its clients trust the new."""
    key = _new_key()
    # No two have one name, or the one would pass for signed by itself; 64 characters at most.
    name = _name(f"{cloud} authority {now:%Y-%m-%dT%H:%M:%SZ}")
    until = now + _days(_AUTHORITY_DAYS)
    # Deep enough to sign the next authority.
    certificate = _authority(name, key.public_key(), name, key, (now, until), below=1)
    made = {AUTHORITY: _pem(certificate), AUTHORITY_KEY: _key_pem(key)}
    if AUTHORITY in known and AUTHORITY_KEY in known:
        before = _read(known[AUTHORITY])
        if before.not_valid_after_utc > now:
            life = now, min(until, before.not_valid_after_utc)
            signer = _signer(known)
            bridge = _authority(name, key.public_key(), before.subject, signer, life, below=0)
            made |= {_BEFORE: known[AUTHORITY], _BRIDGE: _pem(bridge)}
    return made


def _authority(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    life: tuple[datetime.datetime, datetime.datetime],
    below: int,
) -> x509.Certificate:
    """The certificate of an authority with this many of others ``below`` it."""
    return (
        _builder(subject, issuer, key, *life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issued_by(signer), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _new(
    secrets: Secrets,
    cloud: str,
    instance: str,
    addresses: collections.abc.Sequence[str],
    now: datetime.datetime,
) -> str:
    authority = _read(secrets[AUTHORITY])
    signer = _signer(secrets)
    key = _new_key()
    until = min(now + _days(_INSTANCE_DAYS), authority.not_valid_after_utc)
    name = host_name(cloud, instance)
    names = _names(cloud, instance, addresses)
    # A client's, too: machines' screens are shown to those alone who have one of the cloud.
    ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        # At most 64 characters; whoever checks a name looks at the other names.
        _builder(_name(name[:_LONGEST_NAME]), authority.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # Were it critical, QEMU would want a usage that is not for elliptic curves.
        .add_extension(_usage(signs_certificates=False), critical=False)
        .add_extension(x509.ExtendedKeyUsage(ends), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_issued_by(signer), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _pem(certificate) + secrets.get(_BRIDGE, "") + _key_pem(key)


def _names(
    cloud: str, instance: str, addresses: collections.abc.Sequence[str]
) -> list[x509.GeneralName]:
    """All that an instance's certificate is for."""
    return [x509.DNSName(host_name(cloud, instance)), *map(_general_name, addresses)]


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _signer(secrets: Secrets) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(secrets[AUTHORITY_KEY].encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "the authority's key is one of ours"
    return key


def _issued_by(signer: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())


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
