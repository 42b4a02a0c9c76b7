"""What an instance cannot do: reach the undercloud's inside, read others' secrets, be root outside."""

import functools
import json
import shlex

import pytest
import requests

from altostratus import credentials
from tests.e2e import clouds

pytestmark = [pytest.mark.usefixtures("deployed"), pytest.mark.turn("isolation")]

INSTANCES = ("database", "identity", "images")
UNDERCLOUD = ("192.168.24.1", "192.168.23.2")
OPEN = ("192.168.24.1:5000", "192.168.24.1:8004", "169.254.169.254:80")
# MariaDB, RabbitMQ and its port mapper, OVSDB, OpenFlow, libvirt, Docker, the registry, ssh, the other APIs.
CLOSED_PORTS = (3306, 5672, 25672, 4369, 6640, 6633, 16509, 16514, 2375, 2376, 5005, 22)
CLOSED_APIS = (9292, 8774, 8775, 8778, 9696)
PORTS = (22, 3306, 5000, 9292)
LETS_IN = {
    "database": {"control": {22}, "internal_api": {3306}},
    "identity": {"control": {22, 5000}, "internal_api": {5000}},
    "images": {"control": {22, 9292}, "internal_api": {9292}},
}

PROBE = """
import concurrent.futures, json, socket, sys
def answers(place):
    host, port = place.split(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        return True
    except OSError:
        return False
places = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
    print(json.dumps(dict(zip(places, pool.map(answers, places)))))
"""

ASK_DATABASE = """
import configparser, pymysql, sqlalchemy
config = configparser.ConfigParser(interpolation=None, strict=False)
config.read("/etc/glance/glance-api.conf")
url = sqlalchemy.make_url(config["database"]["connection"])
def ask(**ssl):
    try:
        link = pymysql.connect(host=url.host, user=url.username, password=url.password, **ssl)
        with link.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            print(cursor.fetchone()[1])
    except pymysql.err.OperationalError as error:
        print(error)
ask(ssl_disabled=True)
ask(ssl={"ca": url.query["ssl_ca"]})
ask(ssl={"ca": "/etc/ssl/certs/ca-certificates.crt"})
"""


@pytest.mark.parametrize("instance", INSTANCES)
def test_instance_reaches_only_identity_orchestration_and_metadata(instance: str) -> None:
    closed = [f"{host}:{port}" for host in UNDERCLOUD for port in (*CLOSED_PORTS, *CLOSED_APIS)] + [
        "192.168.23.1:22"
    ]
    found = json.loads(
        clouds.in_instance(instance, f"python3 -c '{PROBE}'", stdin=json.dumps([*OPEN, *closed]))
    )
    assert {place for place, answers in found.items() if answers} == set(OPEN)


@pytest.mark.parametrize("source", INSTANCES)
def test_instance_lets_in_what_its_services_are_for(source: str) -> None:
    others = [one for one in clouds.status()["instances"] if one["name"] != source]
    addresses = {(one["name"], name): at for one in others for name, at in one["addresses"].items()}
    places = [f"{address}:{port}" for address in addresses.values() for port in PORTS]
    found = json.loads(
        clouds.in_instance(source, f"python3 -c '{PROBE}'", stdin=json.dumps(places))
    )
    assert {place for place, answers in found.items() if answers} == {
        f"{addresses[name, network]}:{port}"
        for (name, network) in addresses
        for port in LETS_IN[name][network]
    }


def test_the_undercloud_is_asked_by_tls_alone() -> None:
    entry = credentials.read("undercloud")
    assert entry is not None
    endpoints = clouds.openstack("undercloud", "endpoint", "list", "--interface", "public")
    urls = [entry["auth"]["auth_url"], *(one["URL"].split("%")[0] for one in endpoints)]
    for url in urls:
        assert requests.get(url, timeout=30, verify=entry["cacert"]).status_code < 500, url
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url, timeout=30, verify=requests.certs.where())
        with pytest.raises(requests.exceptions.ConnectionError):
            requests.get(url.replace("https:", "http:"), timeout=30)


@pytest.mark.parametrize("name", ["keystone", "glance"])
def test_services_are_asked_by_tls_alone(name: str) -> None:
    entry = credentials.read("overcloud")
    assert entry is not None
    root = "/".join(clouds.status()["endpoints"][name].split("/")[:3])
    assert requests.get(root, timeout=30, verify=entry["cacert"]).status_code < 500
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(root, timeout=30, verify=requests.certs.where())
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(root.replace("https:", "http:"), timeout=30)


def test_database_refuses_who_speaks_in_clear() -> None:
    """And lets the same user in by TLS, who trusts the cloud's authority alone."""
    script = "/opt/openstack/bin/python -c " + shlex.quote(ASK_DATABASE)
    clear, trusted, distrusted = clouds.in_instance("images", script).splitlines()
    assert "Access denied" in clear or "insecure transport" in clear
    assert trusted.startswith("TLS_")
    assert "certificate verify failed" in distrusted


@pytest.mark.parametrize("instance", INSTANCES)
def test_instance_asks_the_undercloud_by_tls(instance: str) -> None:
    asked = clouds.in_instance(instance, "grep ^auth_url /etc/os-collect-config.conf")
    assert "= https://192.168.24.1:5000/" in asked


@pytest.mark.parametrize("instance", INSTANCES)
def test_only_root_reaches_the_metadata_service(instance: str) -> None:
    metadata = json.dumps(["169.254.169.254:80"])
    as_nobody = f"runuser -u nobody -- python3 -c '{PROBE}'"
    assert json.loads(clouds.in_instance(instance, as_nobody, stdin=metadata)) == {
        "169.254.169.254:80": False
    }


@pytest.mark.parametrize("socket", ["/var/run/docker.sock", "/run/libvirt/libvirt-sock"])
@pytest.mark.parametrize("instance", INSTANCES)
def test_instance_has_no_hypervisors_socket(instance: str, socket: str) -> None:
    assert clouds.in_instance(instance, f"test -e {socket} || echo absent") == "absent\n"


def test_docker_instance_has_few_capabilities_and_a_filter() -> None:
    status = process_status("identity")
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    forbidden = {"SYS_ADMIN": 21, "SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PTRACE": 19, "MKNOD": 27}
    held = int(status["CapBnd"], 16)
    assert [name for name, bit in forbidden.items() if held >> bit & 1] == []


@pytest.mark.parametrize(
    ("instance", "base"), [("database", "1000000"), ("identity", "2000000"), ("images", "2000000")]
)
def test_instances_root_is_nobody_outside(instance: str, base: str) -> None:
    mapped = clouds.in_instance(instance, "cat /proc/self/uid_map").split()
    assert mapped == ["0", base, "65536"]


@pytest.mark.parametrize("instance", INSTANCES)
def test_instance_mounts_give_no_power(instance: str) -> None:
    lines = clouds.in_instance(instance, "cat /proc/mounts").splitlines()
    options = {place: set(words.split(",")) for _, place, _, words, *_ in map(str.split, lines)}
    assert {"rw", "nosuid", "nodev"} <= options["/mnt/state"]
    assert "ro" in options["/var/lib/cloud/seed/config_drive"]


@pytest.mark.parametrize("instance", INSTANCES)
def test_files_belong_to_the_instances_users(instance: str) -> None:
    """Shifting ids must neither give files to nobody nor take their setuid bits."""
    stat = clouds.in_instance(instance, "stat -c '%a %U' /usr/bin/passwd /mnt/state /root")
    assert stat.splitlines()[0] == "4755 root"
    assert {line.split()[1] for line in stat.splitlines()} == {"root"}


def test_no_secret_is_readable_in_another_instance() -> None:
    secrets = secrets_of_instances()
    for instance in INSTANCES:
        others = {
            secret
            for other, found in secrets.items()
            if other != instance
            for secret in found
            if secret not in secrets[instance]
        }
        assert others
        script = "grep -rIlFf /dev/stdin /etc /run /var /mnt/state /root 2>/dev/null || true"
        assert clouds.in_instance(instance, script, stdin="\n".join(others)) == ""


def test_heats_database_holds_no_secret_in_clear() -> None:
    dump = clouds.in_undercloud("mariadb-dump", "heat")
    assert "sealed" in dump
    secrets = {secret for found in secrets_of_instances().values() for secret in found}
    assert [secret for secret in secrets if secret in dump] == []


def test_secrets_are_in_no_process_list_and_no_journal() -> None:
    metadata = clouds.undercloud_metadata()
    secrets = {metadata["keystone"]["admin_password"], metadata["registry"]["password"]}
    secrets |= {metadata[name]["password"] for name in ("glance", "nova", "neutron", "heat")}
    secrets |= {secret for found in secrets_of_instances().values() for secret in found}
    seen = clouds.in_undercloud("ps", "axww", "-o", "args")
    seen += clouds.in_undercloud("journalctl", "--boot", "--no-pager", "--output=cat")
    assert [secret for secret in secrets if secret in seen] == []


def process_status(instance: str) -> dict[str, str]:
    """What the kernel says of an instance's init."""
    lines = clouds.in_instance(instance, "cat /proc/1/status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@functools.cache
def secrets_of_instances() -> dict[str, frozenset[str]]:
    """The secrets that each instance was given, as it unsealed them."""
    return {instance: clouds.secrets_of(instance) for instance in INSTANCES}
