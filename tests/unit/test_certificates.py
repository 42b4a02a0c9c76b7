"""The certificates of a cloud: a client that knows its authority trusts them, while they last."""

import collections.abc
import datetime
import ipaddress
import pathlib
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

from altostratus import certificates

_NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
_ADDRESSES = ("192.168.24.20", "172.16.2.10")
_FRONT = certificates.of("front")


def _days(number: int) -> datetime.timedelta:
    return datetime.timedelta(days=number)


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    return certificates.renewed({"admin_password": "kept"}, "demo", {"front": _ADDRESSES}, _NOW)


def _read(secrets: dict[str, str], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(secrets[name].encode())


def _anew(secrets: dict[str, str], *names: str, later: int = 1) -> dict[str, str]:
    return certificates.renewed(secrets, "demo", {"front": _ADDRESSES}, _NOW + _days(later), names)


def _verify(secrets: dict[str, str], address: str, now: datetime.datetime = _NOW) -> None:
    store = verification.Store([_read(secrets, certificates.AUTHORITY)])
    subject = x509.IPAddress(ipaddress.ip_address(address))
    verifier = verification.PolicyBuilder().store(store).time(now).build_server_verifier(subject)
    verifier.verify(_read(secrets, _FRONT), [])


def test_other_secrets_are_kept(secrets: dict[str, str]) -> None:
    assert secrets["admin_password"] == "kept"


@pytest.mark.parametrize("address", _ADDRESSES)
def test_the_front_is_trusted_at_each_of_its_addresses(
    secrets: dict[str, str], address: str
) -> None:
    _verify(secrets, address)


def test_the_front_is_not_trusted_at_another_address(secrets: dict[str, str]) -> None:
    with pytest.raises(verification.VerificationError):
        _verify(secrets, "192.168.24.21")


def test_another_clouds_authority_does_not_trust_the_front(secrets: dict[str, str]) -> None:
    other = certificates.renewed({}, "demo", {"front": _ADDRESSES}, _NOW)
    with pytest.raises(verification.VerificationError):
        _verify(other | {_FRONT: secrets[_FRONT]}, _ADDRESSES[0])


def test_the_key_beside_the_fronts_certificate_is_its_own(secrets: dict[str, str]) -> None:
    key = serialization.load_pem_private_key(secrets[_FRONT].encode(), None)
    assert key.public_key() == _read(secrets, _FRONT).public_key()


@pytest.mark.parametrize("later", [0, 1, 334])
def test_what_serves_is_kept(secrets: dict[str, str], later: int) -> None:
    backwards = tuple(reversed(_ADDRESSES))
    assert (
        certificates.renewed(secrets, "demo", {"front": backwards}, _NOW + _days(later)) == secrets
    )


@pytest.mark.parametrize(
    ("addresses", "later"),
    [
        (_ADDRESSES, 336),
        (_ADDRESSES, 1000),
        (_ADDRESSES[:1], 0),
        (("192.168.24.21", *_ADDRESSES), 0),
    ],
)
def test_a_front_that_no_longer_serves_gets_a_new_certificate_of_the_same_authority(
    secrets: dict[str, str], addresses: tuple[str, ...], later: int
) -> None:
    new = certificates.renewed(secrets, "demo", {"front": addresses}, _NOW + _days(later))
    changed = {name for name in new if new[name] != secrets[name]}
    assert changed == {_FRONT}
    _verify(new, addresses[0], _NOW + _days(later + 30))


def test_an_authority_that_ends_is_replaced_together_with_what_it_signed(
    secrets: dict[str, str],
) -> None:
    later = _NOW + _days(3650 - 29)
    new = certificates.renewed(secrets, "demo", {"front": _ADDRESSES}, later)
    changed = {name for name in secrets if new[name] != secrets[name]}
    assert changed == {certificates.AUTHORITY, certificates.AUTHORITY_KEY, _FRONT}
    _verify(new, _ADDRESSES[0], later)


def test_no_certificate_outlasts_its_authority(secrets: dict[str, str]) -> None:
    new = certificates.renewed(secrets, "demo", {"front": _ADDRESSES}, _NOW + _days(3600))
    authority, front = (_read(new, name) for name in (certificates.AUTHORITY, _FRONT))
    assert front.not_valid_after_utc == authority.not_valid_after_utc


def test_a_front_is_renewed_when_it_is_asked_for(secrets: dict[str, str]) -> None:
    new = _anew(secrets, _FRONT)
    assert {name for name in new if new[name] != secrets[name]} == {_FRONT}
    _verify(new, _ADDRESSES[0], _NOW + _days(1))
    serials = [certificates.described(one)[1].serial for one in (secrets, new)]
    assert serials[0] != serials[1]
    assert certificates.trusted(new) == secrets[certificates.AUTHORITY]


def _handshake(trusted: str | None, secrets: dict[str, str], folder: pathlib.Path) -> None:
    """Let a client that trusts this speak with the front, as OpenSSL does it."""
    file = folder / "front.pem"
    file.write_text(secrets[_FRONT])
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(file)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.verify_flags |= ssl.VERIFY_X509_STRICT
    client_side.load_verify_locations(cadata=trusted)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(back, there, server_hostname=_ADDRESSES[0])
    server = server_side.wrap_bio(there, back, server_side=True)
    for _ in range(2):
        for one in (client, server):
            try:
                one.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.version() is not None


@pytest.fixture
def today() -> collections.abc.Iterator[dict[str, str]]:
    """Certificates that last now: OpenSSL knows the time."""
    yield certificates.renewed(
        {}, "demo", {"front": _ADDRESSES}, datetime.datetime.now(datetime.UTC)
    )


def _anew_today(secrets: dict[str, str], *names: str) -> dict[str, str]:
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=5)
    return certificates.renewed(secrets, "demo", {"front": _ADDRESSES}, later, names)


def test_clients_of_both_authorities_trust_the_front_of_the_new_one(
    today: dict[str, str], tmp_path: pathlib.Path
) -> None:
    new = _anew_today(today, certificates.AUTHORITY)
    assert new[certificates.AUTHORITY] != today[certificates.AUTHORITY]
    _handshake(today[certificates.AUTHORITY], new, tmp_path)
    _handshake(new[certificates.AUTHORITY], new, tmp_path)
    _handshake(certificates.trusted(new), new, tmp_path)
    # Told of the new authority early, a client still trusts what the front shows until then.
    _handshake(certificates.trusted(new), today, tmp_path)
    again = _anew_today(new, _FRONT)
    _handshake(today[certificates.AUTHORITY], again, tmp_path)


def test_an_authority_renewed_twice_is_no_longer_trusted(
    today: dict[str, str], tmp_path: pathlib.Path
) -> None:
    once = _anew_today(today, certificates.AUTHORITY)
    twice = _anew_today(once, certificates.AUTHORITY)
    _handshake(once[certificates.AUTHORITY], twice, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(today[certificates.AUTHORITY], twice, tmp_path)
    assert today[certificates.AUTHORITY] not in (certificates.trusted(twice) or "")


def test_an_authority_that_ended_is_not_trusted_through_the_next(
    secrets: dict[str, str],
) -> None:
    new = _anew(secrets, later=3651)
    assert certificates.trusted(new) == new[certificates.AUTHORITY]
    assert new[_FRONT].count("BEGIN CERTIFICATE") == 1


def test_an_overlap_ends_with_the_authority_before(secrets: dict[str, str]) -> None:
    new = _anew(secrets, certificates.AUTHORITY, later=3600)
    assert new[_FRONT].count("BEGIN CERTIFICATE") == 2
    later = _anew(new, later=3600 + 340)
    assert later[_FRONT].count("BEGIN CERTIFICATE") == 1
    assert certificates.trusted(later) == new[certificates.AUTHORITY]


@pytest.mark.parametrize(
    ("later", "words"),
    [
        (0, []),
        (334, []),
        (335, ["the certificate of front ends on 2027-11-23, in 30 days"]),
        (364, ["the certificate of front ends on 2027-11-23, in 1 day"]),
        (365, ["the certificate of front ended on 2027-11-23"]),
    ],
)
def test_certificates_that_end_within_30_days_are_named(
    secrets: dict[str, str], later: int, words: list[str]
) -> None:
    assert certificates.ending(certificates.described(secrets), _NOW + _days(later)) == words


def test_the_longest_name_of_a_cloud_fits() -> None:
    certificates.renewed({}, "a" * 32, {"b" * 63: _ADDRESSES}, _NOW)


def test_a_certificate_is_for_names_of_others_too(secrets: dict[str, str]) -> None:
    reached = {"front": (*_ADDRESSES, "cloud.example.org")}
    named = certificates.renewed(secrets, "demo", reached, _NOW)
    assert {name for name in named if named[name] != secrets[name]} == {_FRONT}
    names = _read(named, _FRONT).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["front.demo", "cloud.example.org"]
    assert certificates.renewed(named, "demo", reached, _NOW) == named
    assert certificates.renewed(named, "demo", {"front": _ADDRESSES}, _NOW)[_FRONT] != named[_FRONT]
