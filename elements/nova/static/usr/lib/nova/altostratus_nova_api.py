"""Nova's API, with its policies read before it answers.

Until 2026.1, Nova reads them at its first request, and lets those of other threads go on with what has
been read so far.
"""

import nova.policy
from nova.wsgi.osapi_compute import application

__all__ = ["application"]

nova.policy.init()
