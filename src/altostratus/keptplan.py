"""A plan in a file, to be carried out later exactly as it is, or not at all.

The file holds the text of the deployment file, and what stands for all else that the plan was made
from. A plan that is made anew from them must be the same.
"""

import base64
import collections.abc
import dataclasses
import hashlib
import json
from typing import Any

import altostratus
from altostratus import errors, metadata, stack
from altostratus.model import Overcloud
from altostratus.observed import Observed
from altostratus.plan import Plan
from altostratus.yamlfile import Document

_KEY = "altostratus_plan"
_DIGEST = "digest"
_FORMAT = 1

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Kept:
    """A plan as plain data, and what it was made from. Holds no secret.

    ``hypervisor`` is the one that was chosen beside the file; ``basis`` is what was observed, and
    the digest of what Heat would be asked for.
    """

    file: str
    text: str
    hypervisor: str | None
    plan: Tree
    basis: Tree
    version: str = altostratus.__version__


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """What a plan was made from, but for the file: ``known`` are the secrets that were there,
    ``secrets`` those and the new ones."""

    observed: Observed
    secrets: metadata.Secrets
    known: metadata.Secrets
    templates: collections.abc.Mapping[str, str]


def make(made: Plan, sources: Sources, document: Document, hypervisor: str | None) -> Kept:
    """A plan as it is kept."""
    observed = sources.observed
    basis = {
        "stack": _described(observed),
        "servers": {server.instance: server.id for server in observed.servers},
        "irreplaceable": list(made.irreplaceable),
        "request": _request_digest(made, sources),
    }
    return Kept(document.file, document.text, hypervisor, _plain(made.as_data()), _plain(basis))


def to_json(kept: Kept) -> str:
    """The content of the file."""
    content = dataclasses.asdict(kept)
    marked = {_KEY: _FORMAT, _DIGEST: metadata.digest(content)} | content
    return json.dumps(marked, indent=2, sort_keys=True) + "\n"


def parse(text: str, file: str) -> Kept:
    """The plan in a file.

    Raises :class:`errors.Error` if there is none, :class:`errors.StalePlan` if it was written by
    another version of this program, or changed since.
    """
    hint = f"make one: ./altostratus overcloud plan FILE --out {file}"
    try:
        found = json.loads(text)
        written_as, digest, by = found.pop(_KEY), found.pop(_DIGEST), found["version"]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise errors.Error(f"{file} holds no plan", hint) from exc
    if (written_as, by) != (_FORMAT, altostratus.__version__):
        raise errors.StalePlan(
            f"{file} was written by version {by} of Altostratus (format {written_as}), and this is"
            f" version {altostratus.__version__} (format {_FORMAT})",
            hint,
        )
    if metadata.digest(found) != digest:
        raise errors.StalePlan(f"the plan in {file} was changed after it was made", hint)
    return Kept(**found)


def refuse_if(reason: str | None, kept: Kept, file: str) -> None:
    """Raise :class:`errors.StalePlan` if there is a reason against the plan that a file holds."""
    if reason:
        option = f" --hypervisor {kept.hypervisor}" if kept.hypervisor else ""
        raise errors.StalePlan(
            f"the plan in {file} is not carried out: {reason}",
            hint=f"see what there is to do now: ./altostratus overcloud plan {kept.file}{option}",
        )


def other_overcloud(wanted: Overcloud, given: Overcloud) -> str | None:
    """Why a plan is not for the overcloud that is asked for, in words; None if it is."""
    if wanted.name != given.name:
        return f"it is for the overcloud {wanted.name}, and what is asked for is {given.name}"
    return None if wanted == given else "the deployment file, or the hypervisor, is another since"


def difference(kept: Kept, now: Kept) -> str | None:
    """Why a plan is not the one that is made now, in words; None if it is."""
    parts = (
        _stack_difference(kept, now),
        _of_each("the server of", kept.basis["servers"], now.basis["servers"]),
        _of_each("the image of", kept.plan["images"], now.plan["images"]),
        _of_each("the address of", kept.plan["addresses"], now.plan["addresses"]),
        _steps_difference(kept.plan["steps"], now.plan["steps"]),
    )
    for part in parts:
        if part:
            return part
    if kept.basis != now.basis:
        return "the stack would be made from other secrets, other templates or another program"
    return None


def _plain(data: Tree) -> Tree:
    """As it comes back from a file."""
    plain: Tree = json.loads(json.dumps(data))
    return plain


def _described(observed: Observed) -> Tree | None:
    found = observed.stack
    return {"id": found.id, "status": found.status, "digest": found.digest} if found else None


def _request_digest(made: Plan, sources: Sources) -> str:
    """What stands for all that Heat would be asked for: it is the same as long as that is.

    Secrets that are only made when the plan is carried out are others each time: something fixed
    is in their place.
    """
    secrets = {
        name: value if sources.known.get(name) == value else _stand_in(name)
        for name, value in sources.secrets.items()
    }
    inputs = stack.Inputs(
        made.overcloud,
        made.addresses,
        made.images,
        secrets,
        sources.templates,
        sources.observed.authority,
        str(sources.observed.control.gateway),
    )
    return stack.render(inputs).digest


def _stand_in(name: str) -> str:
    """A text that is taken for a secret: as a key for sealing, too."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode()


def _stack_difference(kept: Kept, now: Kept) -> str | None:
    name = now.plan["overcloud"]
    before, after = kept.basis["stack"], now.basis["stack"]
    if before == after:
        return None
    if before is None:
        return f"there is a stack {name} now"
    if after is None:
        return f"the stack {name} is gone"
    if before["id"] != after["id"]:
        return f"the stack {name} was made anew"
    if before["digest"] != after["digest"]:
        return f"the overcloud {name} was deployed since"
    return f"the stack {name} is {after['status']}, and was {before['status']}"


def _of_each(what: str, before: Tree, after: Tree) -> str | None:
    """In which instances something differs."""
    found = [
        f"{what} {name} is {_change(before.get(name), after.get(name))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return "; ".join(found) or None


def _change(before: Any, after: Any) -> str:
    if before is None:
        return "new"
    return "gone" if after is None else "another"


def _steps_difference(before: list[Tree], after: list[Tree]) -> str | None:
    if before == after:
        return None
    found = [f"{_named(step)} is to do as well" for step in after if step not in before]
    found += [f"{_named(step)} is not to do" for step in before if step not in after]
    return "; ".join(found) or "the steps have another order"


def _named(step: Tree) -> str:
    return f"{step['kind']} {step['subject']} ({step['reason']})"
