"""All reports of a profile on one page."""

import re
from pathlib import Path

from ..clips.errors import DataMissingError, problem
from .png import write_together

FOLDERS = ("quickstart", *(f"table{number}" for number in range(1, 8)), "cost", "claims")


def profile_sections(profile_folder: str | Path) -> list[tuple[str, str, str]]:
    """Put every report of reports/<profile> into words, its table and figures, the paper's order first.

    Args: profile_folder: holds the report folders; a folder counts with a table.md, a picture, a
        notebook.ipynb or a failed.ipynb.
    Returns: (name of the folder, title, Markdown under a heading of level 2 whose links are relative to the
        profile's folder).
    Raises: DataMissingError if the folder is absent.
    """
    folder = Path(profile_folder)
    if not folder.is_dir():
        raise problem(
            DataMissingError,
            folder,
            expected="the reports of a profile",
            found="no such folder",
            remedy="Run its notebooks first.",
        )
    names = sorted(
        (path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")),
        key=lambda name: (FOLDERS.index(name) if name in FOLDERS else len(FOLDERS), name),
    )
    sections = []
    for name in names:
        here = {path.name for path in (folder / name).iterdir()}
        pictures = sorted(
            (file for file in here if re.fullmatch(r"[^.].*\.png", file)),
            key=lambda file: (file != "figure.png", file),
        )
        if not (here & {"table.md", "notebook.ipynb", "failed.ipynb"} or pictures):
            continue
        text = (
            (folder / name / "table.md").read_text(encoding="utf-8") if "table.md" in here else f"# {name}\n"
        )
        title = text.partition("\n")[0].lstrip("# ")
        head, _, body = re.sub(r"^#", "##", text, flags=re.MULTILINE).partition("\n")
        lines = [head, ""]
        if "failed.ipynb" in here:
            before = "what follows is of an earlier one" if len(here) > 1 else "there is no earlier one"
            lines += [f"**The latest run failed** ([failed.ipynb]({name}/failed.ipynb)); {before}.", ""]
        for file in pictures:
            what = "" if file == "figure.png" else f": {Path(file).stem.replace('_', ' ')}"
            lines += [f"![{title}{what}]({name}/{file})", ""]
        lines += [body.strip(), ""] if body.strip() else []
        links = [
            f"[{file}]({name}/{file})" for file in ("notebook.ipynb", "table.csv", "run.json") if file in here
        ]
        lines += ["Files: " + ", ".join(links) + ".", ""] if links else []
        sections.append((name, title, "\n".join(lines)))
    return sections


def profile_readme(profile_folder: str | Path) -> None:
    """Write README.md of reports/<profile>, all its reports on one page: arguments and errors as for
    `profile_sections`."""
    folder = Path(profile_folder)
    sections = profile_sections(folder)
    head = [
        f"# Results on the profile {folder.resolve().name}",
        "",
        "Written by `python -m lib run`; edits are overwritten.",
        "",
    ]
    listed = [
        f"- [{name}]({name}/): {title}" if title != name else f"- [{name}]({name}/)"
        for name, title, _ in sections
    ]
    write_together(
        folder,
        {
            "README.md": (
                "\n".join([*head, *listed, "", *(text for *_, text in sections)]).rstrip() + "\n"
            ).encode()
        },
    )
