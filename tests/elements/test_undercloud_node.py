"""The files of a further node, and of an undercloud that has one, as their metadata renders them."""

import configparser
import ipaddress
import json
import pathlib
import shutil

import pytest
from diskimage_builder import element_dependencies
from os_apply_config import apply_config

from altostratus import certificates, hypervisors, metadata, model, nodes
from altostratus.model import Hypervisor, Site, Undercloud

# It leaves the templates that it has read for Python to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*/templates/:ResourceWarning")

ELEMENTS = pathlib.Path(__file__).parents[2] / "elements"
FRONT = "192.168.24.1"
_SHARES = hypervisors.shares(24000, 60, 2, {})
THERE = nodes.added(
    Undercloud(_SHARES),
    "second",
    nodes.Asked((Hypervisor("docker"), Hypervisor("lxc"))),
    {},
    vcpus=2,
)
SECRETS = metadata.undercloud_secrets({}, None, THERE.nodes) | {
    certificates.AUTHORITY: "authority",
    certificates.of("undercloud"): "certificate and key",
}


def rendered(tree: metadata.Tree, folder: pathlib.Path, *elements: str) -> dict[str, str]:
    """The files that os-apply-config makes where an image has these elements."""
    templates, output = folder / "templates", folder / "output"
    builtin = pathlib.Path(element_dependencies.__file__).with_name("elements")
    names = ("debian-base", *elements)
    for _, place in element_dependencies.get_elements(names, f"{ELEMENTS}:{builtin}"):
        if (source := pathlib.Path(place) / "os-apply-config").is_dir():
            shutil.copytree(source, templates, dirs_exist_ok=True)
    for access in templates.rglob("*.oac"):
        # Owners are the image's own.
        access.unlink()
    file = folder / "metadata.json"
    file.write_text(json.dumps(tree))
    apply_config.install_config([str(file)], str(templates), str(output), False)
    paths = [path for path in output.rglob("*") if path.is_file()]
    return {str(path.relative_to(output)): path.read_text() for path in paths}


@pytest.fixture
def of_node(tmp_path: pathlib.Path) -> dict[str, str]:
    tree = metadata.undercloud_node(THERE, THERE.nodes[0], SECRETS)
    processes = ("nova-compute-docker", "nova-compute-lxc")
    return rendered(tree, tmp_path, "undercloud-node", *processes)


@pytest.fixture
def of_undercloud(tmp_path: pathlib.Path) -> dict[str, str]:
    return rendered(metadata.undercloud(THERE, SECRETS), tmp_path, "undercloud")


def read(text: str) -> configparser.ConfigParser:
    config = configparser.ConfigParser(interpolation=None, default_section="none")
    config.read_string(text)
    return config


def test_nova_reaches_everything_at_the_front(of_node: dict[str, str]) -> None:
    config = read(of_node["etc/nova/nova.conf"])
    for section in ("glance", "keystone", "placement", "neutron"):
        assert config[section]["valid_interfaces"] == "public"
        assert config[section]["cafile"] == "/etc/ssl/instance/authority.pem"
    assert config["placement"]["auth_url"] == f"https://{FRONT}:5000/v3"
    assert config["DEFAULT"]["transport_url"].endswith(f"@{FRONT}:5671/nova")
    assert config["oslo_messaging_rabbit"]["ssl"] == "true"
    assert "database" not in config and "api_database" not in config


def test_a_process_takes_layers_at_the_front(of_node: dict[str, str]) -> None:
    config = read(of_node["etc/nova/compute/nova-docker.conf"])
    assert config["altostratus"]["registry"] == f"{FRONT}:5006"
    assert config["altostratus"]["registry_user"] == "nova-compute-second"
    assert config["altostratus"]["network_host"] == "second"
    assert config["DEFAULT"]["host"] == "second-docker"


def test_the_agent_alone_is_there_of_neutron(of_node: dict[str, str]) -> None:
    neutron = {name for name in of_node if name.startswith("etc/neutron/")}
    assert neutron == {
        "etc/neutron/neutron.conf",
        "etc/neutron/plugins/ml2/ml2_conf.ini",
        "etc/neutron/plugins/ml2/openvswitch_agent.ini",
    }
    assert "database" not in read(of_node["etc/neutron/neutron.conf"])


def test_a_node_lets_nobody_in(of_node: dict[str, str]) -> None:
    rules = of_node["etc/nftables.conf"]
    assert "policy drop" in rules and "dport" not in rules
    assert "PORT=eth0" in of_node["etc/altostratus/control-bridge.conf"]


def test_the_undercloud_lets_in_its_nodes_alone(of_undercloud: dict[str, str]) -> None:
    rules = of_undercloud["etc/nftables.conf"].splitlines()
    (opened,) = (line.strip() for line in rules if "5671" in line)
    assert opened == (
        f'iifname "br-ctl" ip saddr 192.168.24.3 ip daddr {FRONT}'
        " tcp dport { 5006, 5671, 8778, 9292, 9696 } accept"
    )


def test_the_front_hands_nodes_on(of_undercloud: dict[str, str]) -> None:
    front = of_undercloud["etc/haproxy/haproxy.cfg"]
    assert f"bind {FRONT}:5671 ssl" in front and "server rabbitmq 127.0.0.1:5672" in front
    assert f"bind {FRONT}:5006 ssl" in front and "server registry 127.0.0.1:5005" in front
    assert "http-request deny unless { method GET HEAD }" in front
    assert "listeners.tcp.1 = 127.0.0.1:5672" in of_undercloud["etc/rabbitmq/rabbitmq.conf"]


def test_without_nodes_nothing_is_there_for_them(tmp_path: pathlib.Path) -> None:
    found = rendered(metadata.undercloud(Undercloud(_SHARES), SECRETS), tmp_path, "undercloud")
    assert "5671" not in found["etc/nftables.conf"] + found["etc/haproxy/haproxy.cfg"]


def with_site(folder: pathlib.Path, site: Site) -> dict[str, str]:
    there = Undercloud(_SHARES, site=site)
    return rendered(metadata.undercloud(there, SECRETS), folder, "undercloud")


def test_an_undercloud_without_a_site_asks_nobody_else(tmp_path: pathlib.Path) -> None:
    found = with_site(tmp_path, Site())
    assert found["etc/chrony/chrony.conf"].splitlines() == [
        "local stratum 8",
        "bindaddress 192.168.24.1",
        "allow 192.168.24.1/24",
        "cmdport 0",
    ]
    assert found["etc/altostratus/resolv.conf"] == ""
    assert "PORT" not in found["etc/altostratus/control-bridge.conf"]


def test_an_undercloud_asks_the_servers_of_its_site(tmp_path: pathlib.Path) -> None:
    site = Site(ntp=("ntp.example.org", "192.0.2.123"), dns=("192.0.2.53",))
    found = with_site(tmp_path, site)
    servers = [line for line in found["etc/chrony/chrony.conf"].splitlines() if "iburst" in line]
    assert servers == ["server ntp.example.org iburst", "server 192.0.2.123 iburst"]
    assert found["etc/altostratus/resolv.conf"] == "nameserver 192.0.2.53\n"


def test_an_undercloud_is_where_its_site_says(tmp_path: pathlib.Path) -> None:
    control = model.control_network(ipaddress.IPv4Network("10.20.0.0/22"))
    found = with_site(tmp_path, Site(control))
    text = "\n".join(found.values())
    assert "192.168.24." not in text
    assert "ADDRESS=10.20.0.1/22" in found["etc/altostratus/control-bridge.conf"]
    assert "bind 10.20.0.1:5000 ssl" in found["etc/haproxy/haproxy.cfg"]
    assert "ip daddr 10.20.0.1 tcp dport" in found["etc/nftables.conf"]


def test_a_nic_of_the_machine_is_named_to_the_bridge(tmp_path: pathlib.Path) -> None:
    found = with_site(tmp_path, Site(nic="enp2s0"))
    assert "PORT=enp2s0" in found["etc/altostratus/control-bridge.conf"].splitlines()
