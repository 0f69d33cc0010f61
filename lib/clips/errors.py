"""The two kinds of data error, and the one shape of their messages: the file, what was expected, what was
found, the remedy."""


class DataError(ValueError):
    """Input that is there but malformed."""


class DataMissingError(FileNotFoundError):
    """Input that is not there."""


def problem(kind: type[Exception], file: object, *, expected: str, found: str, remedy: str) -> Exception:
    """Build the one kind of message that data errors have."""
    return kind(f"{file}: expected {expected}, but found {found}. {remedy}")
