"""The two kinds of data error, and the one shape of their messages: the file, what was expected, what was
found, the remedy."""


class DataError(ValueError):
    """Input that is there but malformed."""


class DataMissingError(FileNotFoundError):
    """Input that is not there."""


def problem(kind: type[Exception], file: object, *, expected: str, found: str, remedy: str) -> Exception:
    """Build the one kind of message that data errors have."""
    return kind(f"{file}: expected {expected}, but found {found}. {remedy}")


def size_problem(path: object, expected: tuple[int, int], found: tuple[int, int]) -> Exception:
    """Build the error for a frame or label of another size (H, W) than its clip's."""
    return problem(
        DataError,
        path,
        expected=f"{expected[0]}x{expected[1]} (height x width), the size of the clip's first frame",
        found=f"{found[0]}x{found[1]}",
        remedy="Resize it (pictures bilinear, labels nearest), or remove it if it does not belong here.",
    )


def all_of(errors: list[Exception], most: int = 10) -> Exception:
    """Make one error of several: the first `most` in full, a line each, and how many there are in all."""
    if len(errors) == 1:
        return errors[0]
    kinds = {type(error) for error in errors}
    lines = [f"{len(errors)} files are missing or wrong:", *map(str, errors[:most])]
    if len(errors) > most:
        lines.append(f"... and {len(errors) - most} more.")
    return (kinds.pop() if len(kinds) == 1 else DataError)("\n".join(lines))
