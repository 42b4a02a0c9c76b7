"""The NIC of a machine by which the control network goes on, with places and programs of a test's own."""

import os
import pathlib
import subprocess

import pytest

PROGRAM = (
    pathlib.Path(__file__).parents[2]
    / "elements/undercloud-network/static/usr/local/sbin/join-control-nic"
)
# What was joined before is in a file.
SWITCH = """#!/bin/sh
echo "ovs-vsctl $*" >> {told}
case "$*" in *find*) cat {joined} ;; esac
"""


class Machine:
    """A machine with NICs, whose bridge had some of them as ports before."""

    def __init__(self, folder: pathlib.Path, nics: str, joined: str, named: str) -> None:
        self.told = folder / "told"
        (folder / "joined").write_text(joined)
        for nic in nics.split():
            (folder / "net" / nic).mkdir(parents=True)
        (folder / "bridge.conf").write_text(f"BRIDGE=br-ctl\n{named}\n")
        text = PROGRAM.read_text().replace("/etc/altostratus/control-bridge.conf", "bridge.conf")
        programs = {
            "join-control-nic": text.replace("/sys/class/net", str(folder / "net")),
            "ovs-vsctl": SWITCH.format(told=self.told, joined=folder / "joined"),
            "ip": f'#!/bin/sh\necho "ip $*" >> {self.told}\n',
            "sleep": "#!/bin/sh\n",
        }
        for name, content in programs.items():
            (folder / "bin").mkdir(exist_ok=True)
            (folder / "bin" / name).write_text(content)
            (folder / "bin" / name).chmod(0o755)
        self.done = subprocess.run(
            ["bash", str(folder / "bin" / "join-control-nic")],
            cwd=folder,
            env={**os.environ, "PATH": f"{folder}/bin:{folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )

    def says(self) -> list[str]:
        assert (self.done.returncode, self.done.stderr) == (0, "")
        return [line for line in self.told.read_text().splitlines() if " find " not in line]


def test_a_nic_that_is_named_joins_without_addresses(tmp_path: pathlib.Path) -> None:
    mark = "set port enp2s0 external_ids:altostratus=nic"
    assert Machine(tmp_path, "eth0 enp2s0", "", "PORT=enp2s0").says() == [
        "ip address flush dev enp2s0",
        "ip link set enp2s0 up",
        f"ovs-vsctl --may-exist add-port br-ctl enp2s0 -- {mark}",
    ]


@pytest.mark.parametrize(("joined", "left"), [("", []), ("enp2s0", ["enp2s0"])])
def test_where_none_is_named_none_stays(
    tmp_path: pathlib.Path, joined: str, left: list[str]
) -> None:
    expected = [f"ovs-vsctl --if-exists del-port br-ctl {one}" for one in left]
    assert Machine(tmp_path, "eth0 enp2s0", joined, "").says() == expected


def test_a_nic_that_is_not_there_is_told_with_those_that_are(tmp_path: pathlib.Path) -> None:
    done = Machine(tmp_path, "eth0 eth1", "", "PORT=enp2s0").done
    assert done.returncode == 1
    assert "there is no NIC enp2s0" in done.stderr and "eth1" in done.stderr
