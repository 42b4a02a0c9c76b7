"""The OpenStack releases that images can be made of, oldest first: the folders of ``releases/``."""

import re

ALL = ("2026.1", "2026.2")
LATEST = ALL[-1]
# What images of every release have: what configures them, and wheels that need a compiler.
COMMON = ("agent", "native", "sources")


def version(lock: str, package: str) -> str | None:
    """The version of a distribution in the text of a lock file."""
    found = re.search(rf"^{re.escape(package)}==(\S+)", lock, re.MULTILINE)
    return found.group(1) if found else None


def is_later(one: str, other: str) -> bool:
    """Whether a release came after another."""
    return ALL.index(one) > ALL.index(other)
