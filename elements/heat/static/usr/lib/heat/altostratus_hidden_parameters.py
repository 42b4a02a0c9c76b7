"""Encrypt the hidden parameters of nested stacks before they are stored.

With ``encrypt_parameters_and_properties`` Heat encrypts those of a stack (Stack.store), but it
stores the template of a nested stack, parameters and all, by another way that does not
(StackResource._stack_kwargs). Both end in Template.store, and what Heat loads it decrypts by the
names kept beside the parameters.
"""

from heat.engine import template
from heat.objects import raw_template

_store = template.Template.store


def store(self, context):
    """Store a template, its hidden parameters encrypted if nobody has done that."""
    if self.id is None and not self.env.encrypted_param_names:
        raw_template.RawTemplate.encrypt_hidden_parameters(self)
    return _store(self, context)


template.Template.store = store
