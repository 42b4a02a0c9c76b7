"""Makes what the golden tests compare: everything pure, from a folder's files to plain text.

A folder holds ``overcloud.yaml``; ``before.yaml``, if there, is an overcloud that was deployed
before; ``observed.json``, if there, replaces fields of what is observed.
"""

import base64
import collections.abc
import dataclasses
import hashlib
import ipaddress
import json
import pathlib
from typing import Any

import pydantic

from altostratus import (
    addresses,
    certificates,
    check,
    errors,
    hypervisors,
    metadata,
    moves,
    plan,
    spec,
    spread,
    stack,
    survey,
    yamlfile,
)
from altostratus.model import CONTROL, Hypervisor, Image, Overcloud
from altostratus.observed import (
    Control,
    Deployed,
    NeutronNetwork,
    Observed,
    Provider,
    Server,
    Stack,
)

TEMPLATES = {f"{name}.yaml": f"the template of {name}\n" for name in hypervisors.names()}
_OBSERVED = pydantic.TypeAdapter(Observed)
_CONTROL = ipaddress.IPv4Network("192.168.24.0/24")


def results(folder: pathlib.Path) -> dict[str, str]:
    """The content that each result file of a case should have."""
    text = (folder / "overcloud.yaml").read_text()
    document = yamlfile.parse(text, "overcloud.yaml")
    try:
        observed = _observed(folder)
        overcloud = spread.place(spec.parse(text, "overcloud.yaml"), observed)
        if (folder / "evacuate.json").exists():
            return evacuation(folder, observed)
        findings = check.check(overcloud, observed, document)
        findings += check.check_nodes(overcloud, observed, document)
        findings += check.check_release(overcloud, observed, document)
        if findings:
            raise errors.FindingsError(findings)
    except errors.FindingsError as exc:
        return {"findings.txt": f"{exc.message}\n"}
    made = make_plan(overcloud, observed)
    secrets = fixed_secrets(overcloud)
    request = render(overcloud, observed)
    gateway = str(observed.control.gateway)
    trees = {
        found.name: metadata.instance(overcloud, found, made.addresses, secrets, gateway)
        for found in overcloud.instances
    }
    return {
        "plan.txt": plan.to_text(made),
        "metadata.json": as_json(trees),
        "stack.json": as_json(dataclasses.asdict(request)),
    }


def evacuation(folder: pathlib.Path, observed: Observed) -> dict[str, str]:
    """The content of the result files of a case in which a node is to be left."""
    text = (folder / "overcloud.yaml").read_text()
    document = yamlfile.parse(text, "overcloud.yaml")
    asked = pydantic.TypeAdapter(moves.Asked).validate_json((folder / "evacuate.json").read_text())
    try:
        found = moves.resolve(spec.parse(text, "overcloud.yaml"), observed, asked, document)
    except errors.Error as exc:
        hint = f"    hint: {exc.hint}\n" if exc.hint else ""
        return {"findings.txt": f"{exc.message}\n{hint}"}
    made = moves.plan(make_plan(found.overcloud, found.observed), found, asked.node)
    request = render(found.overcloud, found.observed)
    return {"plan.txt": plan.to_text(made), "stack.json": as_json(dataclasses.asdict(request))}


def make_plan(overcloud: Overcloud, observed: Observed) -> plan.Plan:
    """The plan with fixed secrets and images."""
    wanted = fixed_images(overcloud)
    return plan.make(overcloud, observed, wanted, fixed_secrets(overcloud), TEMPLATES)


def render(overcloud: Overcloud, observed: Observed) -> stack.Request:
    """The stack with fixed secrets and images."""
    wanted = fixed_images(overcloud)
    assigned = addresses.assign(overcloud, observed)
    inputs = stack.Inputs(
        overcloud,
        assigned,
        wanted,
        fixed_secrets(overcloud),
        TEMPLATES,
        undercloud=str(observed.control.gateway),
    )
    digests = [image.digest for image in wanted.values()]
    names = (CONTROL, *(one.name for one in overcloud.networks))
    ids = stack.Ids(
        {digest: f"id-of-{digest[:8]}" for digest in digests},
        {name: f"id-of-{name}" for name in names},
    )
    return stack.render(inputs, ids)


def fixed_images(overcloud: Overcloud) -> dict[str, Image]:
    """Images whose digests do not change with every element."""
    specs = survey.image_specs(overcloud)
    return {
        name: Image(one.name, hashlib.sha256(one.name.encode()).hexdigest(), one.release)
        for name, one in specs.items()
    }


def fixed_secrets(overcloud: Overcloud) -> dict[str, str]:
    """Secrets of the right form that are the same in every run."""
    names = list(metadata.overcloud_secrets(overcloud, {}))
    names += [certificates.AUTHORITY, certificates.AUTHORITY_KEY]
    names += [certificates.of(instance.name) for instance in overcloud.instances]
    return fixed(names)


def fixed(names: collections.abc.Iterable[str]) -> dict[str, str]:
    """A secret for each of these names, the same in every run."""
    return {name: _fixed_secret(name) for name in names}


def _fixed_secret(name: str) -> str:
    digest = hashlib.sha256(name.encode()).digest()
    if name.startswith("seal_key"):
        return base64.urlsafe_b64encode(digest).decode()
    return f"secret-{digest.hex()[:25]}"


def as_json(value: Any) -> str:
    """As it is kept in golden files."""
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


def empty_undercloud() -> Observed:
    """An undercloud without any overcloud."""
    return Observed(
        control=Control(_CONTROL, _CONTROL[20], _CONTROL[250]),
        networks=(NeutronNetwork("control", None, (_CONTROL,), None, "control"),),
        providers=tuple(
            Provider(f"undercloud-{name}", Hypervisor(name), 6144, 20)
            for name in hypervisors.default()
        ),
    )


def deployed(overcloud: Overcloud) -> Observed:
    """The undercloud after an overcloud was deployed on an empty one."""
    empty = empty_undercloud()
    request = render(overcloud, empty)
    described = request.template["outputs"][stack.OUTPUT]["value"]["instances"]
    assigned = addresses.assign(overcloud, empty)
    secrets = fixed_secrets(overcloud)
    entries = metadata.overcloud_catalog(overcloud, assigned, secrets)
    url = plan.auth_url(overcloud, assigned)
    digests = {image.digest: image.name for image in fixed_images(overcloud).values()}
    return dataclasses.replace(
        empty,
        stack=Stack(
            "stack-id",
            "CREATE_COMPLETE",
            "",
            request.digest,
            {name: pydantic.TypeAdapter(Deployed).validate_python(one)
             for name, one in described.items()},
        ),
        servers=tuple(
            Server(one.name, f"id-of-{one.name}", "ACTIVE", True) for one in overcloud.instances
        ),
        images=digests,
        built=frozenset(digests),
        networks=(
            *empty.networks,
            *(
                NeutronNetwork(
                    stack.network(overcloud.name, one.name), one.vlan, (one.cidr,),
                    overcloud.name, "control",
                )
                for one in overcloud.networks
            ),
        ),
        flavors=frozenset(stack.flavor(one) for one in overcloud.instances),
        has_keypair=True,
        endpoints={one["name"]: one["public_url"] for one in entries if "public_url" in one},
        credentials=plan.credentials_digest(
            url, secrets["admin_password"], certificates.trusted(secrets)
        ) if url else None,
    )  # fmt: skip


def _observed(folder: pathlib.Path) -> Observed:
    before = folder / "before.yaml"
    found = empty_undercloud()
    if before.exists():
        found = deployed(spec.parse(before.read_text(), "before.yaml"))
    changes = folder / "observed.json"
    if not changes.exists():
        return found
    return _OBSERVED.validate_python(
        _merge(_OBSERVED.dump_python(found), json.loads(changes.read_text()))
    )


def _merge(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict) and above:
        return below | {key: _merge(below.get(key), value) for key, value in above.items()}
    return above
