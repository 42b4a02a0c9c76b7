"""The whole control plane: each service in an instance of its own, and all of them in one."""

import collections.abc
import contextlib
import json
import pathlib
import shlex
import ssl
import threading
import urllib.parse

import pytest
import requests
from cryptography import x509
from selenium.webdriver.common.by import By

from altostratus import certificates, credentials, services, survey
from tests.e2e import browser, clouds, memory

pytestmark = pytest.mark.usefixtures("deployed")

EXAMPLES = clouds.ROOT / "examples"
SCREENSHOTS = clouds.ROOT / "build" / "screenshots"
LARGEST_BASE_MIB = 40
SERVICES = {
    "keystone",
    "glance",
    "placement",
    "nova",
    "neutron",
    "heat",
}

# By the name and by the address of each place.
SHAKE_HANDS = """
import json, socket, ssl, sys
trusted = ssl.create_default_context(cafile="/etc/ssl/instance/authority.pem")
def shake(place, name):
    host, port = place.split(":")
    try:
        for known in (host, name):
            with socket.create_connection((host, int(port)), 10) as link:
                with trusted.wrap_socket(link, server_hostname=known) as secure:
                    version = secure.version()
        return version
    except OSError as error:
        return str(error)
places = json.load(sys.stdin)
print(json.dumps({place: shake(place, name) for place, name in places.items()}))
"""


@pytest.mark.parametrize(
    ("example", "instances", "names"),
    [
        pytest.param("isolated", 11, SERVICES, marks=pytest.mark.turn("isolated")),
        pytest.param("combined", 1, SERVICES | {"barbican"}, marks=pytest.mark.turn("combined")),
    ],
)
def test_control_plane_works(example: str, instances: int, names: set[str]) -> None:
    file = str(EXAMPLES / f"{example}.yaml")
    clouds.altostratus("overcloud", "delete")
    # Not only the overcloud: it takes more of one hypervisor than an even share.
    clouds.altostratus("devtest", file, timeout_s=clouds.DEPLOY_S)
    found = clouds.status(file)
    assert len(found["instances"]) == instances
    assert set(found["endpoints"]) == {*names, "horizon"}
    clouds.altostratus("overcloud", "verify", file)
    catalogue = clouds.openstack("overcloud", "catalog", "list")
    assert {one["Name"] for one in catalogue} == names
    again = clouds.altostratus("overcloud", "deploy", file)
    assert "Nothing to do" in again.stdout


@pytest.mark.turn("isolated")
def test_users_reach_services_at_the_front_alone() -> None:
    found = clouds.status(str(EXAMPLES / "isolated.yaml"))
    addresses = {one["name"]: one["addresses"]["control"] for one in found["instances"]}
    front = next(
        one["addresses"]["external"] for one in found["instances"] if one["name"] == "front"
    )
    places = [urllib.parse.urlsplit(url) for url in found["endpoints"].values()]
    assert {(place.scheme, place.hostname) for place in places} == {("https", front)}
    reached = [
        (name, place.port)
        for name, address in addresses.items()
        for place in places
        if survey.answers(address, place.port, timeout_s=1)
    ]
    assert reached == []


@pytest.mark.turn("isolated")
def test_only_the_clouds_own_authority_is_trusted_at_the_front() -> None:
    entry = credentials.read("overcloud")
    assert entry is not None
    url = entry["auth"]["auth_url"]
    assert requests.get(url, timeout=10, verify=entry["cacert"]).ok
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(url, timeout=10, verify=requests.certs.where())


@pytest.mark.turn("isolated")
def test_services_show_one_another_certificates_of_the_clouds_authority() -> None:
    """At each port where services speak to one another, but for the database's: it speaks in
    clear until it has said that it can do TLS (tests/e2e/test_2_isolation.py)."""
    found = clouds.status(str(EXAMPLES / "isolated.yaml"))["instances"]
    places = {
        f"{one['addresses']['internal_api']}:{port}": certificates.host_name("demo", one["name"])
        for one in found
        for name in one["services"]
        for port in services.get(name).ports
        if name != "mariadb"
    }
    assert len(places) > len(SERVICES)
    script = "/usr/bin/python3 -c " + shlex.quote(SHAKE_HANDS)
    answers = json.loads(clouds.in_instance("front", script, stdin=json.dumps(places)))
    assert answers == dict.fromkeys(places, "TLSv1.3")


@pytest.mark.turn("isolated")
def test_dashboard_lets_a_browser_in() -> None:
    entry = credentials.read("overcloud")
    assert entry is not None
    url = clouds.status(str(EXAMPLES / "isolated.yaml"))["endpoints"]["horizon"]
    username, password = entry["auth"]["username"], entry["auth"]["password"]
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with browser.opened(credentials.trusted(entry) or "") as chromium:
        browser.log_in(chromium, url, username, "guessed")
        assert "Invalid credentials" in browser.text_of(chromium, ".alert-danger, .errorlist")
        chromium.save_screenshot(str(SCREENSHOTS / "horizon-refuses.png"))
        browser.log_in(chromium, url, username, password)
        assert "Overview" in browser.text_of(chromium, ".page-header")
        assert username in browser.text_of(chromium, ".navbar-right")
        assert browser.missing(chromium) == []
        chromium.save_screenshot(str(SCREENSHOTS / "horizon-overview.png"))


@pytest.mark.turn("isolated")
def test_browser_that_knows_no_authority_shows_no_dashboard() -> None:
    url = clouds.status(str(EXAMPLES / "isolated.yaml"))["endpoints"]["horizon"]
    with browser.opened(authority="") as chromium:
        chromium.get(url)
        assert "ERR_CERT_AUTHORITY_INVALID" in chromium.page_source
        assert chromium.find_elements(By.NAME, "password") == []


@pytest.mark.turn("isolated")
def test_services_have_accounts_of_their_own() -> None:
    """Neither RabbitMQ's instance nor another service's lets one in with what is not its own."""
    users = clouds.in_instance("messaging", "rabbitmqctl -q list_permissions -p nova")
    assert [line.split()[0] for line in users.splitlines()[1:]] == ["nova"]
    names = clouds.in_instance("messaging", "rabbitmqctl -q list_users --no-table-headers")
    assert {line.split()[0] for line in names.splitlines()} == {"nova", "neutron", "heat"}
    grants = clouds.in_instance(
        "database", "mariadb -N -e 'SELECT DISTINCT User, Db FROM mysql.db ORDER BY 1, 2'"
    )
    assert {tuple(line.split()) for line in grants.splitlines()} == {
        ("glance", "glance"),
        ("heat", "heat"),
        ("keystone", "keystone"),
        ("neutron", "neutron"),
        ("nova", "nova"),
        ("nova", "nova_api"),
        ("nova", "nova_cell0"),
        ("placement", "placement"),
    }


@pytest.mark.turn("isolated")
@pytest.mark.parametrize("instance", ["placement", "orchestration", "network-api", "compute-api"])
def test_instance_holds_only_its_own_secrets(instance: str) -> None:
    own = clouds.secrets_of(instance)
    others = {
        secret
        for one in clouds.status(str(EXAMPLES / "isolated.yaml"))["instances"]
        if one["name"] != instance
        for secret in clouds.secrets_of(one["name"]) - own
    }
    assert others
    script = "grep -rIlFf /dev/stdin /etc /run /var /mnt/state /root 2>/dev/null || true"
    assert clouds.in_instance(instance, script, stdin="\n".join(others)) == ""


@pytest.mark.turn("isolated")
def test_memory_of_an_instance_beside_its_service() -> None:
    taken = memory.beside_services(str(EXAMPLES / "isolated.yaml"))
    assert max(taken.values()) <= LARGEST_BASE_MIB, json.dumps(taken)


@pytest.mark.turn("renewal")
@pytest.mark.parametrize("options", [(), ("--authority",)], ids=["front", "authority"])
def test_certificate_is_renewed_while_requests_go_on(
    options: tuple[str, ...], tmp_path: pathlib.Path
) -> None:
    """Seen by clients that know no more than the authority of before."""
    file = str(EXAMPLES / "isolated.yaml")
    clouds.have_deployed(file)
    entry = credentials.read("overcloud")
    assert entry is not None
    known = tmp_path / "ca.pem"
    known.write_text(credentials.trusted(entry) or "")
    url = entry["auth"]["auth_url"]
    before = _serial_shown(url)
    with _asking(url, known) as (answered, failed):
        clouds.altostratus("overcloud", "renew", file, *options, timeout_s=clouds.DEPLOY_S)
        shown = _serial_shown(url)
    assert failed == []
    assert min(answered.values()) > 100
    told = {one["name"]: one["serial"] for one in clouds.status(file)["certificates"]}
    assert shown == told["front"] != before
    assert requests.get(url, timeout=10, verify=entry["cacert"]).ok
    assert "Nothing to do" in clouds.altostratus("overcloud", "deploy", file).stdout


@pytest.mark.turn("isolated")
def test_only_root_reads_the_key_of_the_front() -> None:
    assert clouds.in_instance("front", "stat -c %a:%U /etc/haproxy/front.pem") == "600:root\n"
    script = (
        "{ journalctl; ps -eww -o args; cat /run/altostratus/refresh.log; } > /run/told;"
        " grep -cFf /dev/stdin /run/told || true; rm /run/told"
    )
    secrets = "\n".join(clouds.secrets_of("front"))
    assert clouds.in_instance("front", script, stdin=secrets) == "0\n"


def _serial_shown(url: str) -> str:
    place = urllib.parse.urlsplit(url)
    assert place.hostname is not None
    shown = ssl.get_server_certificate((place.hostname, place.port or 443))
    return f"{x509.load_pem_x509_certificate(shown.encode()).serial_number:X}"


@contextlib.contextmanager
def _asking(
    url: str, authority: pathlib.Path
) -> collections.abc.Iterator[tuple[dict[str, int], list[str]]]:
    """Ask without a pause, each time anew and over a connection that is kept: how many answers
    there were, and what failed."""
    answered = {"anew": 0, "kept": 0}
    failed: list[str] = []
    done = threading.Event()

    def ask(kind: str) -> None:
        kept = requests.Session()
        while not done.is_set():
            try:
                get = kept.get if kind == "kept" else requests.get
                get(url, timeout=30, verify=str(authority)).raise_for_status()
                answered[kind] += 1
            except requests.RequestException as exc:
                failed.append(f"{kind}: {exc}")

    threads = [threading.Thread(target=ask, args=(kind,)) for kind in answered]
    for thread in threads:
        thread.start()
    try:
        yield answered, failed
    finally:
        done.set()
        for thread in threads:
            thread.join()
