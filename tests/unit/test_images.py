"""Images are named by what goes into them, and their files are what hypervisors expect."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import tarfile

import pytest

from altostratus import archive, glance, images, imagespec, releases, rootfs, services, workers


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of what image digests depend on, to be changed at will."""
    copy = tmp_path / "repository"
    for folder in ("elements", "releases", "nova-driver", "src"):
        if (rootfs.REPOSITORY / folder).exists():
            shutil.copytree(rootfs.REPOSITORY / folder, copy / folder, symlinks=True)
    return copy


def test_digest_is_the_same_for_the_same_inputs(repository: pathlib.Path) -> None:
    here = imagespec.digest(imagespec.wanted(("keystone",), "docker"))
    assert here == imagespec.digest(imagespec.wanted(("keystone",), "docker", repository))


@pytest.mark.parametrize(
    "changed",
    [
        "elements/keystone/os-apply-config/etc/keystone/keystone.conf",
        "elements/agent/os-refresh-config/configure.d/10-unseal",
        "elements/base/package-installs.yaml",
        "elements/debian-base/root.d/75-debian-base",
        "elements/openstack-environment/install.d/30-openstack-environment",
        "releases/2026.2/keystone.txt",
        "releases/common/native.txt",
        "releases/2026.2/shared.txt",
        "releases/common/agent.txt",
        "releases/common/sources.txt",
    ],
)
def test_digest_changes_with_every_input(repository: pathlib.Path, changed: str) -> None:
    spec = imagespec.wanted(("keystone",), "docker", repository)
    before = imagespec.digest(spec)
    with (repository / changed).open("a") as file:
        file.write("\n# changed\n")
    assert imagespec.digest(spec) != before


def test_digest_changes_with_the_mode_and_the_name_of_a_file(repository: pathlib.Path) -> None:
    spec = imagespec.wanted(("keystone",), "docker", repository)
    script = repository / "elements/keystone/os-refresh-config/configure.d/40-keystone"
    digests = {imagespec.digest(spec)}
    script.chmod(0o644)
    digests.add(imagespec.digest(spec))
    script.rename(script.with_name("41-keystone"))
    digests.add(imagespec.digest(spec))
    assert len(digests) == 3


def test_digest_does_not_change_with_another_service(repository: pathlib.Path) -> None:
    spec = imagespec.wanted(("mariadb",), "lxc", repository)
    before = imagespec.digest(spec)
    shutil.rmtree(repository / "elements/glance")
    for lock in ("2026.2/keystone", "common/native", "2026.2/shared"):
        (repository / f"releases/{lock}.txt").write_text("")
    assert imagespec.digest(spec) == before


def test_image_of_another_release_has_other_software_on_the_same_base() -> None:
    now = imagespec.wanted(("keystone",), "docker")
    before = imagespec.wanted(("keystone",), "docker", release="2026.1")
    assert (
        imagespec.locked_versions(before)["keystone"] < imagespec.locked_versions(now)["keystone"]
    )
    assert imagespec.digest(before) != imagespec.digest(now)
    assert images.root_paths(before)[0] == images.root_paths(now)[0]


def test_releases_are_the_folders_with_locks() -> None:
    folders = {path.parent.name for path in (rootfs.REPOSITORY / "releases").glob("*/openstack.in")}
    assert folders == set(releases.ALL)


def test_what_is_not_debians_has_a_lock() -> None:
    locked = {one for one in services.names() if imagespec.wanted([one], "docker").locks}
    assert locked == {one for one in services.names() if not services.get(one).is_debians}


@pytest.mark.parametrize("release", releases.ALL)
def test_shared_libraries_are_what_most_services_lock(release: str) -> None:
    folder = rootfs.REPOSITORY / "releases" / release
    tool = rootfs.REPOSITORY / "tools" / "shared"
    made = subprocess.run([tool, folder], capture_output=True, text=True, check=True).stdout
    assert (folder / "shared.txt").read_text() == made, "run tools/lock"


def test_shared_libraries_hold_what_more_than_half_have_and_no_service(
    tmp_path: pathlib.Path,
) -> None:
    locks = {
        "one": {"common": "1", "mixed": "1", "rare": "1", "service": "1"},
        "two": {"common": "1", "mixed": "2", "service": "1"},
        "three": {"common": "1", "mixed": "2", "service": "1"},
        "openstack": {"rare": "1"},
    }
    for name, pins in locks.items():
        lines = [
            f"{pin}=={version} \\\n    --hash=sha256:{version}" for pin, version in pins.items()
        ]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "openstack.in").write_text("service==1\n")
    tool = rootfs.REPOSITORY / "tools" / "shared"
    made = subprocess.run([tool, tmp_path], capture_output=True, text=True, check=True).stdout
    assert made == ("common==1 \\\n    --hash=sha256:1\nmixed==2 \\\n    --hash=sha256:2\n")


def test_digest_changes_with_what_an_element_takes_from_the_repository(
    repository: pathlib.Path,
) -> None:
    (repository / "elements/keystone/repository-sources").write_text("extra\n")
    (repository / "extra").mkdir()
    (repository / "extra/module.py").write_text("one\n")
    spec = imagespec.wanted(("keystone",), "docker", repository)
    before = imagespec.digest(spec)
    (repository / "extra/module.py").write_text("two\n")
    assert imagespec.digest(spec) != before


def test_digest_changes_with_parameters() -> None:
    spec = imagespec.wanted(("keystone",), "docker")
    others = [
        dataclasses.replace(spec, debian="trixie"),
        dataclasses.replace(spec, hypervisor="lxc"),
        dataclasses.replace(spec, elements=("keystone", "mariadb")),
        imagespec.wanted(("keystone", "mariadb"), "docker"),
    ]
    assert len({imagespec.digest(each) for each in (spec, *others)}) == 5


def test_a_built_image_is_not_built_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    spec = imagespec.wanted(("keystone",), "docker")
    target = images.path(spec)
    target.parent.mkdir()
    target.write_text("built before")
    assert images.build(spec) == target
    assert target.read_text() == "built before"
    assert os.listdir(tmp_path) == ["images"]


def test_images_share_what_they_are_made_of(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    wanted = [("keystone", "docker"), ("glance", "docker"), ("glance", "lxc"), ("mariadb", "lxc")]
    specs = [imagespec.wanted((name,), hypervisor) for name, hypervisor in wanted]
    archives = {"base.tar", "python.tar"}
    assert needs(specs) == {
        "base": set(),
        "base.tar": {"base"},
        "wheels": {"base"},
        "python": {"base", "wheels"},
        "python.tar": {"python"},
        "keystone": {"base", "python", "wheels"},
        "glance": {"base", "python", "wheels"},
        "mariadb": {"base"},
        "altostratus-keystone-docker.tar": {"base", "python", "keystone", *archives},
        "altostratus-glance-docker.tar": {"base", "python", "glance", *archives},
        "altostratus-glance-lxc.raw": {"base", "python", "glance"},
        "altostratus-mariadb-lxc.raw": {"base", "mariadb"},
    }


def test_no_wheels_are_built_for_roots_that_are_there(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    spec = imagespec.wanted(("keystone",), "docker")
    for path in images.root_paths(spec):
        path.mkdir(parents=True)
    assert needs([spec]) == {"altostratus-keystone-docker.tar": set()}


def needs(specs: list[imagespec.ImageSpec]) -> dict[str, set[str]]:
    """What has to be made for these images, and of what: by names without digests."""
    missing = workers.missing(map(images._image, specs))
    return {name_of(part): set(map(name_of, found)) for part, found in missing.items()}


def name_of(part: workers.Part) -> str:
    return re.sub("-[0-9a-f]{16}|^[0-9a-f]{64}$", "", part.target.name) or part.target.parent.name


def test_docker_archive_is_what_docker_load_reads(tmp_path: pathlib.Path) -> None:
    parts = [tmp_path / "base.tar", tmp_path / "own.layer"]
    for part in parts:
        part.write_text(f"the layer {part.name}")
    target = tmp_path / "image.tar"
    archive.write_docker_archive(parts, target, "altostratus-keystone:1")
    with tarfile.open(target) as tar:
        files = {member.name: read(tar, member) for member in tar}
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["altostratus-keystone:1"]
    assert [files[name] for name in entry["Layers"]] == [part.read_bytes() for part in parts]
    config = json.loads(files[entry["Config"]])
    assert entry["Config"] == f"{hashlib.sha256(files[entry['Config']]).hexdigest()}.json"
    assert config["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(part.read_bytes()).hexdigest()}" for part in parts
    ]
    assert config["config"]["Cmd"] == ["/sbin/init"]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["base.tar", "image.tar", "own.layer"]


def test_docker_archive_of_the_same_layers_is_the_same(tmp_path: pathlib.Path) -> None:
    part = tmp_path / "base.tar"
    part.write_text("a layer")
    for name in ("one", "two"):
        archive.write_docker_archive([part], tmp_path / name, "altostratus-keystone:1")
        os.utime(part, (1, 1))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_root_of_a_machine_has_a_kernel(repository: pathlib.Path) -> None:
    machine = imagespec.wanted(("mariadb",), "kvm", repository)
    container = imagespec.wanted(("mariadb",), "lxc", repository)
    assert (machine.elements, container.elements) == (("mariadb", "vm"), ("mariadb",))
    before = imagespec.digest(machine), imagespec.digest(container)
    with (repository / "elements/vm/install.d/60-vm").open("a") as file:
        file.write("# changed\n")
    assert imagespec.digest(machine) != before[0]
    assert imagespec.digest(container) == before[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.real
def test_disk_has_a_boot_loader_and_one_partition_that_holds_the_root(
    tmp_path: pathlib.Path,
) -> None:
    boot, core = b"\xeb\x63" + bytes(510), b"\x52\x56" + b"core" * 500
    own = {"usr/lib/altostratus/boot.img": boot, "usr/lib/altostratus/core.img": core}
    root = [
        make_layer(tmp_path / "base", {"etc/hostname": b"instance\n"}),
        make_layer(tmp_path / "service", own),
    ]
    target = tmp_path / "image.img"
    archive.write_disk(root, target)
    content = target.read_bytes()
    assert content[:440] == boot[:440]
    assert content[510:512] == b"\x55\xaa"
    assert content[512:].startswith(core)
    active, kind, first, count = struct.unpack("<B3xB3xII", content[446:462])
    assert (active, kind, first) == (0x80, 0x83, 2048)
    assert (first + count) * 512 == target.stat().st_size
    (tmp_path / "partition").write_bytes(content[first * 512 :])
    for command in ("e2fsck -fn", "debugfs -R 'cat /etc/hostname'"):
        said = subprocess.run(
            f"{command} {tmp_path}/partition", shell=True, capture_output=True, check=True
        ).stdout
    assert said == b"instance\n"
    assert target.stat().st_blocks * 512 < target.stat().st_size


def make_layer(target: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    target.mkdir()
    for name, content in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    return target


def read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def test_cache_keeps_the_newest_two_layers_of_a_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    folder = tmp_path / "roots"
    folder.mkdir()
    for age, digest in enumerate("abc"):
        for name in (f"base-{digest * 16}", f"base+vm-{digest * 16}"):
            make_layer(folder / name, {"etc/hostname": b""})
            os.utime(folder / name, (1000 - age, 1000 - age))
    images._prune(folder / f"base-{'a' * 16}")
    assert sorted(path.name for path in folder.glob("base-*")) == [
        f"base-{'a' * 16}",
        f"base-{'b' * 16}",
    ]
    assert len(list(folder.glob("base+vm-*"))) == 3
    assert list((tmp_path / "build").iterdir()) == []


def test_cache_keeps_the_newest_two_images_of_a_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    spec = imagespec.wanted(("keystone",), "lxc")
    folder = images.path(spec).parent
    (tmp_path / "roots").mkdir()
    folder.mkdir()
    for age, digest in enumerate("abc"):
        for old in (f"altostratus-keystone-lxc-{digest * 16}.raw", "altostratus-other-lxc-x.raw"):
            (folder / old).touch()
            os.utime(folder / old, (1000 - age, 1000 - age))
    layer = make_layer(tmp_path / "layer", {})
    monkeypatch.setattr(images, "_root", lambda _: (workers.Part(layer, layer.mkdir),))
    monkeypatch.setattr(archive, "write_ext4", lambda _, target: target.touch())
    built = images.build(spec)
    assert {path.name for path in folder.iterdir()} == {
        built.name,
        images.manifest(spec).name,
        f"altostratus-keystone-lxc-{'a' * 16}.raw",
        "altostratus-other-lxc-x.raw",
    }


@pytest.mark.parametrize(
    ("hypervisor_type", "expected"),
    [
        ("docker", {"hypervisor_type": "docker", "trait:CUSTOM_HYPERVISOR_DOCKER": "required"}),
        ("lxc", {"hypervisor_type": "lxc", "trait:CUSTOM_HYPERVISOR_LXC": "required"}),
        ("hyperv", {"hypervisor_type": "hyperv"}),
    ],
)
def test_image_asks_for_the_hypervisor_of_its_type(
    hypervisor_type: str, expected: dict[str, str]
) -> None:
    assert glance.placement_properties(hypervisor_type) == expected
