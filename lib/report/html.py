"""The reports of a profile as one web page that needs nothing beside it: pictures, style and all in
index.html."""

import base64
import html
import re
from pathlib import Path

import mistune
from PIL import Image

from ..clips.errors import DataMissingError, problem
from ..plots.style import small_png
from .pages import profile_sections
from .png import write_together

STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #666; --line: #d5d5d5; --paper: #fff; --band: #f5f5f5; --link: #0057a8 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --soft: #a5a5a5; --line: #444; --paper: #181818; --band: #232323; --link: #7db8ff } }
* { box-sizing: border-box }
html { scroll-behavior: smooth }
body { margin: 0 auto; max-width: 70rem; padding: 1rem 1.2rem 4rem; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); overflow-wrap: break-word }
h1, h2, h3 { line-height: 1.25 }
h2 { margin-top: 3.5rem; padding-top: .8rem; border-top: 1px solid var(--line) }
a { color: var(--link) }
nav ol { padding-left: 1.6rem }
img { display: block; width: 100%; max-width: 850px; height: auto; margin: 1rem 0; padding: 4px; background: #fff; border: 1px solid var(--line); border-radius: 4px }
.table { overflow-x: auto; margin: 1rem 0 }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .65rem; border-bottom: 1px solid var(--line); white-space: nowrap; background: var(--paper) }
td.text { white-space: normal; min-width: 9rem }
th { text-align: left }
tbody tr:nth-child(even) td { background: var(--band) }
th:first-child, td:first-child { position: sticky; left: 0 }
code { font-size: .9em }
footer { margin-top: 3rem; color: var(--soft) }
"""


class _Renderer(mistune.HTMLRenderer):
    """Markdown to HTML with pictures inlined; whatever is HTML in the source is shown as text."""

    def __init__(self, folder: Path):
        super().__init__(escape=True)
        self.folder = folder

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return f'<img src="{_inline(self.folder, url)}" alt="{html.escape(text)}">'


def _cell(renderer, text: str, align: str | None = None, head: bool = False) -> str:
    """Write a cell; only those of more than a few words may wrap, so that numbers stay on their line."""
    kind = ' class="text"' if not head and len(text) > 40 else ""
    style = f' style="text-align: {align}"' if align else ""
    return f"<{'th' if head else 'td'}{kind}{style}>{text}</{'th' if head else 'td'}>"


def _inline(folder: Path, url: str) -> str:
    """Read a picture of the reports as a data URI, in 256 colours."""
    path = (folder / url).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise problem(
            DataMissingError,
            path,
            expected="a picture in the folder of the reports",
            found="none",
            remedy="Run the notebooks again.",
        )
    with Image.open(path) as picture:
        return "data:image/png;base64," + base64.b64encode(small_png(picture)).decode()


def page(profile_folder: str | Path) -> str:
    """Lay out the reports of a profile as HTML: a list of contents, then each with its table and figures.

    Args: profile_folder: as for `lib.report.pages.profile_sections`.
    Returns: the page. Links to notebooks and tables lead to the files beside it; all else is inside.
    Raises: DataMissingError as `profile_sections` does.
    """
    folder = Path(profile_folder)
    to_html = mistune.create_markdown(renderer=_Renderer(folder), plugins=["table"])
    to_html.renderer.register(
        "table", lambda renderer, text: f'<div class="table" tabindex="0"><table>{text}</table></div>\n'
    )
    to_html.renderer.register("table_cell", _cell)
    title = html.escape(f"Results on the profile {folder.resolve().name}")
    contents, sections = [], []
    for name, heading, text in profile_sections(folder):
        anchor = html.escape(re.sub(r"\s+", "-", name))
        body = to_html(text)
        words = re.search(r"<h2>(.*?)</h2>", body, re.DOTALL)[1] if heading else html.escape(name)
        contents.append(f'<li><a href="#{anchor}">{words}</a></li>')
        sections.append(f'<section id="{anchor}">\n{body}</section>\n')
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{title}</h1>
<nav aria-label="Contents"><ol>
{chr(10).join(contents)}
</ol></nav>
<main>
{"".join(sections)}</main>
<footer>Written by <code>python -m lib run</code>; edits are overwritten.</footer>
</body>
</html>
"""


def write_page(profile_folder: str | Path) -> None:
    """Write index.html of reports/<profile>, whole or not at all; arguments and errors as for `page`."""
    write_together(Path(profile_folder), {"index.html": page(profile_folder).encode()})
