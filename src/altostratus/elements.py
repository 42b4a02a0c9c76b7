"""Elements, ours and diskimage-builder's: what a root that is made of some of them depends on."""

import functools
import hashlib
import logging
import pathlib

from diskimage_builder import element_dependencies  # type: ignore[import-untyped]

from altostratus import rootfs

# That our `base` takes the place of diskimage-builder's is meant, and no news.
logging.getLogger(element_dependencies.__name__).setLevel(logging.ERROR)

_IGNORED = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", "build", "tests"}


# Every image of a plan is made from some of the same; what one run reads of them, it reads once.
@functools.cache
def inputs(names: tuple[str, ...], repository: pathlib.Path) -> dict[str, object]:
    """The files of these elements, of those they depend on, and of what they copy, by digests."""
    ours = (repository / "elements").resolve()
    builtin = pathlib.Path(element_dependencies.__file__).with_name("elements")
    found = element_dependencies.get_elements(names, f"{ours}:{builtin}")
    content: dict[str, object] = {"diskimage-builder": rootfs.dib_version()}
    for name, place in sorted(found):
        element = pathlib.Path(place)
        if not element.is_relative_to(ours):
            content[name] = "diskimage-builder"
            continue
        content[name] = _tree(element)
        sources = element / "repository-sources"
        for source in sources.read_text().split() if sources.exists() else ():
            content[f"{name}: {source}"] = _tree(repository / source)
    return content


def _tree(place: pathlib.Path) -> dict[str, tuple[int, str]]:
    """The mode and digest of each file under a folder, or of the one file."""
    paths = [place] if place.is_file() else sorted(place.rglob("*"))
    return {
        str(path.relative_to(place)): (
            path.stat().st_mode & 0o111,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in paths
        if path.is_file() and not _IGNORED & set(path.relative_to(place).parts)
    }
