"""The stack: what Heat is told, and what it must not be told."""

import json
import pathlib
from typing import Any

import pytest
import yaml
from cryptography import fernet

from altostratus import certificates, hypervisors, metadata, plan, sections, services, spec, stack
from altostratus.model import Overcloud
from tests.unit import golden

_ROOT = pathlib.Path(__file__).parents[2]
_HEAT = _ROOT / "heat"


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((_HEAT / name).read_text())
    return content


@pytest.fixture
def quickstart() -> Overcloud:
    return spec.parse((_ROOT / "examples" / "quickstart.yaml").read_text(), "quickstart.yaml")


@pytest.fixture
def request_(quickstart: Overcloud) -> stack.Request:
    return golden.render(quickstart, golden.empty_undercloud())


def test_there_is_one_provider_template_per_hypervisor() -> None:
    named = {hypervisors.entry(name).template for name in hypervisors.names()}
    assert named == {path.name for path in _HEAT.glob("*.yaml")}


@pytest.mark.parametrize("name", hypervisors.names())
def test_provider_templates_have_the_same_parameters_and_outputs(name: str) -> None:
    first, this = _read(f"{hypervisors.names()[0]}.yaml"), _read(f"{name}.yaml")
    assert this["parameters"] == first["parameters"]
    assert this["outputs"].keys() == first["outputs"].keys()


@pytest.mark.parametrize("name", hypervisors.names())
def test_the_server_in_a_provider_template_is_named_for_its_hypervisor(name: str) -> None:
    entry = hypervisors.entry(name)
    assert list(_read(entry.template)["resources"]) == [entry.server]


def test_an_instance_gives_its_provider_template_exactly_its_parameters(
    request_: stack.Request,
) -> None:
    properties = request_.template["resources"]["identity"]["properties"]
    assert {*properties, "zone"} == {*_read("docker.yaml")["parameters"]}


def test_no_secret_is_in_what_heat_keeps_in_clear(
    quickstart: Overcloud, request_: stack.Request
) -> None:
    secrets = golden.fixed_secrets(quickstart)
    kept = json.dumps([request_.template, request_.environment, request_.files])
    # Everybody may know whom a cloud trusts.
    del secrets[certificates.AUTHORITY]
    for name, secret in secrets.items():
        assert secret not in kept, name
        assert sections.password_hash(secret) not in kept, name


def test_parameters_that_hold_secrets_are_hidden(request_: stack.Request) -> None:
    declared = request_.template["parameters"]
    for name, value in request_.parameters.items():
        if "secret" in json.dumps(value):
            assert declared[name]["hidden"] is True
    assert _read("docker.yaml")["parameters"]["seal_key"]["hidden"] is True


def test_sealed_metadata_opens_to_the_rest_of_the_tree(
    quickstart: Overcloud, request_: stack.Request
) -> None:
    secrets = golden.fixed_secrets(quickstart)
    for instance in quickstart.instances:
        resource = request_.template["resources"][f"{instance.name}_config"]
        config = dict(resource["properties"]["config"])
        key = secrets[metadata.seal_key(instance.name)]
        opened = json.loads(fernet.Fernet(key).decrypt(config.pop("sealed")))
        addresses = golden.make_plan(quickstart, golden.empty_undercloud()).addresses
        whole = metadata.instance(quickstart, instance, addresses, secrets)
        assert _merged(config, opened) == whole


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        merged[key] = _merged(merged[key], value) if key in merged else value
    return merged


def test_an_instance_holds_only_secrets_of_its_own_services(quickstart: Overcloud) -> None:
    secrets = golden.fixed_secrets(quickstart)
    addresses = golden.make_plan(quickstart, golden.empty_undercloud()).addresses
    for instance in quickstart.instances:
        tree = json.dumps(metadata.instance(quickstart, instance, addresses, secrets))
        public, certificate = certificates.AUTHORITY, certificates.of(instance.name)
        own = {*services.secrets_of(instance.services), public, certificate}
        for name, secret in secrets.items():
            assert name in own or secret not in tree, f"{name} in {instance.name}"


def test_the_same_inputs_give_the_same_request(quickstart: Overcloud) -> None:
    empty = golden.empty_undercloud()
    assert golden.render(quickstart, empty) == golden.render(quickstart, empty)


def test_protecting_running_servers_does_not_change_the_digest(
    quickstart: Overcloud,
) -> None:
    made = golden.make_plan(quickstart, golden.empty_undercloud())
    secrets = golden.fixed_secrets(quickstart)
    inputs = stack.Inputs(quickstart, made.addresses, made.images, secrets, golden.TEMPLATES)
    ids = stack.Ids(
        {image.digest: "id" for image in made.images.values()},
        dict.fromkeys(("control", "internal_api"), "id"),
    )
    free = stack.render(inputs)
    held = stack.render(inputs, ids, ["database"])
    assert free.digest == held.digest
    resources = held.environment["resource_registry"]["resources"]
    assert resources["database"]["lxc_server"] == {"restricted_actions": "replace"}


@pytest.fixture
def fronted() -> Overcloud:
    folder = _ROOT / "tests" / "golden" / "front"
    return spec.parse((folder / "overcloud.yaml").read_text(), "overcloud.yaml")


def test_an_instance_holds_the_key_of_its_own_certificate_alone(fronted: Overcloud) -> None:
    secrets = golden.fixed_secrets(fronted)
    made = golden.make_plan(fronted, golden.empty_undercloud())
    own = {certificates.of(one.name) for one in fronted.instances}
    for instance in fronted.instances:
        tree = metadata.instance(fronted, instance, made.addresses, secrets)
        clear, sealed = metadata.split(tree)
        held = {name for name in own if secrets[name] in json.dumps(sealed)}
        assert held == {certificates.of(instance.name)}
        assert not [name for name in own if secrets[name] in json.dumps(clear)]
        assert secrets[certificates.AUTHORITY_KEY] not in json.dumps(tree)


def test_services_behind_a_front_are_open_to_the_internal_network_alone(
    fronted: Overcloud,
) -> None:
    resources = golden.render(fronted, golden.empty_undercloud()).template["resources"]

    def ports(group: str) -> set[tuple[int | None, str | None]]:
        rules = resources[group]["properties"]["rules"]
        return {(one.get("port_range_min"), one.get("remote_ip_prefix")) for one in rules}

    anywhere, internal, external = None, "172.16.1.0/24", "172.16.2.0/24"
    assert ports("identity_control_access") == {(22, anywhere), (None, anywhere)}
    assert ports("identity_internal_api_access") == {(5000, internal), (None, internal)}
    assert ports("front_control_access") == {(22, anywhere), (None, anywhere)}
    assert ports("front_internal_api_access") == {(None, internal)}
    assert ports("front_external_access") == {
        (5000, external), (8080, external), (9292, external), (None, external)
    }  # fmt: skip


_COMPUTE_NODES = """\
overcloud: demo
networks:
  internal_api: {vlan: 101, cidr: 172.16.1.0/24}
  provider: {vlan: 103, cidr: 172.16.3.0/24}
instances:
  controller: {services: [mariadb, rabbitmq, keystone, glance, placement, nova, neutron]}
  compute: {services: [nova-compute], privileged: true, count: 3}
"""


def test_compute_nodes_alone_reach_what_machines_move_by() -> None:
    overcloud = spec.parse(_COMPUTE_NODES, "overcloud.yaml")
    made = golden.make_plan(overcloud, golden.empty_undercloud())
    resources = golden.render(overcloud, golden.empty_undercloud()).template["resources"]
    address = {name: found["internal_api"] for name, found in made.addresses.items()}
    for group, one in resources.items():
        if one["type"] != "OS::Neutron::SecurityGroup":
            continue
        let_in = {
            rule["remote_ip_prefix"]
            for rule in one["properties"]["rules"]
            if rule.get("port_range_min") in (16514, 49152)
        }
        name = group.removesuffix("_internal_api_access")
        peers = {f"{address[f'compute-{number}']}/32" for number in range(3)}
        is_node = name in ("compute-0", "compute-1", "compute-2")
        assert let_in == (peers - {f"{address[name]}/32"} if is_node else set()), group


_MUTUAL = """\
overcloud: demo
instances:
  store: {services: [mariadb, glance]}
  identity: {services: [keystone]}
  placement: {services: [placement]}
"""


def test_instances_that_need_one_another_do_not_wait_for_one_another() -> None:
    overcloud = spec.parse(_MUTUAL, "overcloud.yaml")
    resources = golden.render(overcloud, golden.empty_undercloud()).template["resources"]
    waits = {
        one.name: resources[stack.deployment(one.name)].get("depends_on", [])
        for one in overcloud.instances
    }
    assert waits == {
        # Keystone needs the database, and Glance beside that needs Keystone.
        "store": [],
        "identity": [],
        "placement": ["store_deployment", "identity_deployment"],
    }


@pytest.mark.parametrize(
    ("renewed", "configured", "further"),
    [
        ([certificates.of("front")], ["front"], []),
        (
            [certificates.AUTHORITY, certificates.AUTHORITY_KEY],
            ["cache", "dashboard", "database", "front", "identity", "images"],
            [plan.Kind.WRITE_CREDENTIALS],
        ),
    ],
    ids=["front", "authority"],
)
def test_a_renewed_certificate_configures_those_that_show_or_trust_it(
    fronted: Overcloud, renewed: list[str], configured: list[str], further: list[plan.Kind]
) -> None:
    secrets = golden.fixed_secrets(fronted) | dict.fromkeys(renewed, "renewed")
    observed, wanted = golden.deployed(fronted), golden.fixed_images(fronted)
    made = plan.make(fronted, observed, wanted, secrets, golden.TEMPLATES)
    update, *others = made.steps
    changes = "; ".join(f"the configuration of {name}" for name in configured)
    assert (update.kind, update.reason) == (plan.Kind.UPDATE_STACK, f"changed: {changes}")
    assert [step.kind for step in others] == [plan.Kind.AWAIT_STACK, *further, plan.Kind.VERIFY]
