"""Images are named by what goes into them, and their files are what hypervisors expect."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest

from altostratus import archive, glance, images, rootfs


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> pathlib.Path:
    """A copy of what image digests depend on, to be changed at will."""
    copy = tmp_path / "repository"
    for folder in ("elements", "releases", "nova-driver", "src"):
        if (rootfs.REPOSITORY / folder).exists():
            shutil.copytree(rootfs.REPOSITORY / folder, copy / folder, symlinks=True)
    return copy


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    """A root file system as diskimage-builder packs it, with two files."""
    path = tmp_path / "root.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in (("./etc/hostname", b"instance\n"), ("./sbin/init", b"#!/bin/sh\n")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_digest_is_the_same_for_the_same_inputs(repository: pathlib.Path) -> None:
    here = images.digest(images.wanted(("keystone",), "docker"))
    assert here == images.digest(images.wanted(("keystone",), "docker", repository))


@pytest.mark.parametrize(
    "changed",
    [
        "elements/keystone/os-apply-config/etc/keystone/keystone.conf",
        "elements/agent/os-refresh-config/configure.d/10-unseal",
        "elements/base/package-installs.yaml",
        "elements/debian-base/root.d/75-debian-base",
        "elements/openstack-environment/install.d/30-openstack-environment",
        "releases/2026.2/keystone.txt",
        "releases/2026.2/native.txt",
        "releases/2026.2/shared.txt",
        "releases/2026.2/agent.txt",
        "releases/2026.2/sources.txt",
    ],
)
def test_digest_changes_with_every_input(repository: pathlib.Path, changed: str) -> None:
    spec = images.wanted(("keystone",), "docker", repository)
    before = images.digest(spec)
    with (repository / changed).open("a") as file:
        file.write("\n# changed\n")
    assert images.digest(spec) != before


def test_digest_changes_with_the_mode_and_the_name_of_a_file(repository: pathlib.Path) -> None:
    spec = images.wanted(("keystone",), "docker", repository)
    script = repository / "elements/keystone/os-refresh-config/configure.d/40-keystone"
    digests = {images.digest(spec)}
    script.chmod(0o644)
    digests.add(images.digest(spec))
    script.rename(script.with_name("41-keystone"))
    digests.add(images.digest(spec))
    assert len(digests) == 3


def test_digest_does_not_change_with_another_service(repository: pathlib.Path) -> None:
    spec = images.wanted(("mariadb",), "lxc", repository)
    before = images.digest(spec)
    shutil.rmtree(repository / "elements/glance")
    for lock in ("keystone", "native", "shared"):
        (repository / f"releases/2026.2/{lock}.txt").write_text("")
    assert images.digest(spec) == before


def test_shared_libraries_are_what_most_services_lock() -> None:
    folder = rootfs.REPOSITORY / "releases" / images.RELEASE
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
        "agent": {"rare": "1"},
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
    spec = images.wanted(("keystone",), "docker", repository)
    before = images.digest(spec)
    (repository / "extra/module.py").write_text("two\n")
    assert images.digest(spec) != before


def test_digest_changes_with_parameters() -> None:
    spec = images.wanted(("keystone",), "docker")
    others = [
        dataclasses.replace(spec, debian="trixie"),
        dataclasses.replace(spec, hypervisor="lxc"),
        dataclasses.replace(spec, elements=("keystone", "mariadb")),
        images.wanted(("keystone", "mariadb"), "docker"),
    ]
    assert len({images.digest(each) for each in (spec, *others)}) == 5


def test_a_built_image_is_not_built_again(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    spec = images.wanted(("keystone",), "docker")
    target = images.path(spec)
    target.parent.mkdir()
    target.write_text("built before")
    assert images.build(spec) == target
    assert target.read_text() == "built before"
    assert os.listdir(tmp_path) == ["images"]


def test_docker_archive_is_what_docker_load_reads(
    tmp_path: pathlib.Path, root: pathlib.Path
) -> None:
    target, base = tmp_path / "image.tar", make_tar(tmp_path / "base.tar", {"etc/a": b"a"})
    archive.write_docker_archive(root, target, "altostratus-keystone:1", [base], base)
    with tarfile.open(target) as tar:
        files = {member.name: read(tar, member) for member in tar}
    (entry,) = json.loads(files["manifest.json"])
    assert entry["RepoTags"] == ["altostratus-keystone:1"]
    lower, upper = (files[layer] for layer in entry["Layers"])
    assert lower == base.read_bytes()
    config = json.loads(files[entry["Config"]])
    assert entry["Config"] == f"{hashlib.sha256(files[entry['Config']]).hexdigest()}.json"
    assert config["rootfs"]["diff_ids"] == [
        f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in (lower, upper)
    ]
    assert config["config"]["Cmd"] == ["/sbin/init"]
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["base.tar", "image.tar", "root.tar"]


def test_docker_archive_of_the_same_root_is_the_same(
    tmp_path: pathlib.Path, root: pathlib.Path
) -> None:
    base = make_tar(tmp_path / "base.tar", {"etc/a": b"a"})
    for name in ("one", "two"):
        archive.write_docker_archive(root, tmp_path / name, "altostratus-keystone:1", [base], base)
        os.utime(root, (1, 1))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def make_tar(target: pathlib.Path, files: dict[str, bytes]) -> pathlib.Path:
    with tarfile.open(target, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target


def read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def test_cache_keeps_the_newest_two_images_of_a_name(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALTOSTRATUS_CACHE", str(tmp_path))
    spec = images.wanted(("keystone",), "lxc")
    folder = images.path(spec).parent
    (tmp_path / "roots").mkdir()
    folder.mkdir()
    for age, digest in enumerate("abc"):
        for old in (f"altostratus-keystone-lxc-{digest * 16}.raw", "altostratus-other-lxc-x.raw"):
            (folder / old).touch()
            os.utime(folder / old, (1000 - age, 1000 - age))
    made = make_tar(tmp_path / "root.tar", {})
    monkeypatch.setattr(images, "_service_root", lambda _: made)
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
