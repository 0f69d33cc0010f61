"""Print all results as Markdown: python -m benchmarks [folder]."""

import json
import sys
from pathlib import Path

from benchmarks.common import RESULTS


def markdown(result: dict, title: str) -> str:
    """Write one result as a heading, what it came from, a table and its notes; an empty cell is something
    that was not measured."""
    machine = result["machine"]
    lines = [
        f"## {title}",
        "",
        f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}, {machine['date'][:10]}, commit {(machine['commit'] or 'unknown')[:7]}"
        f"{' and changes' if machine['dirty'] else ''}; `{result['command']}`.",
        "",
    ]
    columns = list(result["table"][0])
    numeric = [any(isinstance(row[c], (int, float)) for row in result["table"]) for c in columns]
    lines += [
        "| " + " | ".join(columns) + " |",
        "| " + " | ".join("---:" if n else "---" for n in numeric) + " |",
    ]
    lines += ["| " + " | ".join(cell(row[c]) for c in columns) + " |" for row in result["table"]]
    return "\n".join([*lines, "", *(f"- {note}" for note in result["notes"]), ""])


def cell(value) -> str:
    """Write numbers with four digits that mean something."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def main(folder: str | Path = RESULTS) -> None:
    files = sorted(Path(folder).glob("*.json"))
    print(
        "\n".join(markdown(json.loads(file.read_text()), file.stem.replace("_", ", ")) for file in files)
        or f"No results in {folder} yet: see benchmarks/README.md."
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
