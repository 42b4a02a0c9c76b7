"""This machine as the first node of an undercloud: how it is divided among the hypervisors."""

import collections.abc
import dataclasses
import json

from altostratus import errors, hypervisors, machine, metadata, nodemetadata, sitemetadata
from altostratus.hypervisors import Needs
from altostratus.model import ControlNetwork, Hypervisor, Overcloud, Site, Undercloud


def undercloud(
    overcloud: Overcloud | None = None, asked: Needs | None = None, site: Site | None = None
) -> Undercloud:
    """The undercloud of this machine, with room for an overcloud where it can be made.

    ``asked`` are the hypervisors that its file names, with the least that each gets, ``site`` is
    what it says besides. One that is there keeps both where nothing is asked, and the sum of its shares: free disk shrinks
    as it is used, and computed anew they would shrink with it. Raises :class:`errors.Error` if the
    machine is too small, or has an undercloud that lacks or has what is not asked for.
    """
    wanted = hypervisors.most(hypervisors.needs(overcloud) if overcloud else {}, asked or {})
    chosen = tuple(asked) if asked is not None else None
    there = kept()
    if there is not None:
        if site is not None:
            refuse_moves(there.control, site.control)
        return dataclasses.replace(
            there,
            site=site or there.site,
            hypervisors=again(there.hypervisors, chosen),
            shares=hypervisors.fit(there.shares, wanted),
        )
    size = machine.size()
    among = chosen or hypervisors.default()
    shares = hypervisors.shares(size.memory_mib, size.disk_gib, size.vcpus, wanted, among)
    _refuse_without_share(chosen or (), {share.hypervisor for share in shares})
    return Undercloud(shares, chosen, site=site or Site())


def kept() -> Undercloud | None:
    """The undercloud of this machine as it was last wanted, if there is one."""
    path = machine.state_dir() / "undercloud" / "local-data" / "undercloud.json"
    if not path.exists():
        return None
    tree = json.loads(path.read_text())
    return Undercloud(
        metadata.shares_of(tree),
        metadata.hypervisors_of(tree),
        site=sitemetadata.site_of(tree),
        nodes=nodemetadata.nodes_of(tree),
    )


def _refuse_without_share(
    asked: tuple[Hypervisor, ...], given: collections.abc.Container[Hypervisor]
) -> None:
    without = [name for name in asked if hypervisors.entry(name).has_share and name not in given]
    if without:
        raise errors.Error(
            f"the machine is too small for a share of {', '.join(without)} besides the others",
            hint="name fewer hypervisors in the undercloud's file, or use a larger machine",
        )


def again(
    there: tuple[Hypervisor, ...] | None, asked: tuple[Hypervisor, ...] | None
) -> tuple[Hypervisor, ...] | None:
    """The hypervisors of an undercloud that is there: one without a share can come to it.

    Raises :class:`errors.Error` if others are asked for.
    """
    if asked is None:
        return there
    has = there or hypervisors.default()
    more = [name for name in asked if name not in has]
    if set(has) <= set(asked) and not any(hypervisors.entry(name).has_share for name in more):
        return asked
    raise errors.Error(
        f"the undercloud of this machine has the hypervisors {', '.join(has)}, and the file asks"
        f" for {', '.join(asked)}: only one without a share of the node can come to it",
        hint="./altostratus undercloud down removes it, with all that is on it",
    )


def refuse_moves(there: ControlNetwork, asked: ControlNetwork) -> None:
    """Raise :class:`errors.Error` where another control network is asked for than there is: all
    instances, nodes and endpoints have addresses on it."""
    if there != asked:
        raise errors.Error(
            f"the undercloud of this machine has the control network {_in_words(there)}, and the"
            f" file asks for {_in_words(asked)}: that is chosen when it is made",
            hint="./altostratus undercloud down removes it, with all that is on it",
        )


def _in_words(control: ControlNetwork) -> str:
    return (
        f"{control.cidr} (itself {control.address}, DHCP {control.dhcp_address}, instances"
        f" {control.pool_start} to {control.pool_end})"
    )
