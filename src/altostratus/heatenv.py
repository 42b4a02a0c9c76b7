"""The environment file that HEAT_ENV names, and what it says about the hypervisor.

TripleO's tools hand such a file to Heat. The key ``Hypervisor`` in its parameters is for us, all
others are not.
"""

from typing import Any

from altostratus import errors, hypervisors, yamlfile

VARIABLE = "HEAT_ENV"
_KEY = "Hypervisor"
# In Heat the parameters of an environment come before its defaults.
_SECTIONS = ("parameters", "parameter_defaults")


def hypervisor(text: str, file: str) -> str | None:
    """The hypervisor that an environment file asks for, if it does.

    Raises :class:`errors.FindingsError` with everything that is wrong.
    """
    document = yamlfile.parse(text, file)
    findings = list(document.findings)
    data = document.data
    if data is not None and not isinstance(data, dict):
        findings.append(document.finding((), "it is not a mapping of keys to values"))
    named: list[str] = []
    for section in _SECTIONS if isinstance(data, dict) else ():
        within: Any = data.get(section)
        if within is not None and not isinstance(within, dict):
            message = f"{within!r} is not a mapping of keys to values"
            findings.append(document.finding((section,), message))
        elif within and _KEY in within:
            given = within[_KEY]
            if given in hypervisors.names():
                named.append(given)
            else:
                message = f"there is no hypervisor {given!r}"
                hint = f"known: {', '.join(hypervisors.names())}"
                findings.append(document.finding((section, _KEY), message, hint))
    if findings:
        raise errors.FindingsError(tuple(findings))
    return named[0] if named else None
