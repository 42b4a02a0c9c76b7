"""Image files made of a root file system's layers, in the formats that hypervisors take."""

import collections.abc
import hashlib
import io
import json
import pathlib
import platform
import struct
import tarfile

from altostratus import errors, layers, run

# The state of systemd in a container: what the engine needs to know to start and stop it.
_CONFIG = {"Cmd": ["/sbin/init"], "StopSignal": "SIGRTMIN+3", "Env": ["container=docker"]}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_BLOCK = 4096
_SLACK = 64 * 1024 * 1024
_CHUNK = 1024 * 1024
_SECTOR = 512
# Where the one partition of a disk begins. What loads the kernel lies before it.
_PARTITION = 2048 * _SECTOR
_BOOT = "usr/lib/altostratus/boot.img"
_CORE = "usr/lib/altostratus/core.img"
_BOOT_CODE = 440
_TABLE = 446
_LINUX = 0x83
_ACTIVE = 0x80
# In place of cylinders, heads and sectors: too large for them, see the sector numbers.
_NO_GEOMETRY = b"\xfe\xff\xff"


def write_docker_archive(
    parts: collections.abc.Sequence[pathlib.Path], target: pathlib.Path, tag: str
) -> None:
    """Write a docker-archive of these layers, the lowest first, as ``docker save`` does."""
    new = target.with_name(f"{target.name}.new")
    _write_layers(parts, new, tag)
    new.replace(target)


def _write_layers(
    parts: collections.abc.Sequence[pathlib.Path], target: pathlib.Path, tag: str
) -> None:
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


def write_ext4(root: layers.Root, target: pathlib.Path) -> None:
    """Copy the root into an unpartitioned, sparse ext4 image just large enough for it."""
    new = target.with_name(f"{target.name}.new")
    _make_file_system(root, new, 0)
    new.replace(target)


def write_disk(root: layers.Root, target: pathlib.Path) -> None:
    """Copy the root, one with the element ``vm``, into a sparse disk that a BIOS boots."""
    new = target.with_name(f"{target.name}.new")
    _make_file_system(root, new, _PARTITION)
    boot, core = (_read(root, name) for name in (_BOOT, _CORE))
    if len(core) > _PARTITION - _SECTOR:
        raise errors.Error(f"{_CORE} has {len(core)} bytes: too many to lie before the partition")
    with new.open("r+b") as image:
        # The core image is expected right behind the boot sector, and there it is.
        image.write(boot[:_BOOT_CODE])
        image.seek(_TABLE)
        image.write(_partition_table(new.stat().st_size))
        image.write(core)
    new.replace(target)


def _partition_table(size: int) -> bytes:
    """The end of the first sector of a disk with one partition up to its end."""
    first, count = _PARTITION // _SECTOR, (size - _PARTITION) // _SECTOR
    entry = struct.pack("<B3sB3sII", _ACTIVE, _NO_GEOMETRY, _LINUX, _NO_GEOMETRY, first, count)
    return entry.ljust(_SECTOR - _TABLE - 2, b"\0") + b"\x55\xaa"


def _make_file_system(root: layers.Root, image: pathlib.Path, offset: int) -> None:
    """Copy the root into a new ext4 file system at the end of a file."""
    image.unlink(missing_ok=True)
    size, files = _content(root)
    with image.open("wb") as file:
        file.truncate(offset + size)
    # lazy_itable_init leaves the inode tables as holes: the image stays sparse.
    extended = f"lazy_itable_init=1,nodiscard,offset={offset}"
    options = ["-q", "-F", "-m", "0", "-N", str(files * 2), "-J", "size=16", "-E", extended]
    run.run(["mkfs.ext4", *options, str(image), f"{size // 1024}k"])
    # In namespaces of its own all programs, the mounts, and with them the loop device, end
    # with the first process, however that ends.
    script = (
        "mount -t tmpfs none /mnt && mkdir /mnt/image /mnt/root /mnt/nothing"
        ' && mount -t overlay -o "ro,lowerdir=$1:/mnt/nothing" none /mnt/root'
        ' && mount -o "$2" "$0" /mnt/image'
        " && cp -a /mnt/root/. /mnt/image/ && umount /mnt/image"
    )
    run.run([
        "setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private",
        "--pid", "--fork", "--kill-child", "sh", "-c", script,
        str(image), layers.lower_directories(root), f"loop,noatime,offset={offset}",
    ])  # fmt: skip


def _read(root: layers.Root, name: str) -> bytes:
    return next((layer / name).read_bytes() for layer in reversed(root) if (layer / name).exists())


def _content(root: layers.Root) -> tuple[int, int]:
    """The size in bytes of a file system for this root, and its number of files."""
    found = layers.files(root).values()
    regular = [one.stat().st_size for one in found if one.is_file(follow_symlinks=False)]
    folders = sum(one.is_dir(follow_symlinks=False) for one in found)
    blocks = sum(-(-size // _BLOCK) for size in regular) + folders
    # An inode takes 256 bytes, of which there are twice as many as files.
    needed = blocks * _BLOCK * 1.02 + len(found) * 512 + _SLACK
    return -(-int(needed) // _CHUNK) * _CHUNK, len(found)


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
