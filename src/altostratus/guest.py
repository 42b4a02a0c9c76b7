"""The image of a machine to try an overcloud with: one disk of Debian's kernel, BusyBox and Dropbear.

It boots in seconds without hardware's help, takes an address by DHCP, asks the metadata service
for its name and root's keys, and lets root in over ssh. Its files are in ``guest/``.
"""

import collections.abc
import gzip
import hashlib
import pathlib
import re
import shutil
import tempfile

from altostratus import errors, log, machine, run

SSH_USER = "root"
_FILES = pathlib.Path(__file__).parents[2] / "guest"
_KERNEL = "linux-image-cloud-amd64"
_PROGRAMS = ("busybox-static", "dropbear-bin")
_TOOLS = ("cpio", "dosfstools", "kmod", "mtools", "syslinux")
_MODULES = ("virtio_pci", "virtio_net", "virtio_blk")
_SIZE_KIB = 32 * 1024
_DIGITS = 16
_KEPT = 2


def build() -> pathlib.Path:
    """Build the image unless the cache holds it; returns the file of its raw disk."""
    target = path()
    if target.exists():
        return target
    folder = target.parent
    machine.install(_TOOLS)
    folder.mkdir(parents=True, exist_ok=True)
    with log.step(f"build {target.name}"), tempfile.TemporaryDirectory(dir=folder) as work:
        place = pathlib.Path(work)
        packages = _unpack(place / "packages")
        initrd = _initrd(packages, place)
        (kernel,) = (packages / "boot").glob("vmlinuz-*")
        _disk(place / "disk", kernel, initrd).rename(target)
    for old in sorted(folder.glob("altostratus-guest-*.raw"), key=_age)[:-_KEPT]:
        old.unlink()
    return target


def path() -> pathlib.Path:
    """The image's file in the cache, whether it is there or not."""
    return machine.cache_dir() / "images" / f"altostratus-guest-{digest()[:_DIGITS]}.raw"


def digest() -> str:
    """sha256 of the files that are ours; Debian's are those of the day on which it is built."""
    paths = [pathlib.Path(__file__), *sorted(path for path in _FILES.rglob("*") if path.is_file())]
    content = hashlib.sha256()
    for path in paths:
        content.update(f"{path.name}\0".encode() + path.read_bytes())
    return content.hexdigest()


def _age(path: pathlib.Path) -> float:
    return path.stat().st_mtime


def _unpack(into: pathlib.Path) -> pathlib.Path:
    """The content of the packages and of all that they depend on, not installed."""
    into.mkdir()
    archives = into.with_name("archives")
    archives.mkdir()
    names = [_newest_kernel(), *_with_dependencies(_PROGRAMS)]
    # apt fetches as a user of its own if it can: the folder is for it, too.
    archives.chmod(0o777)
    archives.parent.chmod(0o755)
    run.run(["env", "-C", str(archives), "apt-get", "-q", "download", *names])
    for archive in sorted(archives.glob("*.deb")):
        run.run(["dpkg-deb", "--extract", str(archive), str(into)])
    return into


def _newest_kernel() -> str:
    """The package that the one without a version stands for."""
    listing = run.run(["apt-cache", "depends", "--important", _KERNEL]).stdout
    found = re.search(r"Depends: (linux-image-\S+)", listing)
    if found is None:
        raise errors.Error(
            f"this machine's package sources have no {_KERNEL}",
            hint="the guest image is made of Debian 12's packages for amd64; see 'apt-get update'",
        )
    return found[1]


def _with_dependencies(names: collections.abc.Iterable[str]) -> list[str]:
    listing = run.run([
        "apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-enhances",
        "--no-conflicts", "--no-breaks", "--no-replaces", *names,
    ]).stdout  # fmt: skip
    return sorted(set(re.findall(r"^([a-z0-9][a-z0-9.+-]*)$", listing, re.MULTILINE)))


def _initrd(packages: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    root = place / "root"
    for folder in ("bin", "sbin", "etc", "lib/modules"):
        (root / folder).mkdir(parents=True)
    _install(packages / "bin" / "busybox", root / "bin" / "busybox")
    dropbear = packages / "usr" / "sbin" / "dropbear"
    _install(dropbear, root / "sbin" / "dropbear")
    for library in _libraries(packages, dropbear):
        _install(library, root / "lib" / "x86_64-linux-gnu" / library.name)
    (root / "lib64").symlink_to("lib/x86_64-linux-gnu")
    _copy_modules(packages, root / "lib" / "modules")
    shutil.copy(_FILES / "init", root / "init")
    shutil.copytree(_FILES / "sbin", root / "sbin", dirs_exist_ok=True)
    for name in ("passwd", "inittab"):
        shutil.copy(_FILES / name, root / "etc" / name)
    listing = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = place / "initrd.cpio"
    run.run(
        ["cpio", "--create", "--quiet", "--format=newc", "--owner=0:0", f"--directory={root}",
         f"--file={archive}"],
        input=listing,
    )  # fmt: skip
    compressed = place / "initrd"
    with archive.open("rb") as source, gzip.open(compressed, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target)
    return compressed


def _install(source: pathlib.Path, target: pathlib.Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    target.chmod(0o755)


def _libraries(packages: pathlib.Path, program: pathlib.Path) -> list[pathlib.Path]:
    """The loader, and what it finds among the packages for a program."""
    folders = [packages / part / "x86_64-linux-gnu" for part in ("lib", "usr/lib")]
    (loader,) = (folders[0]).glob("ld-linux-x86-64.so.2")
    path = ":".join(map(str, folders))
    listing = run.run([str(loader), "--list", "--library-path", path, str(program)]).stdout
    return [loader, *(pathlib.Path(one) for one in re.findall(r"=> (\S+) \(", listing))]


def _copy_modules(packages: pathlib.Path, target: pathlib.Path) -> None:
    """The modules and what they need, numbered in the order in which they must be loaded."""
    (modules,) = (packages / "lib" / "modules").iterdir()
    run.run(["depmod", f"--basedir={packages}", modules.name])
    needed = run.run([
        "modprobe", "--all", "--show-depends", f"--dirname={packages}",
        f"--set-version={modules.name}", *_MODULES,
    ]).stdout  # fmt: skip
    for number, found in enumerate(
        dict.fromkeys(re.findall(r"^insmod (\S+)", needed, re.MULTILINE))
    ):
        shutil.copy(found, target / f"{number:02}-{pathlib.Path(found).name}")


def _disk(target: pathlib.Path, kernel: pathlib.Path, initrd: pathlib.Path) -> pathlib.Path:
    """A FAT file system with a boot loader in its first sector, which needs no partition."""
    run.run(["mkfs.fat", "-C", "-F", "16", "-n", "GUEST", str(target), str(_SIZE_KIB)])
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd")):
        run.run(["mcopy", "-i", str(target), str(source), f"::{name}"])
    run.run(["mcopy", "-i", str(target), str(_FILES / "syslinux.cfg"), "::syslinux.cfg"])
    run.run(["syslinux", "--install", str(target)])
    return target
