"""A double of what instances say and do about the schemas of their databases, over ssh."""

import shlex

from altostratus import run

COPIED = "2026-11-28T01:02:03Z"
EARLIER = {"keystone": "29.1.0", "glance": "32.0.0"}


class Databases:
    """The programs database-schema and database-dump, with the state that they keep.

    Data is a number that grows with all that is written; a revision is the version of the software
    that changed the schema last.
    """

    def __init__(self, services: dict[str, str]) -> None:
        self.place = services
        self.software = dict(EARLIER)
        self.known = {service: [version] for service, version in EARLIER.items()}
        self.revision = dict(EARLIER)
        self.data = dict.fromkeys(EARLIER, 1)
        self.copies: dict[str, tuple[str, int]] = {}
        self.stopped: set[str] = set()

    def come_up(self, service: str, version: str) -> None:
        """What a service does when its instance has another root."""
        self.stopped.discard(service)
        self.software[service] = version
        if version not in self.known[service]:
            self.known[service].append(version)
            self.revision[service] = version

    def run_in(self, overcloud: str, server: str, address: str, command: str) -> run.Completed:
        """In the place of ``ssh.run_in``; the server's id is the instance's name."""
        program, action, *words = shlex.split(command)
        status, said = getattr(self, f"_{program.partition('-')[2]}_{action.replace('-', '_')}")(
            server, *words
        )
        return run.Completed(status, said, "")

    def _schema_list(self, instance: str) -> tuple[int, str]:
        return 0, "".join(
            f"{service} {self.software[service]} {' '.join(self.known[service])}\n"
            for service, place in self.place.items()
            if place == instance
        )

    def _schema_finish(self, instance: str, service: str) -> tuple[int, str]:
        if self.known[service][-1] != self.software[service]:
            return 1, "it is not the last"
        self.known[service] = [self.software[service]]
        return 0, ""

    def _schema_leave(self, instance: str, service: str) -> tuple[int, str]:
        self.stopped.add(service)
        self.known[service] = []
        return 0, ""

    def _dump_write(self, instance: str, name: str, *databases: str) -> tuple[int, str]:
        service = name.partition("-")[0]
        self.copies[name] = self.revision[service], self.data[service]
        return 0, ""

    def _dump_list(self, instance: str) -> tuple[int, str]:
        return 0, "\n".join(f"{name} {COPIED}" for name in self.copies)

    def _dump_has_moved(self, instance: str, name: str, *databases: str) -> tuple[int, str]:
        return int(self.copies[name][0] == self.revision[name.partition("-")[0]]), ""

    def _dump_restore(self, instance: str, name: str, *databases: str) -> tuple[int, str]:
        service = name.partition("-")[0]
        assert service in self.stopped, "somebody still writes"
        self.revision[service], self.data[service] = self.copies[name]
        return 0, ""
