"""The one place that knows how hypervisors differ; everybody else asks it."""

import collections.abc
import dataclasses
import enum
import math

from altostratus import errors
from altostratus.model import Hypervisor, Instance, Overcloud, Share

_UNDERCLOUD_MEMORY_MIB = 6 * 1024
_UNDERCLOUD_DISK_GIB = 16


class ImageForm(enum.StrEnum):
    """What the file of an image is; the value is the ending of its name."""

    DOCKER_ARCHIVE = "tar"
    FILE_SYSTEM = "raw"
    DISK = "img"
    RAMDISK = "initrd"


class Privileges(enum.StrEnum):
    """How an instance gets what a service needs that runs machines of its own."""

    ON_REQUEST = "on request"
    NEVER = "never"
    NOT_NEEDED = "not needed"


# Only administrators give flavors properties: what this one allows, users cannot take.
PRIVILEGED = "altostratus:privileged"
# Of Ironic's nodes; Placement has it in its own way of writing.
RESOURCE_CLASS = "baremetal"
_CAPABILITIES = ("altostratus_memory_mib", "altostratus_disk_gib")


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """What deploying to a hypervisor takes.

    ``hypervisor_type`` is Nova's word for it on images, ``trait`` what its compute processes
    offer and images and flavors ask for, ``template`` the provider template in ``heat/`` with
    ``server`` as the name of its server, ``elements`` what its images have besides the services'.
    ``has_clock`` says that its instances have a clock of their own, not the node's. ``rebuild_s`` is
    for how long an instance is down while it is rebuilt in place, as far as it was measured.

    ``process`` is what its compute process is called, if not like the hypervisor; it has a share
    of its node unless ``has_share`` is false: its instances have whole machines elsewhere, with
    one NIC, by which all networks but the first come tagged. Without a template no
    instance of an overcloud can be deployed to it. Only the undercloud's file asks for one that
    is not ``by_default``.
    """

    hypervisor_type: str
    image_form: ImageForm
    container_format: str
    trait: str
    compute_driver: str
    template: str = ""
    server: str = ""
    process: str = ""
    has_share: bool = True
    by_default: bool = True
    virt_type: str | None = None
    disk_format: str = "raw"
    elements: tuple[str, ...] = ()
    privileges: Privileges = Privileges.NOT_NEEDED
    has_clock: bool = False
    rebuild_s: int | None = None

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
        # Rounded up, here and below: Keystone "without an answer" in bench/upgrade.json.
        rebuild_s=7,
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
        rebuild_s=8,
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
    "baremetal": Entry(
        hypervisor_type="baremetal",
        image_form=ImageForm.DISK,
        container_format="bare",
        trait="CUSTOM_HYPERVISOR_BAREMETAL",
        compute_driver="ironic.IronicDriver",
        template="baremetal.yaml",
        server="baremetal_server",
        process="ironic",
        elements=("metal",),
        has_share=False,
        by_default=False,
        has_clock=True,
    ),
}
BAREMETAL = Hypervisor("baremetal")


def entry(hypervisor: Hypervisor | str) -> Entry:
    """What there is to know about a hypervisor."""
    return TABLE[hypervisor]


def process(hypervisor: Hypervisor | str) -> str:
    """What the compute process of a hypervisor is called: part of its host, unit and files."""
    return entry(hypervisor).process or str(hypervisor)


def compute_host(node: str, hypervisor: Hypervisor | str) -> str:
    """What the compute process of a hypervisor on a node is called in Nova."""
    return f"{node}-{process(hypervisor)}"


def node_of(host: str, hypervisor: Hypervisor | str) -> str:
    """The node of a compute host of this hypervisor."""
    return host.removesuffix(f"-{process(hypervisor)}")


def of_process(name: str) -> Hypervisor:
    """The hypervisor whose compute process is called so, which is known to exist."""
    return next(Hypervisor(one) for one in TABLE if process(one) == name)


def compute_element(hypervisor: Hypervisor | str) -> str:
    """The element that makes the compute process of a hypervisor."""
    return f"nova-compute-{process(hypervisor)}"


def of_type(hypervisor_type: str) -> Entry | None:
    """What there is to know about the hypervisor that Nova calls so, if it is one of ours."""
    return next((one for one in TABLE.values() if one.hypervisor_type == hypervisor_type), None)


def flavor_properties(instance: Instance) -> dict[str, str]:
    """What the flavor of an instance asks for: a whole machine is one of its class, and what the
    instance needs of it is asked of its capabilities."""
    found = entry(instance.hypervisor).flavor_properties
    if entry(instance.hypervisor).has_share:
        return found
    size = node_capabilities(instance.memory_mib, disk_gib(instance))
    return {
        **found,
        "resources:MEMORY_MB": "0",
        "resources:DISK_GB": "0",
        f"resources:{resource(instance.hypervisor)}": "1",
        **{f"capabilities:{key}": f">= {value}" for key, value in size.items()},
    }


def resource(hypervisor: Hypervisor | str) -> str:
    """What Placement calls the whole machines of a hypervisor that has such."""
    assert not entry(hypervisor).has_share
    return f"CUSTOM_{RESOURCE_CLASS.upper()}"


def node_capabilities(memory_mib: int, disk_gib: int) -> dict[str, str]:
    """The size of a machine as Nova's scheduler sees it: it sees nothing else of one."""
    return dict(zip(_CAPABILITIES, (str(memory_mib), str(disk_gib)), strict=True))


def disk_gib(instance: Instance) -> int:
    """What an instance takes of the disk that it is given: with its state, if that is all it has."""
    is_whole = not entry(instance.hypervisor).has_share
    return instance.disk_gib + (instance.state_gib if is_whole else 0)


def names() -> tuple[str, ...]:
    """The hypervisors that instances of overclouds can be deployed to."""
    return tuple(name for name, one in TABLE.items() if one.template)


def default() -> tuple[Hypervisor, ...]:
    """The hypervisors of an undercloud whose file does not say which."""
    return tuple(Hypervisor(name) for name, one in TABLE.items() if one.by_default)


@dataclasses.dataclass(frozen=True, slots=True)
class Need:
    """What the instances on one hypervisor take together."""

    memory_mib: int = 0
    disk_gib: int = 0


# What a share must have to be of use, and what a compute process must have to start.
LEAST = Need(2 * 1024, 6)
FLOOR = Need(512, 1)

Needs = collections.abc.Mapping[Hypervisor, Need]


def needs(overcloud: Overcloud) -> dict[Hypervisor, Need]:
    """What an overcloud takes of each hypervisor that has a share of a node."""
    found: dict[Hypervisor, Need] = {}
    for instance in overcloud.instances:
        if not entry(instance.hypervisor).has_share:
            continue
        before = found.get(instance.hypervisor, Need())
        found[instance.hypervisor] = Need(
            before.memory_mib + instance.memory_mib, before.disk_gib + instance.disk_gib
        )
    return found


def most(first: Needs, second: Needs) -> dict[Hypervisor, Need]:
    """The larger need of each hypervisor that has one."""
    least = Need()
    return {
        name: Need(
            max(first.get(name, least).memory_mib, second.get(name, least).memory_mib),
            max(first.get(name, least).disk_gib, second.get(name, least).disk_gib),
        )
        for name in (*first, *(name for name in second if name not in first))
        if first.get(name, least) != least or second.get(name, least) != least
    }


def shares(
    memory_mib: int,
    disk_gib: int,
    vcpus: int,
    wanted: Needs,
    among: collections.abc.Iterable[Hypervisor] | None = None,
) -> tuple[Share, ...]:
    """Split what a machine has, less what the undercloud needs itself, among hypervisors.

    Each hypervisor gets what is wanted of it, and an even part of what is left; the shares
    together never exceed the machine. One too small for all hypervisors has those that are wanted,
    and of the others as many as can have what is of use. Raises :class:`errors.Error` if even one share would be too small
    to be of use.
    """
    memory = memory_mib - min(_UNDERCLOUD_MEMORY_MIB, memory_mib // 2)
    disk = disk_gib - min(_UNDERCLOUD_DISK_GIB, disk_gib // 2)
    sharing = [name for name in among or default() if entry(name).has_share]
    if among is not None and not sharing:
        return ()
    count = min(len(sharing), memory // LEAST.memory_mib, disk // LEAST.disk_gib)
    if count < 1:
        raise errors.Error(
            f"the machine is too small: of its {memory_mib} MiB of memory and {disk_gib} GiB of"
            f" free disk {memory} MiB and {disk} GiB are left for instances; the least is"
            f" {LEAST.memory_mib} MiB and {LEAST.disk_gib} GiB",
            hint="use a larger machine, or free disk space",
        )
    order = sorted(sharing, key=lambda name: name not in wanted)
    # Rather without the last of the others than with too little for those that are wanted.
    for chosen in (order[:size] for size in range(count, 0, -1)):
        parts = _parts(Need(memory, disk), [wanted.get(name, LEAST) for name in chosen])
        if parts and wanted.keys() <= set(chosen):
            break
    else:
        chosen = order[:count]
    cpus, ratio = processors(vcpus, len(chosen))
    shares = tuple(Share(name, 0, 0, cpus, ratio) for name in chosen)
    return _divide(Need(memory, disk), shares, wanted)


def fit(kept: tuple[Share, ...], wanted: Needs) -> tuple[Share, ...]:
    """The same shares if they suffice, else the sum of them divided anew."""
    if all(_suffices(share, wanted.get(share.hypervisor, Need())) for share in kept):
        return kept
    memory = sum(share.memory_mib for share in kept)
    disk = sum(share.disk_gib for share in kept)
    return _divide(Need(memory, disk), kept, wanted)


def _suffices(share: Share, wanted: Need) -> bool:
    return wanted.memory_mib <= share.memory_mib and wanted.disk_gib <= share.disk_gib


def _divide(whole: Need, among: tuple[Share, ...], wanted: Needs) -> tuple[Share, ...]:
    """What is wanted, and an even part of what is left; no process starts with less than a floor.

    Too much wanted is left to the checks of deployments, which say by how much.
    """
    names = [share.hypervisor for share in among]
    parts = _parts(whole, [wanted.get(name, Need()) for name in names])
    if not parts or any(not _is_enough(part) for part in parts):
        parts = _parts(whole, [wanted.get(name, FLOOR) for name in names])
    parts = parts or _parts(whole, [Need() for _ in names])
    return tuple(
        dataclasses.replace(share, memory_mib=part.memory_mib, disk_gib=part.disk_gib)
        for share, part in zip(among, parts, strict=True)
    )


def _is_enough(part: Need) -> bool:
    return part.memory_mib >= FLOOR.memory_mib and part.disk_gib >= FLOOR.disk_gib


def _parts(whole: Need, first: list[Need]) -> list[Need]:
    """What comes first, and an even part of what is left; nothing if that is too much."""
    memory = whole.memory_mib - sum(one.memory_mib for one in first)
    disk = whole.disk_gib - sum(one.disk_gib for one in first)
    if memory < 0 or disk < 0:
        return []
    return [
        Need(one.memory_mib + memory // len(first), one.disk_gib + disk // len(first))
        for one in first
    ]


def processors(vcpus: int, count: int) -> tuple[int, float]:
    """How many of a machine's processors each of ``count`` has, and how much of them is its own.

    An inventory of VCPU is at least one: where there are fewer processors than that, one is shared.
    """
    if vcpus >= count:
        return vcpus // count, 1.0
    # Rounded down: the shares together must not exceed the machine.
    return 1, math.floor(vcpus / count * 1000) / 1000
