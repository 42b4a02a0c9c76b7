"""What the models of our files have in common: kinds of values, and findings in our words."""

import collections.abc
import ipaddress
import typing
from typing import Annotated, Any, TypeVar

import pydantic
import pydantic_core

from altostratus import errors
from altostratus.yamlfile import Document, Location

# This host, link-local, multicast, reserved.
_SPECIAL = tuple(
    map(ipaddress.IPv4Network, ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))
)


class Strict(pydantic.BaseModel):
    """A mapping in which no other keys are than those of the model."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


_Model = TypeVar("_Model", bound=pydantic.BaseModel)


def fail(message: str, hint: str | None = None) -> pydantic_core.PydanticCustomError:
    """What a validator raises, so that it is told as it is."""
    # A template's own braces would be filled in: the message goes in as a value.
    return pydantic_core.PydanticCustomError(
        "altostratus", "{message}", {"message": message, "hint": hint}
    )


def _check_cidr(given: str) -> str:
    try:
        network = ipaddress.IPv4Network(given)
    except ValueError as exc:
        raise fail(f"{given!r} is not an IPv4 network: {exc}", "like 172.16.1.0/24") from exc
    if not 8 <= network.prefixlen <= 28:
        raise fail(f"{given} has a prefix of {network.prefixlen} bits", "between /8 and /28")
    if any(network.overlaps(special) for special in _SPECIAL):
        raise fail(f"no instance can have an address in {given}", "like 172.16.1.0/24")
    return given


def _check_address(given: str) -> str:
    try:
        return str(ipaddress.IPv4Address(given))
    except ValueError as exc:
        raise fail(f"{given!r} is not an IPv4 address", "like 172.16.1.1") from exc


Cidr = Annotated[str, pydantic.AfterValidator(_check_cidr)]
Address = Annotated[str, pydantic.AfterValidator(_check_address)]


def validated(
    document: Document,
    model: type[_Model],
    translate: collections.abc.Callable[[Document, pydantic_core.ErrorDetails], errors.Finding],
) -> tuple[_Model | None, list[errors.Finding]]:
    """What a document says, if it is what ``model`` describes, and all that is wrong so far.

    Raises :class:`errors.FindingsError` if it is no YAML at all.
    """
    if document.data is None and document.findings:
        raise errors.FindingsError(document.findings)
    findings = list(document.findings)
    try:
        return model.model_validate(document.data), findings
    except pydantic.ValidationError as exc:
        found = exc.errors(include_url=False)
        return None, [*findings, *(translate(document, error) for error in found)]


def finding(
    document: Document, error: pydantic_core.ErrorDetails, model: type[pydantic.BaseModel]
) -> errors.Finding:
    """A finding in our words from pydantic's, about a document that ``model`` describes."""
    location = tuple(part for part in error["loc"] if part != "[key]")
    kind, given = error["type"], error["input"]
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "altostratus":
        return document.finding(location, context["message"], context["hint"])
    if kind == "extra_forbidden":
        key = str(location[-1])
        return document.finding(location, *errors.unknown("key", key, _keys_at(model, location)))
    if kind == "missing":
        return document.finding(location, f"the key {location[-1]!r} is missing")
    if kind in ("model_type", "dict_type"):
        return document.finding(location, f"{given!r} is not a mapping of keys to values")
    message = error["msg"].removeprefix("Input ").removeprefix("Value error, ")
    return document.finding(location, f"{given!r} {message}")


def _keys_at(model: type[pydantic.BaseModel], location: Location) -> tuple[str, ...]:
    """The keys that can be where an unknown one is."""
    entry = model
    for part in location[:-1]:
        # What is no field is a name that somebody gave.
        if part in entry.model_fields:
            entry = next(_models(entry.model_fields[str(part)].annotation), entry)
    return tuple(entry.model_fields)


def _models(annotation: Any) -> collections.abc.Iterator[type[pydantic.BaseModel]]:
    """The models that a field's type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)
