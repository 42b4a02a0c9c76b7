"""What an undercloud's metadata has of its site, and reading it back from there.

Pure. Where nothing is said of a site, there is nothing of it.
"""

from typing import Any

import pydantic

from altostratus import sections
from altostratus.model import Site

Tree = sections.Tree

_KEY = "site"
_SITE = pydantic.TypeAdapter(Site)


def settle(tree: Tree, site: Site) -> None:
    """Give an undercloud's metadata what its services take from a site."""
    if site.ntp:
        tree["ntp"] = {"servers": list(site.ntp)}
    if site.dns:
        tree["resolver"] = {"servers": list(site.dns)}
    if site.nic:
        tree["network"]["control"]["port"] = site.nic


def described(site: Site) -> Tree:
    """A site as the undercloud's metadata records it, if there is anything to record."""
    found: dict[str, Any] = _SITE.dump_python(site, mode="json", exclude_defaults=True)
    return {_KEY: found} if found else {}


def site_of(tree: Tree) -> Site:
    """The site that an undercloud's metadata was made for."""
    return _SITE.validate_python(tree["altostratus"].get(_KEY, {}))
