"""What is being done, said one line per step with the time it took."""

import collections.abc
import contextlib
import time


@contextlib.contextmanager
def step(text: str, instance: str | None = None) -> collections.abc.Iterator[None]:
    """Print the step when it begins and what it took when it ends."""
    start = time.monotonic()
    print(f"         {text}  {instance or ''}".rstrip(), flush=True)
    yield
    print(f"{time.monotonic() - start:7.1f}s {text}  {instance or ''}".rstrip(), flush=True)
