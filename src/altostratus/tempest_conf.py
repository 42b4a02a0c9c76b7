"""What tempest is told of an overcloud: its configuration file, from plain facts."""

import collections.abc
import dataclasses

_TRUE, _FALSE = "true", "false"
_DOMAIN = "Default"
# Machines are emulated where the overcloud runs without hardware's help.
_BUILD_S = 600
_SSH_S = 300


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """An overcloud as tempest meets it.

    ``services`` are those deployed. ``image``, ``flavors`` and ``external_network`` are ids, empty
    where the overcloud has no machines or no way out. ``extensions`` are Neutron's.
    """

    auth_url: str
    username: str
    password: str
    project: str
    region: str
    services: tuple[str, ...]
    lock_path: str
    image: str = ""
    flavors: tuple[str, str] = ("", "")
    external_network: str = ""
    extensions: tuple[str, ...] = ()
    ssh_user: str = ""
    ca_file: str = ""


def render(facts: Facts) -> str:
    """The text of tempest.conf."""
    return "\n".join(
        "".join((f"[{name}]\n", *(f"{key} = {value}\n" for key, value in options.items())))
        for name, options in _sections(facts).items()
    )


def _sections(facts: Facts) -> dict[str, dict[str, str]]:
    has_machines = "nova-compute" in facts.services
    has_networks = "neutron" in facts.services
    return {
        "DEFAULT": {"use_stderr": _FALSE, "log_file": "tempest.log"},
        "oslo_concurrency": {"lock_path": facts.lock_path},
        "auth": {
            "use_dynamic_credentials": _TRUE,
            "create_isolated_networks": _bool(has_networks),
            "admin_username": facts.username,
            "admin_password": facts.password,
            "admin_project_name": facts.project,
            "admin_domain_name": _DOMAIN,
        },
        "identity": {
            "auth_version": "v3",
            "uri_v3": facts.auth_url,
            "region": facts.region,
            "v3_endpoint_type": "public",
            "ca_certificates_file": facts.ca_file,
        },
        "service_available": {
            "cinder": _FALSE,
            "swift": _FALSE,
            "horizon": _FALSE,
            "glance": _bool("glance" in facts.services),
            "neutron": _bool(has_networks),
            # Without a compute node Nova can do nothing that the smoke tests ask of it.
            "nova": _bool(has_machines),
        },
        **_machines(facts, has_machines),
        **_networks(facts),
    }


def _machines(facts: Facts, has_machines: bool) -> dict[str, dict[str, str]]:
    unsupported = (
        "resize",
        "cold_migration",
        "live_migration",
        "vnc_console",
        "attach_encrypted_volume",
        "personality",
        # The guest reads the metadata service.
        "config_drive",
    )
    return {
        "compute": {
            "image_ref": facts.image,
            "image_ref_alt": facts.image,
            "flavor_ref": facts.flavors[0],
            "flavor_ref_alt": facts.flavors[1],
            "min_compute_nodes": "1",
            "build_timeout": str(_BUILD_S),
        },
        "compute-feature-enabled": dict.fromkeys(unsupported, _FALSE),
        "validation": {
            "run_validation": _bool(has_machines and bool(facts.external_network)),
            "connect_method": "floating",
            "auth_method": "keypair",
            "image_ssh_user": facts.ssh_user,
            "ssh_timeout": str(_SSH_S),
            "ping_timeout": str(_SSH_S),
        },
        "scenario": {"dhcp_client": "udhcpc"},
    }


def _networks(facts: Facts) -> dict[str, dict[str, str]]:
    return {
        "network": {
            "public_network_id": facts.external_network,
            "project_networks_reachable": _FALSE,
        },
        "network-feature-enabled": {
            "floating_ips": _bool(bool(facts.external_network)),
            "port_security": _TRUE,
            "api_extensions": _list(facts.extensions),
        },
    }


def _bool(value: bool) -> str:
    return _TRUE if value else _FALSE


def _list(values: collections.abc.Iterable[str]) -> str:
    return ",".join(sorted(values))
