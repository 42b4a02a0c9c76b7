"""Image files made of a root file system's tar archive, in the formats that hypervisors take."""

import collections.abc
import hashlib
import io
import json
import pathlib
import platform
import tarfile

from altostratus import layers, run

# The state of systemd in a container: what the engine needs to know to start and stop it.
_CONFIG = {"Cmd": ["/sbin/init"], "StopSignal": "SIGRTMIN+3", "Env": ["container=docker"]}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_BLOCK = 4096
_SLACK = 64 * 1024 * 1024
_CHUNK = 1024 * 1024


def write_docker_archive(
    root: pathlib.Path,
    target: pathlib.Path,
    tag: str,
    below: collections.abc.Sequence[pathlib.Path],
    lower: pathlib.Path,
) -> None:
    """Write the root as a docker-archive, as ``docker save`` does.

    Its layers are those in ``below``, which make up the root ``lower``, and the difference.
    """
    new = target.with_name(f"{target.name}.new")
    difference = target.with_name(f"{target.name}.layer")
    try:
        layers.write_difference(lower, root, difference)
        _write_layers((*below, difference), new, tag)
    finally:
        difference.unlink(missing_ok=True)
    new.replace(target)


def _write_layers(parts: tuple[pathlib.Path, ...], target: pathlib.Path, tag: str) -> None:
    digests = [_sha256(part) for part in parts]
    history = {"created": "1970-01-01T00:00:00Z", "created_by": "altostratus image build"}
    config = {
        "architecture": _ARCHITECTURES[platform.machine()],
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": _CONFIG,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [history for _ in parts],
    }
    content = json.dumps(config).encode()
    name = f"{hashlib.sha256(content).hexdigest()}.json"
    names = [f"{digest}/layer.tar" for digest in digests]
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": names}]
    with tarfile.TarFile(target, "w", format=tarfile.PAX_FORMAT, copybufsize=_CHUNK) as archive:
        for part, place in zip(parts, names, strict=True):
            archive.add(part, place, filter=_anonymous)
        _add_bytes(archive, name, content)
        _add_bytes(archive, "manifest.json", json.dumps(manifest).encode())


def write_ext4(root: pathlib.Path, target: pathlib.Path) -> None:
    """Unpack the root into an unpartitioned, sparse ext4 image just large enough for it."""
    new = target.with_name(f"{target.name}.new")
    new.unlink(missing_ok=True)
    size, files = _content(root)
    with new.open("wb") as image:
        image.truncate(size)
    # lazy_itable_init leaves the inode tables as holes: the image stays sparse.
    options = ["-q", "-F", "-m", "0", "-N", str(files * 2), "-J", "size=16"]
    run.run(["mkfs.ext4", *options, "-E", "lazy_itable_init=1,nodiscard", str(new)])
    # In a mount namespace of its own the mount, and with it the loop device, ends with
    # the process, however that ends.
    script = (
        'mount -t tmpfs none /mnt && mkdir /mnt/root && mount -o loop,noatime "$0" /mnt/root'
        " && tar -C /mnt/root --numeric-owner --xattrs --xattrs-include='*' -xf \"$1\""
        " && umount /mnt/root"
    )
    namespace = ["unshare", "--mount", "--propagation", "private"]
    run.run([*namespace, "setpriv", "--pdeathsig", "KILL", "sh", "-c", script, str(new), str(root)])
    new.replace(target)


def _content(root: pathlib.Path) -> tuple[int, int]:
    """The size in bytes of a file system for this root, and its number of files."""
    blocks = files = 0
    with tarfile.open(root, "r:") as archive:
        for member in archive:
            files += 1
            blocks += -(-member.size // _BLOCK) if member.isreg() else int(member.isdir())
    # An inode takes 256 bytes, of which there are twice as many as files.
    needed = blocks * _BLOCK * 1.02 + files * 512 + _SLACK
    return -(-int(needed) // _CHUNK) * _CHUNK, files


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
