"""Clients that ask again and again while something goes on."""

import abc
import collections.abc
import contextlib
import threading


class Client(threading.Thread, abc.ABC):
    """One that asks after each ``interval_s`` until it is told to stop."""

    def __init__(self, interval_s: float) -> None:
        super().__init__(daemon=True)
        self._interval_s = interval_s
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(self._interval_s):
            self.ask()

    @abc.abstractmethod
    def ask(self) -> None:
        """Ask once, and note what came of it."""

    def stop(self) -> None:
        """Return when the last answer is there."""
        self._done.set()
        self.join()


@contextlib.contextmanager
def at_work(clients: collections.abc.Collection[Client]) -> collections.abc.Iterator[None]:
    """Clients that ask for as long as the block lasts."""
    for client in clients:
        client.start()
    try:
        yield
    finally:
        for client in clients:
            client.stop()
