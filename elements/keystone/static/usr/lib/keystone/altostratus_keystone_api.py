"""Keystone's API, with its policies read before it answers.

Keystone reads them at its first request, and lets those of other threads go on with what has been read
so far: after some starts, a service was not allowed to have a token validated, and refused its users.
"""

from keystone.common.rbac_enforcer.enforcer import RBACEnforcer
from keystone.wsgi.api import application

__all__ = ["application"]

policies = RBACEnforcer()
# It tells of each rule else what is deprecated of it.
policies.suppress_deprecation_warnings = True
policies._enforcer.load_rules()
