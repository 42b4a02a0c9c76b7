"""Registers services in a Keystone: users, roles, catalogue entries, endpoints.

One source for both clouds. The deployer calls :func:`register` for an overcloud from outside;
inside the undercloud's image this file is a program that reads the entries (a JSON list, see
``metadata.catalog``) from standard input and finds its cloud by ``OS_CLOUD``. So it imports the
standard library and openstacksdk with its keystoneauth1, nothing else. Run again it changes only what differs.
"""

import json
import sys
from typing import Any

import keystoneauth1.exceptions
import keystoneauth1.session
import openstack
from keystoneauth1.identity import v3

_DOMAIN = "default"
_PROJECT = "service"
_ROLES = ("admin", "member", "reader", "service")
_INTERFACES = {"public": "public_url", "internal": "internal_url", "admin": "internal_url"}

Entry = dict[str, Any]


def register(cloud: openstack.connection.Connection, entries: list[Entry]) -> list[str]:
    """Make Keystone hold these entries; returns what had to be changed, in words."""
    return _Registrar(cloud).register(entries)


class _Registrar:
    """A Keystone, what it holds already, and what was changed in it."""

    def __init__(self, cloud: openstack.connection.Connection) -> None:
        self.cloud = cloud
        # Any: the SDK's type is a union with version 2, which has few of these methods.
        self.identity: Any = cloud.identity
        self.region = cloud.config.get_region_name() or "RegionOne"
        self.changes: list[str] = []

    def register(self, entries: list[Entry]) -> list[str]:
        """See the function of this name."""
        self.roles: dict[str, Any] = {role.name: role for role in self.identity.roles()}
        for name in _ROLES:
            self._role(name)
        self.project = self.identity.find_project(_PROJECT, domain_id=_DOMAIN)
        if self.project is None:
            self.project = self.identity.create_project(name=_PROJECT, domain_id=_DOMAIN)
            self.changes.append(f"project {_PROJECT}")
        self.services = {found.name: found for found in self.identity.services()}
        self.endpoints = list(self.identity.endpoints(region_id=self.region))
        for entry in entries:
            self._user(entry)
            if entry["type"]:
                self._service(entry)
            if "domain" in entry:
                self._stack_domain(entry["domain"])
        return self.changes

    def _role(self, name: str) -> Any:
        if name not in self.roles:
            self.roles[name] = self.identity.create_role(name=name)
            self.changes.append(f"role {name}")
        return self.roles[name]

    def _user(self, entry: Entry) -> None:
        user = self._user_with_password(entry["user"], entry["password"], _DOMAIN)
        for name in entry.get("roles", ["service"]):
            role = self._role(name)
            if not self.identity.validate_user_has_project_role(self.project, user, role):
                self.identity.assign_project_role_to_user(self.project, user, role)
                self.changes.append(f"role {name} of user {user.name}")

    def _user_with_password(self, name: str, password: str, domain: str) -> Any:
        user = self.identity.find_user(name, domain_id=domain)
        if user is None:
            self.changes.append(f"user {name}")
            return self.identity.create_user(name=name, password=password, domain_id=domain)
        if not self._password_works(user, password):
            self.identity.update_user(user, password=password)
            self.changes.append(f"password of user {name}")
        return user

    def _password_works(self, user: Any, password: str) -> bool:
        """Whether the user can log in: setting a password again would revoke its tokens."""
        auth = v3.Password(
            self.cloud.config.get_auth_args()["auth_url"], user_id=user.id, password=password
        )
        session = keystoneauth1.session.Session(auth, verify=self.cloud.session.verify)
        try:
            session.get_token()
        except keystoneauth1.exceptions.Unauthorized:
            return False
        return True

    def _service(self, entry: Entry) -> None:
        service = self.services.get(entry["name"])
        if service is None:
            service = self.identity.create_service(name=entry["name"], type=entry["type"])
            self.changes.append(f"service {entry['name']}")
        for interface, key in _INTERFACES.items():
            self._endpoint(service, interface, entry[key])

    def _endpoint(self, service: Any, interface: str, url: str) -> None:
        for endpoint in self.endpoints:
            if endpoint.service_id == service.id and endpoint.interface == interface:
                if endpoint.url != url:
                    self.identity.update_endpoint(endpoint, url=url)
                    self.changes.append(f"{interface} endpoint of {service.name}")
                return
        self.identity.create_endpoint(
            service_id=service.id, interface=interface, url=url, region_id=self.region
        )
        self.changes.append(f"{interface} endpoint of {service.name}")

    def _stack_domain(self, wanted: Entry) -> None:
        """The domain in which Heat makes the users of its stacks, and who may do that there."""
        domain = self.identity.find_domain(wanted["name"])
        if domain is None:
            domain = self.identity.create_domain(name=wanted["name"])
            self.changes.append(f"domain {wanted['name']}")
        admin = self._user_with_password(wanted["admin"], wanted["password"], domain.id)
        self._role(wanted["role"])
        role = self.roles["admin"]
        if not self.identity.validate_user_has_domain_role(domain, admin, role):
            self.identity.assign_domain_role_to_user(domain, admin, role)
            self.changes.append(f"role admin of user {wanted['admin']} in domain {domain.name}")


def main() -> None:
    """Register what standard input holds in the cloud that ``OS_CLOUD`` names."""
    for change in register(openstack.connect(), json.load(sys.stdin)):
        print(f"registered {change}")


if __name__ == "__main__":
    main()
