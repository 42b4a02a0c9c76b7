"""One of Ironic's nodes: found by its name, told to change its state, and what it means when it fails."""

import re
from typing import Any

import openstack.exceptions

from altostratus import cloud, errors, log

# Booting and deploying are checked with an image, which a machine without an instance has not.
_NEEDED = ("inspect", "management", "network", "power")
_JOURNAL = "look at what the undercloud says: ./altostratus undercloud shell journalctl -u ironic"
# What Ironic's message means, the first that fits.
_CAUSES = (
    (r"returned code 401|[Aa]ccess ?[Ee]rror|[Ii]ncorrect username|Unauthorized",
     "it refuses the user or the password"),
    (r"certificate verify failed|CERTIFICATE_VERIFY", "its certificate is not trusted"),
    (r"returned code 404|Resource \S+ not found", "it has no such system"),
    (r"Unable to connect|Connection ?Error|Max retries|timed? ?out|No route to host|refused",
     "it cannot be reached from the undercloud"),
)  # fmt: skip


def change(metal: Any, node: Any, verb: str, timeout_s: float, step: log.Step) -> Any:
    """Ask for a change of state, and wait until the node is in a state in which it stays."""
    try:
        metal.set_node_provision_state(node, verb)
    except openstack.exceptions.ConflictException as exc:
        raise failure(node, f"it cannot {verb} now", str(exc)) from exc

    def look() -> tuple[Any, str]:
        found = metal.get_node(node.id)
        state = str(found.provision_state)
        # One that failed still has where it was to come to.
        ended = not found.target_provision_state or state.endswith("failed")
        return (found if ended else None), state

    hint = f"openstack --os-cloud undercloud baremetal node show {node.name}"
    what = f"node {node.name} (BMC {bmc(node)}): {verb}"
    return cloud.wait(what, look, timeout_s, hint=hint, step=step)


def validate(metal: Any, node: Any) -> None:
    """Raise :class:`errors.Error` if Ironic lacks what it needs to look after a node."""
    found = metal.validate_node(node, required=None)
    wrong = {name: found[name].reason for name in _NEEDED if not found[name].result}
    if wrong:
        causes = "; ".join(f"{name}: {reason}" for name, reason in sorted(wrong.items()))
        raise failure(node, "Ironic cannot use it", causes)


def find(metal: Any, name: str) -> Any:
    """The node of this name. Raises :class:`errors.Error` if there is none."""
    node = metal.find_node(name, details=True)
    if node is None:
        known = [one.name or one.id for one in metal.nodes()]
        raise errors.Error(*errors.unknown("node", name, known))
    return node


def bmc(node: Any) -> str:
    """Where its BMC is."""
    info = node.driver_info or {}
    return f"{info.get('redfish_address', '')}{info.get('redfish_system_id', '')}"


def failure(node: Any, what: str, said: str, hint: str = _JOURNAL) -> errors.Error:
    """What failed at a node, and why: as Ironic said it, or in fewer words."""
    return errors.Error(f"node {node.name} (BMC {bmc(node)}): {what}: {cause(said)}", hint=hint)


def cause(said: str) -> str:
    """What a message of Ironic's means, in a few words where it is known."""
    known = next((words for pattern, words in _CAUSES if re.search(pattern, said)), None)
    return known or " ".join(said.split())
