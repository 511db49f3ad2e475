"""``python -m mediakit``."""

from mediakit.cli import run

run()
