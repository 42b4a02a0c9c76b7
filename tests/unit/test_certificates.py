"""The certificates of an overcloud: a client that knows its authority trusts them, while they last."""

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

from altostratus import certificates

_NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
_ADDRESSES = ("192.168.24.20", "172.16.2.10")


def _days(number: int) -> datetime.timedelta:
    return datetime.timedelta(days=number)


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    return certificates.renewed({"admin_password": "kept"}, "demo", _ADDRESSES, _NOW)


def _read(secrets: dict[str, str], name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(secrets[name].encode())


def _verify(secrets: dict[str, str], address: str, now: datetime.datetime = _NOW) -> None:
    store = verification.Store([_read(secrets, certificates.AUTHORITY)])
    subject = x509.IPAddress(ipaddress.ip_address(address))
    verifier = verification.PolicyBuilder().store(store).time(now).build_server_verifier(subject)
    verifier.verify(_read(secrets, certificates.FRONT), [])


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
    other = certificates.renewed({}, "demo", _ADDRESSES, _NOW)
    with pytest.raises(verification.VerificationError):
        _verify(other | {certificates.FRONT: secrets[certificates.FRONT]}, _ADDRESSES[0])


def test_the_key_beside_the_fronts_certificate_is_its_own(secrets: dict[str, str]) -> None:
    key = serialization.load_pem_private_key(secrets[certificates.FRONT].encode(), None)
    assert key.public_key() == _read(secrets, certificates.FRONT).public_key()


@pytest.mark.parametrize("later", [0, 1, 334])
def test_what_serves_is_kept(secrets: dict[str, str], later: int) -> None:
    backwards = tuple(reversed(_ADDRESSES))
    assert certificates.renewed(secrets, "demo", backwards, _NOW + _days(later)) == secrets


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
    new = certificates.renewed(secrets, "demo", addresses, _NOW + _days(later))
    changed = {name for name in new if new[name] != secrets[name]}
    assert changed == {certificates.FRONT}
    _verify(new, addresses[0], _NOW + _days(later + 30))


def test_an_authority_that_ends_is_replaced_together_with_what_it_signed(
    secrets: dict[str, str],
) -> None:
    later = _NOW + _days(3650 - 29)
    new = certificates.renewed(secrets, "demo", _ADDRESSES, later)
    changed = {name for name in new if new[name] != secrets[name]}
    assert changed == {certificates.AUTHORITY, certificates.AUTHORITY_KEY, certificates.FRONT}
    _verify(new, _ADDRESSES[0], later)


def test_no_certificate_outlasts_its_authority(secrets: dict[str, str]) -> None:
    new = certificates.renewed(secrets, "demo", _ADDRESSES, _NOW + _days(3600))
    authority, front = (_read(new, name) for name in (certificates.AUTHORITY, certificates.FRONT))
    assert front.not_valid_after_utc == authority.not_valid_after_utc
