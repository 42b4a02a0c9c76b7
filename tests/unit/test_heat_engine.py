"""The pinned release's own Heat engine reads the stack, without a cloud and a database."""

import base64
import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

import pytest
import yaml

from altostratus import deploy, spec
from tests.unit import golden

_ROOT = pathlib.Path(__file__).parents[2]
_AUTHORITY = "-----BEGIN CERTIFICATE-----\nthe undercloud's\n-----END CERTIFICATE-----\n"

# In a process of its own: importing Heat's engine patches and warns.
_PROGRAM = """
import json, sys
from heat.common import context
from heat.engine import environment, resources, stack, template

given = json.load(sys.stdin)
resources.initialise()
ctx = context.RequestContext(project_id="p", user_id="u", auth_token="t", is_admin=True)
env = environment.Environment({**given["environment"], "parameters": given["parameters"]})
top = template.Template(given["template"], files=given["files"], env=env)
top.validate()
whole = stack.Stack(ctx, "demo", top, strict_validate=False)
whole.dependencies.graph()
found = {}
for name, resource in whole.resources.items():
    resource.properties.validate(with_value=False)
    if not hasattr(resource, "child_params"):
        continue
    params = resource.child_params()
    child = environment.get_child_environment(
        env, params, item_to_remove=resource.resource_info, child_resource_name=name)
    inner = template.Template(resource.child_template(), files=given["files"], env=child)
    nested = stack.Stack(ctx, name, inner, strict_validate=False)
    (server,) = nested.resources.values()
    server.properties.validate(with_value=False)
    props = server.properties
    replaced = server.needs_replace_with_prop_diff({"image"}, props, props)
    found[name] = {
        "server": server.name,
        "restricted": sorted(child.registry.get_rsrc_restricted_actions(server.name)),
        "ports": [one["port"] for one in server.properties["networks"]],
        "user_data": server.properties["user_data"],
        "metadata": server.properties["metadata"],
        "zone": server.properties["availability_zone"],
        "zone_stays": server.properties_schema["availability_zone"].update_allowed,
        "another_image": "replace" if replaced else props["image_update_policy"],
        "hidden": sorted(k for k, v in inner.param_schemata().items() if v.hidden),
    }
print(json.dumps({"instances": found, "history": whole.outputs["history"].get_value()}))
"""
# In this form it would be a function of Heat's, were it not text.
_HISTORY = '[{"images": {"digest": {"digest": "abc"}}}]'


@pytest.fixture(scope="module")
def heat_said() -> dict[str, Any]:
    pytest.importorskip("heat", reason="the OpenStack release is not installed")
    overcloud = spec.parse((_ROOT / "examples" / "quickstart.yaml").read_text(), "quickstart")
    database, *others = overcloud.instances
    placed = dataclasses.replace(database, zone="second")
    overcloud = dataclasses.replace(overcloud, instances=(placed, *others))
    observed = golden.empty_undercloud()
    made = golden.make_plan(overcloud, observed)
    secrets = golden.fixed_secrets(overcloud)
    inputs = golden.stack.Inputs(
        overcloud, made.addresses, made.images, secrets, deploy.templates(), _AUTHORITY
    )
    ids = golden.stack.Ids(
        {image.digest: "an-id" for image in made.images.values()},
        {name: "an-id" for name in ("control", "internal_api")},
    )
    request = golden.stack.render(inputs, ids, ["database"], _HISTORY)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM],
        input=json.dumps(
            {
                "template": request.template,
                "environment": request.environment,
                "files": request.files,
                "parameters": request.parameters,
            }
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def read_by_heat(heat_said: dict[str, Any]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = heat_said["instances"]
    return found


def test_each_instance_is_the_server_of_its_hypervisor(
    read_by_heat: dict[str, dict[str, object]],
) -> None:
    servers = {name: one["server"] for name, one in read_by_heat.items()}
    assert servers == {
        "database": "lxc_server",
        "identity": "docker_server",
        "images": "docker_server",
    }


def test_running_servers_are_not_replaced(read_by_heat: dict[str, dict[str, object]]) -> None:
    assert read_by_heat["database"]["restricted"] == ["replace"]
    assert read_by_heat["identity"]["restricted"] == []


def test_an_instance_is_in_the_zone_that_it_names(
    read_by_heat: dict[str, dict[str, object]],
) -> None:
    zones = {name: one["zone"] for name, one in read_by_heat.items()}
    # None, as in a template that does not have it: another value would make another server.
    assert zones == {"database": "second", "identity": None, "images": None}


def test_another_zone_is_another_server(read_by_heat: dict[str, dict[str, object]]) -> None:
    """What an evacuated instance relies on, and all others are kept from."""
    assert [one["zone_stays"] for one in read_by_heat.values()] == [False] * 3


def test_another_image_rebuilds_the_server_it_has(
    read_by_heat: dict[str, dict[str, object]],
) -> None:
    policies = {name: one["another_image"] for name, one in read_by_heat.items()}
    assert policies == dict.fromkeys(read_by_heat, "REBUILD_PRESERVE_EPHEMERAL")


def test_servers_have_their_ports_in_order(read_by_heat: dict[str, dict[str, object]]) -> None:
    ports = read_by_heat["images"]["ports"]
    assert ports == ["images_control_port", "images_internal_api_port"]


def test_user_data_writes_the_seal_key(read_by_heat: dict[str, dict[str, object]]) -> None:
    user_data = str(read_by_heat["identity"]["user_data"])
    assert user_data.startswith("#cloud-config\n")
    assert "/etc/altostratus/seal.key" in user_data
    assert "SEAL_KEY" not in user_data
    assert read_by_heat["identity"]["hidden"] == ["seal_key"]


def test_user_data_writes_what_the_undercloud_is_trusted_by(
    read_by_heat: dict[str, dict[str, object]],
) -> None:
    user_data = yaml.safe_load(str(read_by_heat["identity"]["user_data"]))
    path = "/usr/local/share/ca-certificates/altostratus-undercloud.crt"
    (written,) = [one for one in user_data["write_files"] if one["path"] == path]
    assert written["encoding"] == "b64"
    assert base64.b64decode(written["content"]).decode() == _AUTHORITY


def test_heat_gives_the_history_back_as_it_was_given(heat_said: dict[str, Any]) -> None:
    assert heat_said["history"] == _HISTORY
