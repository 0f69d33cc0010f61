"""The work behind `python -m lib COMMAND`, a file a command."""
