"""``python -m altostratus``."""

from altostratus import cli

cli.main()
