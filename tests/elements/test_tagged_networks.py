"""The networks that come tagged by a machine's one NIC, as systemd-networkd's files."""

import json
import pathlib
import subprocess
import sys

PROGRAM = (
    pathlib.Path(__file__).parents[2] / "elements/metal/static/usr/local/sbin/write-tagged-networks"
)
INTERNAL = {"interface": "vlan101", "vlan": 101, "address": "172.16.1.10/24"}
BRIDGED = {"interface": "vlan103", "vlan": 103}
NIC = "10-cloud-init-eth0.network.d/30-tagged-networks.conf"


def write(folder: pathlib.Path, *tagged: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder)],
        input=json.dumps(tagged),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def files(folder: pathlib.Path) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in found)


def test_each_network_is_an_interface_of_the_nic(tmp_path: pathlib.Path) -> None:
    assert write(tmp_path, INTERNAL, BRIDGED) == ["vlan101"]
    assert (tmp_path / NIC).read_text() == "[Network]\nVLAN=vlan101\nVLAN=vlan103\n"
    netdev = (tmp_path / "30-tagged-vlan101.netdev").read_text()
    assert netdev == "[NetDev]\nName=vlan101\nKind=vlan\n\n[VLAN]\nId=101\n"
    assert "Address=172.16.1.10/24\n" in (tmp_path / "30-tagged-vlan101.network").read_text()
    assert "Address=" not in (tmp_path / "30-tagged-vlan103.network").read_text()


def test_a_network_that_is_gone_leaves_nothing(tmp_path: pathlib.Path) -> None:
    own = tmp_path / "10-cloud-init-eth0.network"
    own.write_text("[Match]\n")
    write(tmp_path, INTERNAL, BRIDGED)
    write(tmp_path, INTERNAL)
    assert files(tmp_path) == [
        *(own.name, NIC, "30-tagged-vlan101.netdev", "30-tagged-vlan101.network")
    ]


def test_the_same_again_changes_no_file(tmp_path: pathlib.Path) -> None:
    write(tmp_path, INTERNAL)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.net*")}
    write(tmp_path, INTERNAL)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.net*")} == before
