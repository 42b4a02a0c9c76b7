"""The options of group [altostratus] in nova.conf."""

import nova.conf
from oslo_config import cfg

CONF = nova.conf.CONF

CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_BOOT",
    "SYS_CHROOT",
)

GROUP = cfg.OptGroup(
    "altostratus",
    title="Altostratus compute drivers",
    help="""
Several compute processes share one node. Each has a configuration file of its own, with its own
`host`, `state_path` and the share of the node that is its to give away.
""",
)

COMMON = [
    cfg.IntOpt(
        "memory_mb",
        default=2048,
        min=1,
        help="""
Memory of this compute process's share of the node, in MiB. It is the whole inventory of MEMORY_MB
in placement: nothing is reserved of it and it is not overcommitted. The shares of a node's compute
processes, and what the node needs for itself, must not add up to more than the node has.
""",
    ),
    cfg.IntOpt(
        "disk_gb",
        default=10,
        min=1,
        help="""
Disk of this compute process's share of the node, in GiB: the whole inventory of DISK_GB.
""",
    ),
    cfg.IntOpt(
        "vcpus",
        default=1,
        min=1,
        help="""
VCPUs of this compute process's share of the node: the whole inventory of VCPU. Flavors with
`resources:VCPU=0` reserve none of it: their instances share the processors, each up to its vcpus.
""",
    ),
    cfg.FloatOpt(
        "vcpu_ratio",
        default=1.0,
        min=0.001,
        max=1.0,
        help="""
How much of its VCPUs this compute process has to give away. Less than 1 where a node has fewer
processors than compute processes: an inventory of VCPU is at least 1.
""",
    ),
    cfg.StrOpt(
        "network_host",
        help="""
The `host` of the layer 2 agent that wires this node's ports. Neutron binds a port only to a host
with a live agent, and a node has one agent however many compute processes it has. Unset: `host`
of this process.
""",
    ),
    cfg.IntOpt(
        "previous_roots",
        default=1,
        min=0,
        help="""
How many roots an instance keeps that it had before it was rebuilt with another image. A rebuild
back to the image of one of them takes it up again, as it was, and fetches nothing. They are not in
the inventory of disk, and go with their instance.
""",
    ),
    cfg.StrOpt(
        "state_disks_path",
        default="/mnt/state/state-disks",
        help="""
Where state disks are kept: one file `<project id>/<name>.img` for each instance with the metadata
`altostratus:state_disk`. All compute processes of a node that instances may move between must have
the same path. The files outlive their instances, until one is deleted that carries the metadata
`altostratus:state_release=true`.
""",
    ),
]

DOCKER = [
    cfg.StrOpt(
        "docker_host",
        default="unix:///var/run/docker.sock",
        help="""
The Docker Engine's socket. The engine must run on this machine: the driver enters the network
namespaces of its containers.
""",
    ),
    cfg.IntOpt(
        "docker_timeout",
        default=120,
        min=1,
        help="Seconds to wait for the engine's next byte before a request counts as failed.",
    ),
    cfg.StrOpt(
        "registry",
        help="""
The registry (`host:port`) that holds the layers of images of which Glance holds the manifest. The
engine takes one at a loopback address without TLS. Unset: Glance must hold whole archives.
""",
    ),
    cfg.StrOpt("registry_user", help="The user that the registry knows; unset: none."),
    cfg.StrOpt("registry_password", secret=True, help="The registry's password of this user."),
    cfg.IntOpt(
        "shutdown_timeout",
        default=60,
        min=1,
        help="Seconds an instance gets to shut down in a soft reboot or a rebuild.",
    ),
    cfg.IntOpt(
        "pids_limit",
        default=4096,
        min=64,
        help="How many processes and threads an instance can have.",
    ),
    cfg.ListOpt(
        "capabilities",
        default=list(CAPABILITIES),
        help="""
The capabilities an instance keeps; all others are dropped. The default suffices for systemd, sshd,
databases and WSGI servers. NET_ADMIN and SYS_BOOT reach no further than the instance's own
namespaces: its own interfaces and packet filter, and its own reboot.
""",
    ),
    cfg.BoolOpt(
        "no_new_privileges",
        default=True,
        help="""
Whether programs in an instance are kept from gaining privileges by execve: setuid programs such as
sudo and su then run with the caller's own rights. Services started by systemd are not affected.
""",
    ),
]

CONF.register_group(GROUP)
CONF.register_opts([*COMMON, *DOCKER], group=GROUP)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """Return the options for oslo-config-generator."""
    return [("altostratus", [*COMMON, *DOCKER])]
