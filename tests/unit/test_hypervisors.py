"""A machine's shares: as much as is wanted of each hypervisor, and never more than the machine."""

import pytest

from altostratus import errors, hypervisors
from altostratus.hypervisors import Need
from altostratus.model import Hypervisor, Share

DOCKER, LXC = Hypervisor.DOCKER, Hypervisor.LXC


@pytest.mark.parametrize("wanted", [{}, {DOCKER: Need(9000, 24)}, {LXC: Need(90000, 1)}])
def test_shares_never_exceed_the_machine(wanted: hypervisors.Needs) -> None:
    found = hypervisors.shares(24000, 60, 2, wanted)
    assert sum(one.memory_mib for one in found) <= 24000
    assert sum(one.disk_gib for one in found) <= 60
    assert sum(one.vcpus for one in found) <= 2


def test_what_is_wanted_is_given_and_the_rest_split_evenly() -> None:
    docker, lxc = hypervisors.shares(26 * 1024, 60, 2, {DOCKER: Need(10 * 1024, 24)})
    assert (docker.memory_mib, lxc.memory_mib) == (15 * 1024, 5 * 1024)
    assert (docker.disk_gib, lxc.disk_gib) == (32, 8)


def test_small_machine_is_refused() -> None:
    with pytest.raises(errors.Error, match="too small"):
        hypervisors.shares(7000, 60, 2, {})


def test_shares_that_suffice_are_kept() -> None:
    kept = (Share(DOCKER, 8000, 20, 1), Share(LXC, 8000, 20, 1))
    assert hypervisors.fit(kept, {DOCKER: Need(8000, 20)}) == kept


def test_shares_that_do_not_suffice_are_divided_anew() -> None:
    kept = (Share(DOCKER, 8000, 20, 1), Share(LXC, 8000, 20, 1))
    assert hypervisors.fit(kept, {DOCKER: Need(10000, 10)}) == (
        Share(DOCKER, 13000, 25, 1),
        Share(LXC, 3000, 15, 1),
    )
