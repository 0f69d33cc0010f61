"""index.html of a profile: all in one file, nothing fetched, nothing of the text taken for HTML."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from lib.clips.errors import DataMissingError
from lib.report import html as page


class Reader(HTMLParser):
    """Collect the tags of a page with their attributes, and its text; a tag left open is an error."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag, attribute):
        return [attributes.get(attribute) for name, attributes in self.tags if name == tag]


@pytest.fixture
def mini(tmp_path):
    folder = tmp_path / "mini"
    for name, text in {
        "table1": "# Table 1 on mini\n\n| method | mIoU |\n| --- | ---: |\n| SAM2-X | 41.2 [39.8, 42.6] |\n\n## Notes\n\n- A <script>alert(1)</script> & \\*star\\*, [x](javascript:alert).\n",
        "cost": "# Cost of a < b & c\n\nNothing was measured here.\n",
        "quickstart": "",
    }.items():
        (folder / name).mkdir(parents=True)
        if text:
            (folder / name / "table.md").write_text(text)
    (folder / "table1" / "table.csv").write_text("")
    (folder / "quickstart" / "notebook.ipynb").write_text("{}")
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = (213, 94, 0)
    for file in ("table1/figure.png", "table1/by_class.png"):
        Image.fromarray(picture).save(folder / file)
    page.write_page(folder)
    return folder


@pytest.fixture
def read(mini):
    return Reader((mini / "index.html").read_text())


def test_nothing_is_fetched_from_anywhere(mini, read):
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in read.tags}
    assert all(src.startswith("data:image/png;base64,") for src in read.all("img", "src"))
    assert not re.search(r"url\(|@import|https?://", (mini / "index.html").read_text())
    (policy,) = [
        a["content"] for t, a in read.tags if t == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")


def test_pictures_stand_in_the_page_with_their_colours_and_words(read):
    assert read.all("img", "alt") == ["Table 1 on mini", "Table 1 on mini: by class"]
    pixels = np.asarray(
        Image.open(io.BytesIO(base64.b64decode(read.all("img", "src")[0].partition(",")[2]))).convert("RGB")
    )
    assert pixels[0, 0].tolist() == [0, 0, 0] and pixels[39, 59].tolist() == [213, 94, 0]


def test_contents_lead_to_the_sections_in_the_papers_order(read):
    assert "Results on the profile mini" in read.text
    contents = [href for href in read.all("a", "href") if href.startswith("#") and "harmful" not in href]
    assert contents == ["#quickstart", "#table1", "#cost"] == ["#" + i for i in read.all("section", "id")]
    assert read.text.count("Table 1 on mini") == 2


def test_links_lead_to_files_beside_it(mini, read):
    links = [href for href in read.all("a", "href") if not href.startswith("#")]
    assert "table1/table.csv" in links and "quickstart/notebook.ipynb" in links
    assert all((mini / href).exists() for href in links)


def test_text_is_never_taken_for_html(read):
    assert "javascript:alert" not in read.all("a", "href")
    text = "".join(read.text)
    assert "A <script>alert(1)</script> & *star*" in text and text.count("Cost of a < b & c") == 2


def test_tables_scroll_and_align_numbers(read):
    assert "0" in [a.get("tabindex") for t, a in read.tags if t == "div" and a.get("class") == "table"]
    assert "text-align: right" in read.all("td", "style") and "41.2 [39.8, 42.6]" in read.text


def test_a_failed_write_leaves_the_page_as_it_was(mini, monkeypatch):
    before = (mini / "index.html").read_bytes()
    (mini / "table1" / "figure.png").write_bytes(b"no picture")
    with pytest.raises(Exception, match="cannot identify image file"):
        page.write_page(mini)
    assert (mini / "index.html").read_bytes() == before and not list(mini.glob(".*part"))
    with pytest.raises(DataMissingError, match="nowhere"):
        page.write_page(mini / "nowhere")


def test_a_picture_outside_the_reports_is_refused(mini):
    Image.new("RGB", (2, 2)).save(mini.parent / "secret.png")
    (mini / "cost" / "table.md").write_text("# Cost\n\n![x](cost/../../secret.png)\n")
    with pytest.raises(DataMissingError, match="a picture in the folder of the reports"):
        page.page(mini)
