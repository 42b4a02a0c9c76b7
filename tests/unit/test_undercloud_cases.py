"""What an undercloud's file leads to: the metadata of the undercloud and of its nodes, or findings.

Each folder of tests/undercloud is a case, on a machine that is always the same.
``ALTOSTRATUS_GOLDEN=write`` writes the results anew: look at the diff.
"""

import os
import pathlib

import pytest

from altostratus import certificates, errors, hypervisors, metadata, nodes, undercloudfile
from altostratus.model import Undercloud
from tests.unit import golden

_FOLDER = pathlib.Path(__file__).parents[1] / "undercloud"
_RESULTS = {"metadata.json", "findings.txt"}


@pytest.mark.parametrize("case", sorted(path.name for path in _FOLDER.iterdir()))
def test_case(case: str) -> None:
    folder = _FOLDER / case
    found = results((folder / "undercloud.yaml").read_text())
    if os.environ.get("ALTOSTRATUS_GOLDEN") == "write":
        for name in _RESULTS:
            (folder / name).unlink(missing_ok=True)
        for name, content in found.items():
            (folder / name).write_text(content)
    kept = {path.name: path.read_text() for path in folder.iterdir() if path.name in _RESULTS}
    assert kept == found


def results(text: str) -> dict[str, str]:
    """The content that each result file of a case should have."""
    try:
        asked = undercloudfile.parse(text, "undercloud.yaml")
    except errors.FindingsError as exc:
        return {"findings.txt": f"{exc.message}\n"}
    chosen = tuple(asked.hypervisors)
    shares = hypervisors.shares(24000, 60, 2, asked.hypervisors, chosen)
    alone = Undercloud(shares, chosen, site=asked.site)
    there = nodes.with_all(alone, asked.nodes, asked.hypervisors, vcpus=2)
    names = metadata.undercloud_secrets({}, there.hypervisors, there.nodes)
    secrets = golden.fixed([*names, certificates.AUTHORITY, certificates.of(there.name)])
    trees = {one.name: metadata.undercloud_node(there, one, secrets) for one in there.nodes}
    trees[there.name] = metadata.undercloud(there, secrets)
    return {"metadata.json": golden.as_json(trees)}
