"""Images as really built: slow, as root, and with the package mirrors in reach."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tarfile
import time

import pytest

from altostratus import images, imagespec, layers, machine, registries
from altostratus.model import DEBIAN

pytestmark = pytest.mark.build

# Two images of their own that take packages of Debian, at the same time.
TOGETHER = {"interrupted-one": "mariadb", "interrupted-two": "memcached"}
BUILD = f"""
import dataclasses
from altostratus import images, imagespec
found = {{name: imagespec.wanted((service,), "docker") for name, service in {TOGETHER}.items()}}
images.build_all(dataclasses.replace(spec, services=(name,)) for name, spec in found.items())
"""

ENDED_S = 20
PYTHON_SERVICES = ("keystone", "glance")
# Names each module of a service that cannot be loaded because of what was left out.
LOAD = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
# Programs, which set to work when they are loaded.
PROGRAMS = ("__main__", ".cmd", ".wsgi")
loaded = 0
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if any(one in found.name for one in PROGRAMS):
        continue
    try:
        importlib.import_module(found.name)
        loaded += 1
    except Exception as error:
        if ".tests" in str(error):
            sys.exit(f"{found.name}: {error}")
print(loaded)
"""


@pytest.fixture(scope="module")
def spec() -> imagespec.ImageSpec:
    return imagespec.wanted(("mariadb",), "docker")


@pytest.fixture(scope="module")
def root(spec: imagespec.ImageSpec) -> dict[str, bytes]:
    """The content of each file of the image's root that could tell of this machine."""
    with tarfile.open(images.build(spec)) as outer:
        layer = next(member for member in outer if member.name.endswith("/layer.tar"))
        with tarfile.open(fileobj=outer.extractfile(layer)) as tar:
            return {
                f"/{member.name}": _read(tar, member)
                for member in tar
                if member.isreg() or member.isdir() or member.issym()
            }


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member) if member.isreg() and member.size < 4_000_000 else None
    return file.read() if file else b""


def test_second_build_builds_nothing(spec: imagespec.ImageSpec) -> None:
    target = images.build(spec)
    before = target.stat().st_mtime_ns
    start = time.monotonic()
    assert images.build(spec) == target
    assert target.stat().st_mtime_ns == before
    assert time.monotonic() - start < 2


def test_image_names_no_package_source(root: dict[str, bytes]) -> None:
    sources = [name for name in root if re.match(r"/etc/apt/sources\.list(\.d/.+)?$", name)]
    assert [name for name in sources if root[name]] == []


def test_certificates_are_debians_own(root: dict[str, bytes]) -> None:
    packaged = {
        _certificates(content).pop()
        for name, content in root.items()
        if name.startswith("/usr/share/ca-certificates/") and name.endswith(".crt")
    }
    trusted = _certificates(root["/etc/ssl/certs/ca-certificates.crt"])
    assert trusted
    assert trusted <= packaged
    assert not [name for name in root if name.startswith("/usr/local/share/ca-certificates/")]


def test_nothing_of_the_build_stays(root: dict[str, bytes]) -> None:
    left = [
        name
        for name in root
        if name.startswith(("/tmp/", "/root/.cache", "/etc/dib-manifests"))
        or (name.startswith("/var/lib/apt/lists/") and root[name])
        or name in ("/etc/apt/apt.conf.d/99altostratus-build", "/etc/pip.conf")
        or re.match(r"/etc/ssh/ssh_host_|/var/cache/apt/archives/.*\.deb", name)
    ]
    assert left == []
    assert root["/etc/machine-id"] == root["/etc/resolv.conf"] == b""


def test_no_file_names_a_registry_of_this_machine(root: dict[str, bytes]) -> None:
    settings = " ".join(registries.environment(None).values())
    mirrors = " ".join(uri for uri, _ in registries.apt_sources(DEBIAN))
    hosts = set(re.findall(r"https?://(?:[^/@\s]*@)?([^/:\s]+)", f"{settings} {mirrors}"))
    assert hosts
    # Packages may name Debian's own mirror, in their documentation or as a default.
    of_packages = _files_of_packages(root)
    named = [
        name
        for name, content in root.items()
        if name not in of_packages and any(host.encode() in content for host in hosts)
    ]
    assert named == []


def _files_of_packages(root: dict[str, bytes]) -> set[str]:
    lists = [
        content.decode()
        for name, content in root.items()
        if re.fullmatch(r"/var/lib/dpkg/info/.*\.list", name)
    ]
    return {line for text in lists for line in text.splitlines()}


def test_image_holds_no_compiler(root: dict[str, bytes]) -> None:
    assert not [name for name in root if re.fullmatch(r"/usr/bin/(gcc|cc|ld|as|make)(-.*)?", name)]


def test_image_holds_what_every_instance_needs(root: dict[str, bytes]) -> None:
    for program in (
        "/usr/bin/cloud-init",
        "/usr/sbin/sshd",
        "/opt/altostratus/bin/os-collect-config",
    ):
        assert program in root


def test_image_holds_no_documents_and_no_tests(root: dict[str, bytes]) -> None:
    documents = re.compile(
        r"/usr/share/(man|info|locale|lintian)/|/usr/share/doc/.*(?<!/copyright)$"
    )
    tests = re.compile(r"/opt/[^/]+/lib/python[^/]+/site-packages/.*/tests(/|$)")
    files = [name for name in root if root[name]]
    assert not [name for name in files if documents.match(name)]
    assert not [name for name in root if tests.match(name)]


def test_manifest_names_what_the_root_holds(
    spec: imagespec.ImageSpec, root: dict[str, bytes]
) -> None:
    components = json.loads(images.manifest(spec).read_text())["components"]
    named = {one["purl"].partition("@")[0] for one in components}
    assert {"pkg:deb/debian/mariadb-server", "pkg:pypi/os-collect-config"} <= named
    assert not [purl for purl in named if "nova" in purl]


def test_services_share_the_layers_below_their_own() -> None:
    layers = [
        _layers(images.build(imagespec.wanted((name,), "docker"))) for name in PYTHON_SERVICES
    ]
    assert {len(found) for found in layers} == {3}
    assert len({tuple(found)[:2] for found in layers}) == 1
    for found in layers:
        *below, own = found.values()
        assert own < sum(below)


@pytest.mark.parametrize("service", PYTHON_SERVICES)
def test_software_loads_without_what_was_left_out(service: str, tmp_path: pathlib.Path) -> None:
    images.build(imagespec.wanted((service,), "docker"))
    spec = imagespec.wanted((service,), "docker")
    done = in_root(spec, tmp_path, "/opt/openstack/bin/python", "-c", LOAD, service)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) > 100


def test_memcached_does_without_perl(tmp_path: pathlib.Path) -> None:
    spec = imagespec.wanted(("memcached",), "docker")
    images.build(spec)
    done = in_root(spec, tmp_path, "/usr/bin/memcached", "--version")
    assert done.returncode == 0, done.stderr
    names = layers.files(layers_of(spec))
    assert not [name for name in names if name.startswith("usr/share/perl/5")]


def layers_of(spec: imagespec.ImageSpec) -> list[pathlib.Path]:
    """The layers of an image's root."""
    return [path for path in images.root_paths(spec) if path.is_dir()]


def in_root(
    spec: imagespec.ImageSpec, work: pathlib.Path, *command: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in an image's root; what it changes is kept in the folder ``layer``."""
    for name in ("layer", "overlay", "root"):
        (work / name).mkdir(exist_ok=True)
    script = (
        'cd "$0" && mount -t overlay -o "lowerdir=$1,upperdir=layer,workdir=overlay" none root'
        ' && shift && exec chroot root "$@"'
    )
    lower = layers.lower_directories(layers_of(spec))
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, work, lower,
         *command],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip


def _layers(image: pathlib.Path) -> dict[str, int]:
    """The size of each layer of an image, the lowest first."""
    with tarfile.open(image) as archive:
        return {one.name: one.size for one in archive if one.name.endswith("/layer.tar")}


def test_root_can_log_in_with_a_key_only(root: dict[str, bytes]) -> None:
    assert re.search(rb"^root:[*!]", root["/etc/shadow"], re.MULTILINE)
    passwords = [line.split(b":")[1] for line in root["/etc/shadow"].splitlines()]
    assert all(password.startswith((b"!", b"*")) for password in passwords)
    sshd = root["/etc/ssh/sshd_config.d/10-altostratus.conf"]
    assert b"PasswordAuthentication no" in sshd


def test_journal_and_log_files_are_limited(root: dict[str, bytes]) -> None:
    journal = b"".join(
        content
        for name, content in root.items()
        if re.match(r"/etc/systemd/journald\.conf\.d/.+\.conf$", name)
    )
    assert {b"Storage=volatile", b"RuntimeMaxUse=32M", b"SystemMaxUse=64M"} <= set(journal.split())
    assert "/usr/sbin/logrotate" in root
    assert "/etc/systemd/system/timers.target.wants/logrotate.timer" in root
    assert b"\nOnCalendar=hourly" in _drop_in(root, "logrotate.timer")
    assert b"/etc/log-limits.conf" in _drop_in(root, "logrotate.service")


def _drop_in(root: dict[str, bytes], unit: str) -> bytes:
    return root[f"/etc/systemd/system/{unit}.d/10-log-limits.conf"]


def test_large_log_files_are_rotated(spec: imagespec.ImageSpec, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "layer" / "var" / "log" / "cloud-init.log"
    log.parent.mkdir(parents=True)
    for number in range(4):
        log.write_bytes(os.urandom(9 * 1024 * 1024))
        done = in_root(spec, tmp_path, "/usr/sbin/logrotate", "/etc/log-limits.conf")
        assert (done.returncode, done.stderr) == (0, "")
        assert log.stat().st_size == 0
        kept = sorted(path.name for path in log.parent.glob("cloud-init.log.*"))
        assert kept == ["cloud-init.log.1.gz", "cloud-init.log.2.gz"][: number + 1]


def test_machines_have_a_time_client_and_containers_none(root: dict[str, bytes]) -> None:
    client = "lib/systemd/systemd-timesyncd"
    assert not [name for name in root if name.endswith(client)]
    machine_spec = imagespec.wanted(("mariadb",), "kvm")
    images.build(machine_spec)
    names = {name.removeprefix("usr/") for name in layers.files(layers_of(machine_spec))}
    assert client in names
    wanted = "etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service"
    assert wanted not in names


def test_ext4_image_holds_the_same_root(tmp_path: pathlib.Path) -> None:
    image = images.build(imagespec.wanted(("mariadb",), "lxc"))
    check = subprocess.run(["e2fsck", "-fn", image], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout
    command = ["debugfs", "-R", "cat /usr/local/sbin/refresh-instance", str(image)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "os-refresh-config" in said
    assert image.stat().st_blocks * 512 <= image.stat().st_size


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT])
def test_ended_builds_leave_nothing_that_matters(
    spec: imagespec.ImageSpec, signal_: signal.Signals
) -> None:
    images.build(spec)
    cache = machine.cache_dir()
    roots = set((cache / "roots").glob("*"))
    logs = [cache / "logs" / f"{name}.log" for name in TOGETHER]
    for log in logs:
        log.unlink(missing_ok=True)
    build = subprocess.Popen([sys.executable, "-c", BUILD], env=_environment())
    _wait(lambda: all(log.exists() and "install.d" in log.read_text() for log in logs))
    build.send_signal(signal_)
    assert build.wait(ENDED_S) != 0
    _wait(lambda: not _processes_in(cache / "build"))
    assert str(cache / "build") not in pathlib.Path("/proc/mounts").read_text()
    done = subprocess.run([sys.executable, "-c", BUILD], env=_environment(), check=False)
    assert done.returncode == 0
    built = set((cache / "images").glob("altostratus-interrupted-*"))
    assert len(built) == 2 * len(TOGETHER)
    images.remove(built | set((cache / "roots").glob("*")) - roots)
    assert not list((cache / "build").glob("*"))


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _wait(until: object) -> None:
    assert callable(until)
    deadline = time.monotonic() + 240
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _processes_in(folder: pathlib.Path) -> list[str]:
    found = []
    for link in pathlib.Path("/proc").glob("[0-9]*/root"):
        try:
            found += [link.parent.name] if str(folder) in os.readlink(link) else []
        except OSError:
            continue
    return found


def _certificates(bundle: bytes) -> set[bytes]:
    pattern = rb"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----"
    return {re.sub(rb"\s", b"", found) for found in re.findall(pattern, bundle, re.DOTALL)}
