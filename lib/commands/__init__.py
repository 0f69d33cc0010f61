"""What each `python -m lib COMMAND` takes and does, a file a command."""
