"""A plan and what carrying it out takes: what is handed from step to step."""

import dataclasses

import openstack

from altostratus import observed, plan
from altostratus.yamlfile import Document


@dataclasses.dataclass(frozen=True, slots=True)
class Deployment:
    """A plan, what carrying it out takes, and what it was made from.

    ``known`` are the secrets that were there, ``secrets`` those and the new ones.
    """

    undercloud: openstack.connection.Connection
    plan: plan.Plan
    secrets: dict[str, str]
    observed: observed.Observed
    known: dict[str, str]
    document: Document
