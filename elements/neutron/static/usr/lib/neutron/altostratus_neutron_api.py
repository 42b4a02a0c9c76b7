"""Neutron's API, with its policies read before it answers.

Neutron reads them at its first request, and lets those of other threads go on with what has been read
so far: after each start, networks that are there were not found.
"""

import neutron.policy
from neutron.wsgi.api import application
from neutron_lib.policy import _engine

__all__ = ["application"]

neutron.policy.init()
_engine.init()
