"""Images: from Glance to the engine, kept there under Glance's id."""

import hashlib
import json
import tarfile
import time
from pathlib import Path
from typing import Any

from nova import exception
from nova.image import glance
from oslo_concurrency import lockutils
from oslo_log import log as logging
from oslo_utils import fileutils

from nova_altostratus.conf import CONF
from nova_altostratus.engine import Engine

LOG = logging.getLogger(__name__)

REPOSITORY = "altostratus"
REGISTRY_REPOSITORY = "images"
_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_LARGEST_MANIFEST = 1024 * 1024


class Images:
    """The engine's store of images as a cache of Glance's."""

    def __init__(self, engine: Engine, source: Any = None) -> None:
        self.engine = engine
        self.source = source or glance.API()

    def ensure(self, context: Any, image: str) -> tuple[str, bool]:
        """Return the engine's id of a Glance image, and whether it had to be fetched.

        :raises ImageUnacceptable: it is not a docker-archive of one image
        """
        reference = f"{REPOSITORY}:{image}"
        with lockutils.lock(f"altostratus-image-{image}"):
            found = self.engine.image_id(reference)
            if found:
                return found, False
            started = time.monotonic()
            archive = Path(CONF.instances_path, f"_{image}.tar")
            try:
                self.source.download(context, image, dest_path=str(archive))
                manifest = read_manifest(archive)
                found = self._pull(manifest, image) if manifest else self._load(archive, image)
            finally:
                fileutils.delete_if_exists(str(archive))
            LOG.info("Fetched image %s in %.1f s", image, time.monotonic() - started)
            return found, True

    def _pull(self, manifest: str, image: str) -> str:
        """Fetch from the registry the layers that the engine lacks."""
        if not CONF.altostratus.registry:
            reason = "it is in a registry, and [altostratus]registry names none"
            raise exception.ImageUnacceptable(image_id=image, reason=reason)
        reference = f"{CONF.altostratus.registry}/{REGISTRY_REPOSITORY}@{manifest}"
        self.engine.pull(reference)
        return self._adopt(reference, [reference], image)

    def _load(self, archive: Path, image: str) -> str:
        """Hand over the whole archive."""
        identity, names = read_archive(archive, image)
        self.engine.load(archive)
        return self._adopt(identity, names, image)

    def _adopt(self, reference: str, names: list[str], image: str) -> str:
        """Give what the engine has just got Glance's name in place of the names it came with."""
        found = self.engine.image_id(reference)
        if found is None:
            reason = f"the engine got it, but not as {reference}"
            raise exception.ImageUnacceptable(image_id=image, reason=reason)
        self.engine.tag(found, REPOSITORY, image)
        # An image goes with its last name: none of these must outlive Glance's.
        for name in names:
            self.engine.untag(name)
        return found

    def forget_unused(self, used: set[str], min_age_s: int) -> None:
        """Remove the images that no instance uses and that were not fetched just now."""
        for reference in self.engine.images(REPOSITORY):
            if reference.partition(":")[2] in used:
                continue
            if self.engine.image_age_s(reference) >= min_age_s:
                LOG.info("Removing unused image %s", reference)
                self.engine.untag(reference)


def read_manifest(file: Path) -> str | None:
    """Return the digest of a manifest (distribution's schema 2), or None if a file is none.

    Glance holds the manifest of an image whose layers are in the registry.
    """
    if file.stat().st_size > _LARGEST_MANIFEST:
        return None
    content = file.read_bytes()
    try:
        is_manifest = json.loads(content).get("mediaType") == _MANIFEST_TYPE
    except (ValueError, AttributeError):
        return None
    return f"sha256:{hashlib.sha256(content).hexdigest()}" if is_manifest else None


def read_archive(archive: Path, image: str) -> tuple[str, list[str]]:
    """Return the id an engine gives to a docker-archive's image, and the names it brings along.

    :raises ImageUnacceptable: it is not a docker-archive of one image, or takes a foreign name
    """
    try:
        with tarfile.open(archive) as content:
            (entry,) = json.loads(_member(content, "manifest.json"))
            identity = hashlib.sha256(_member(content, entry["Config"])).hexdigest()
            tags = [str(tag) for tag in entry.get("RepoTags") or ()]
    except (tarfile.TarError, KeyError, TypeError, ValueError, OSError) as error:
        reason = f"not a docker-archive of one image: {error}"
        raise exception.ImageUnacceptable(image_id=image, reason=reason) from error
    for tag in tags:
        if tag.rpartition(":")[0].split("/")[-1] == REPOSITORY:
            reason = f"it calls itself {tag}, a name that belongs to the driver"
            raise exception.ImageUnacceptable(image_id=image, reason=reason)
    return f"sha256:{identity}", tags


def _member(content: tarfile.TarFile, name: str) -> bytes:
    file = content.extractfile(name)
    if file is None:
        raise ValueError(f"{name} is not a file")
    return file.read()
