"""The one place that knows how hypervisors differ; everybody else asks it."""

import collections.abc
import dataclasses
import enum
import math

from altostratus import errors
from altostratus.model import Hypervisor, Overcloud, Share

_UNDERCLOUD_MEMORY_MIB = 6 * 1024
_UNDERCLOUD_DISK_GIB = 20
_LEAST_MEMORY_MIB = 2 * 1024
_LEAST_DISK_GIB = 6


class ImageForm(enum.StrEnum):
    """What the file of an image is; the value is the ending of its name."""

    DOCKER_ARCHIVE = "tar"
    FILE_SYSTEM = "raw"
    DISK = "img"


class Privileges(enum.StrEnum):
    """How an instance gets what a service needs that runs machines of its own."""

    ON_REQUEST = "on request"
    NEVER = "never"
    NOT_NEEDED = "not needed"


# Only administrators give flavors properties: what this one allows, users cannot take.
PRIVILEGED = "altostratus:privileged"


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What deploying to a hypervisor takes.

    ``hypervisor_type`` is Nova's word for it on images, ``trait`` what its compute processes
    offer and images and flavors ask for, ``template`` the provider template in ``heat/`` with
    ``server`` as the name of its server, ``elements`` what its images have besides the services'.
    ``has_clock`` says that its instances have a clock of their own, not the node's.
    """

    hypervisor_type: str
    image_form: ImageForm
    container_format: str
    trait: str
    template: str
    server: str
    compute_driver: str
    virt_type: str | None = None
    disk_format: str = "raw"
    elements: tuple[str, ...] = ()
    privileges: Privileges = Privileges.NOT_NEEDED
    has_clock: bool = False

    @property
    def image_suffix(self) -> str:
        """The ending of the names of its images' files."""
        return str(self.image_form)

    @property
    def flavor_properties(self) -> dict[str, str]:
        """Processors are shared up to a limit, not reserved: VCPU is asked for in no amount."""
        return {"resources:VCPU": "0", f"trait:{self.trait}": "required"}

    @property
    def image_properties(self) -> dict[str, str]:
        """What keeps an instance of the image away from other hypervisors."""
        return {"hypervisor_type": self.hypervisor_type, f"trait:{self.trait}": "required"}


TABLE = {
    "docker": Entry(
        hypervisor_type="docker",
        image_form=ImageForm.DOCKER_ARCHIVE,
        container_format="docker",
        trait="CUSTOM_HYPERVISOR_DOCKER",
        template="docker.yaml",
        server="docker_server",
        compute_driver="altostratus.DockerDriver",
        privileges=Privileges.ON_REQUEST,
    ),
    "lxc": Entry(
        hypervisor_type="lxc",
        image_form=ImageForm.FILE_SYSTEM,
        container_format="bare",
        trait="CUSTOM_HYPERVISOR_LXC",
        template="lxc.yaml",
        server="lxc_server",
        compute_driver="altostratus.LibvirtDriver",
        virt_type="lxc",
        privileges=Privileges.NEVER,
    ),
    "kvm": Entry(
        hypervisor_type="qemu",
        image_form=ImageForm.DISK,
        container_format="bare",
        trait="CUSTOM_HYPERVISOR_KVM",
        template="kvm.yaml",
        server="kvm_server",
        compute_driver="altostratus.LibvirtDriver",
        # No virt_type: each node finds out itself whether it is "kvm" or "qemu".
        elements=("vm",),
        has_clock=True,
    ),
}


def entry(hypervisor: Hypervisor | str) -> Entry:
    """What there is to know about a hypervisor."""
    return TABLE[hypervisor]


def compute_element(hypervisor: Hypervisor | str) -> str:
    """The element that makes the compute process of a hypervisor."""
    return f"nova-compute-{hypervisor}"


def of_type(hypervisor_type: str) -> Entry | None:
    """What there is to know about the hypervisor that Nova calls so, if it is one of ours."""
    return next((one for one in TABLE.values() if one.hypervisor_type == hypervisor_type), None)


def names() -> tuple[str, ...]:
    """The hypervisors that can be deployed to."""
    return tuple(TABLE)


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """What the instances on one hypervisor take together."""

    memory_mib: int = 0
    disk_gib: int = 0


Needs = collections.abc.Mapping[Hypervisor, Need]


def needs(overcloud: Overcloud) -> dict[Hypervisor, Need]:
    """What an overcloud takes of each hypervisor."""
    found: dict[Hypervisor, Need] = {}
    for instance in overcloud.instances:
        before = found.get(instance.hypervisor, Need())
        found[instance.hypervisor] = Need(
            before.memory_mib + instance.memory_mib, before.disk_gib + instance.disk_gib
        )
    return found


def shares(memory_mib: int, disk_gib: int, vcpus: int, wanted: Needs) -> tuple[Share, ...]:
    """Split what a machine has, less what the undercloud needs itself.

    Each hypervisor gets what is wanted of it, and an even part of what is left; the shares
    together never exceed the machine. One too small for all hypervisors has those that are wanted,
    and the first of the others. Raises :class:`errors.Error` if even one share would be too small
    to be of use.
    """
    memory = memory_mib - min(_UNDERCLOUD_MEMORY_MIB, memory_mib // 2)
    disk = disk_gib - min(_UNDERCLOUD_DISK_GIB, disk_gib // 2)
    count = min(len(TABLE), memory // _LEAST_MEMORY_MIB, disk // _LEAST_DISK_GIB)
    if count < 1:
        raise errors.Error(
            f"the machine is too small: of its {memory_mib} MiB of memory and {disk_gib} GiB of"
            f" free disk {memory} MiB and {disk} GiB are left for instances; the least is"
            f" {_LEAST_MEMORY_MIB} MiB and {_LEAST_DISK_GIB} GiB",
            hint="use a larger machine, or free disk space",
        )
    chosen = sorted(map(Hypervisor, TABLE), key=lambda name: name not in wanted)[:count]
    cpus, ratio = _processors(vcpus, count)
    return _divide(memory, disk, tuple(Share(name, 0, 0, cpus, ratio) for name in chosen), wanted)


def fit(kept: tuple[Share, ...], wanted: Needs) -> tuple[Share, ...]:
    """The same shares if they suffice, else the sum of them divided anew."""
    if all(_suffices(share, wanted.get(share.hypervisor, Need())) for share in kept):
        return kept
    memory = sum(share.memory_mib for share in kept)
    disk = sum(share.disk_gib for share in kept)
    return _divide(memory, disk, kept, wanted)


def _suffices(share: Share, wanted: Need) -> bool:
    return wanted.memory_mib <= share.memory_mib and wanted.disk_gib <= share.disk_gib


def _divide(memory: int, disk: int, among: tuple[Share, ...], wanted: Needs) -> tuple[Share, ...]:
    """Too much wanted is left to the checks of deployments, which say by how much."""
    first = [wanted.get(share.hypervisor, Need()) for share in among]
    if sum(one.memory_mib for one in first) > memory or sum(one.disk_gib for one in first) > disk:
        first = [Need() for _ in among]
    spare_memory = (memory - sum(one.memory_mib for one in first)) // len(first)
    spare_disk = (disk - sum(one.disk_gib for one in first)) // len(first)
    return tuple(
        dataclasses.replace(
            share, memory_mib=one.memory_mib + spare_memory, disk_gib=one.disk_gib + spare_disk
        )
        for share, one in zip(among, first, strict=True)
    )


def _processors(vcpus: int, count: int) -> tuple[int, float]:
    """How many of a machine's processors each of ``count`` has, and how much of them is its own.

    An inventory of VCPU is at least one: where there are fewer processors than that, one is shared.
    """
    if vcpus >= count:
        return vcpus // count, 1.0
    # Rounded down: the shares together must not exceed the machine.
    return 1, math.floor(vcpus / count * 1000) / 1000
