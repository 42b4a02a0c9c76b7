"""Nova's options are read as its processes read them: with threads."""

import os

os.environ.setdefault("OS_NOVA_DISABLE_EVENTLET_PATCHING", "1")
