"""What ``overcloud why`` asks and reads is what the pinned Nova asks and writes."""

import inspect
import logging
import urllib.parse
import uuid
from typing import Any

import nova.conf
import pytest
from nova import context, objects
from nova.scheduler import filters, manager, request_filter, utils

from altostratus import hypervisors, scheduling

SERVER = "11111111-2222-3333-4444-555555555555"
AGGREGATES = tuple(
    scheduling.Aggregate(str(uuid.uuid4()), name, frozenset([hypervisors.entry(name).trait]))
    for name in hypervisors.names()
)


class Passes:
    """A filter that leaves all hosts."""

    def run_filter_for_index(self, _index: int) -> bool:
        return True

    def filter_all(self, hosts: list[str], _spec: Any) -> list[str]:
        return hosts


class ImagePropertiesFilter(Passes):
    """A filter that leaves none; the log has the name of its class."""

    def filter_all(self, _hosts: list[str], _spec: Any) -> list[str]:
        return []


@pytest.mark.parametrize("hypervisor", hypervisors.names())
def test_placement_is_asked_what_nova_asks(
    hypervisor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of Nova's request filters run; the two that ask its database are given its answers."""
    conf = nova.conf.CONF
    monkeypatch.setattr(conf.scheduler, "enable_isolated_aggregate_filtering", True, raising=False)
    monkeypatch.setattr(request_filter, "_should_filter_by_owner", lambda _context: True)
    monkeypatch.setattr(
        objects.aggregate.AggregateList, "get_non_matching_by_metadata_keys", non_matching
    )
    asked = request(hypervisor)
    request_filter.process_reqspec(context.get_admin_context(), asked)
    theirs = utils.resources_from_request_spec(context.get_admin_context(), asked, None)
    entry = hypervisors.entry(hypervisor)
    wanted = scheduling.demand(768, 2, 3, entry.flavor_properties, entry.image_properties)
    ours = scheduling.query(wanted, AGGREGATES)
    assert ours == sorted(urllib.parse.parse_qsl(theirs.to_querystring()))


def non_matching(_context: Any, ignored_keys: list[str], key_prefix: str, value: str) -> list[Any]:
    """The aggregates as Nova's database would choose them."""
    assert (key_prefix, value) == ("trait:", "required")
    return [
        objects.Aggregate(uuid=one.id)
        for one in AGGREGATES
        if {f"trait:{trait}" for trait in one.traits} - {*ignored_keys}
    ]


def request(hypervisor: str) -> Any:
    """A request for a server with our flavor and image."""
    entry = hypervisors.entry(hypervisor)
    properties = objects.ImageMetaProps.from_dict(entry.image_properties)
    flavor = objects.Flavor(
        memory_mb=768,
        vcpus=2,
        root_gb=3,
        ephemeral_gb=0,
        swap=0,
        extra_specs=entry.flavor_properties,
    )
    return objects.RequestSpec(
        context=context.get_admin_context(),
        instance_uuid=SERVER,
        flavor=flavor,
        image=objects.ImageMeta(disk_format="raw", properties=properties),
        is_bfv=False,
        requested_resources=[],
        requested_networks=objects.NetworkRequestList(objects=[]),
        availability_zone=None,
        request_level_params=objects.RequestLevelParams(),
    )


def test_record_of_the_filters_is_read_as_nova_writes_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "nova.filters"):
        filters.HostFilterHandler().get_filtered_objects(
            [Passes(), ImagePropertiesFilter()],
            ["node-lxc", "node2-lxc"],
            objects.RequestSpec(instance_uuid=SERVER),
        )
    found = scheduling.record(caplog.messages, SERVER, ())
    assert found == scheduling.Record(
        (
            scheduling.Filter("Passes", 2, 2),
            scheduling.Filter("ImagePropertiesFilter", 2, 0),
        )
    )
    assert scheduling.record(caplog.messages, "another", ()).filters == ()


def test_lack_of_candidates_is_told_as_nova_tells_it() -> None:
    assert scheduling.NO_CANDIDATES in inspect.getsource(manager)
