"""Each notebook runs top to bottom when it is opened in JupyterLab in a browser, and the slider of the
quickstart moves its picture.

Needs Chromium and its driver: without them skipped, aloud, or failed where CI is true. Copies are opened: the
committed notebooks stay as they are.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from lib.paths import CACHE, DATA, ROOT

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# how long to wait for the server, the page or the kernel on a busy machine; and for a notebook on an empty
# cache
START_S, RUN_S = 120, 900
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of view are in the page too
    "apputils-extension/notification": {"fetchNews": "false"},
}  # or a question lies over the page

MISSING = "no Chromium with chromedriver here; on Debian: apt install chromium chromium-driver"


@pytest.fixture(scope="module", autouse=True)
def chromium():
    """Skip without Chromium; in continuous integration, which installs it, fail."""
    if not (BROWSER and DRIVER):
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(MISSING)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Serve copies of the notebooks without outputs, so that every output seen was made here; yields the
    address as a function of the notebook."""
    root = tmp_path_factory.mktemp("lab")
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, root / path.name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, log = secrets.token_hex(16), root / "server.log"
    own = {
        name: str(root / ".jupyter" / name)
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
    }
    project = {
        "SAM2VSS_DATA": str(DATA.resolve()),
        "SAM2VSS_CACHE": str(CACHE.resolve()),
        "SAM2VSS_REPORTS": str(root / "reports"),
        "PYTHONPATH": str(ROOT),
    }
    for plugin, values in SETTINGS.items():
        settings = (
            root / ".jupyter" / "JUPYTERLAB_SETTINGS_DIR" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        )
        settings.parent.mkdir(parents=True)
        settings.write_text(json.dumps(values))
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            cwd=root,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **own,
                **project,
                "JUPYTER_PLATFORM_DIRS": "1",
                "JUPYTER_PREFER_ENV_PATH": "1",
                "CI": "1",
            },
        )
        try:
            _wait_for_server(f"http://127.0.0.1:{port}/api/status?token={token}", server, log)
            yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?reset&token={token}"
        finally:
            server.terminate()  # the server ends its kernels
            server.wait(30)


def _wait_for_server(url, server, log):
    opener, until = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + START_S
    while True:
        try:
            return opener.open(url, timeout=5)
        except OSError as error:
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"JupyterLab did not start ({error}):\n{log.read_text()[-3000:]}")
            time.sleep(0.3)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One headless browser with a profile of its own that fetches nothing from outside."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1400,1000",
        "--proxy-server=direct://",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_script_timeout(START_S)
    # some versions give a headless page no focus: no widget is JupyterLab's current one then
    driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    yield driver
    driver.quit()


def _cells(browser):
    """The code cells as the page holds them: [(source, execution count, outputs)], and what the kernel
    does."""
    cells, status = browser.execute_script("""
        const panel = window.jupyterapp?.shell.currentWidget, model = panel?.content?.model;
        const cells = model?.toJSON().cells ?? [];
        return [cells.filter(c => c.cell_type === 'code'), panel?.sessionContext?.session?.kernel?.status ?? 'none'];""")
    return cells, status


def _run_all(browser, url):
    """Open a notebook, choose Run > Run All Cells, wait for its end; return the code cells."""
    browser.get(url)
    WebDriverWait(browser, START_S).until(
        lambda b: _cells(b)[0] and _cells(b)[1] == "idle", "the kernel did not get ready"
    )
    WebDriverWait(browser, START_S).until(
        lambda b: not b.find_elements(By.ID, "jupyterlab-splash"), "the page did not get ready"
    )
    _menu(browser, "Run", "runmenu:run-all")
    done = lambda cells, status: status == "idle" and all(cell["execution_count"] for cell in cells)
    failed = lambda cells: any(
        output["output_type"] == "error" for cell in cells for output in cell["outputs"]
    )
    WebDriverWait(browser, RUN_S, poll_frequency=1).until(
        lambda b: failed(_cells(b)[0]) or done(*_cells(b)), "the notebook did not come to its end"
    )
    return _cells(browser)[0]


def _menu(browser, name, command):
    (menu,) = [
        item
        for item in browser.find_elements(By.CSS_SELECTOR, "#jp-MainMenu .lm-MenuBar-item")
        if item.text == name
    ]
    menu.click()
    selector = f".lm-Menu-item[data-command='{command}']"
    WebDriverWait(browser, START_S).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, selector), f"no {command} in the menu {name}"
    )
    browser.find_element(By.CSS_SELECTOR, selector).click()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_top_to_bottom_in_the_browser(lab, browser, path):
    try:
        _check(browser, _run_all(browser, lab(path.name)))
        if path.stem == "00_quickstart":
            _slider_moves_the_picture(browser)
    finally:
        _close(browser)


def _check(browser, cells):
    """All cells ran, in order and without an error, and every figure stands in the page."""
    errors = [
        "\n".join([output["ename"], output["evalue"], cell["source"]])
        for cell in cells
        for output in cell["outputs"]
        if output["output_type"] == "error"
    ]
    assert not errors, errors[0]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    shown = browser.execute_script(
        "return [...document.querySelectorAll('.jp-OutputArea-output img')].filter(i => i.complete && i.naturalWidth > 100).length"
    )
    figures = sum(
        "image/png" in output.get("data", {})
        and "application/vnd.jupyter.widget-view+json" not in output["data"]
        for cell in cells
        for output in cell["outputs"]
    )
    assert shown >= figures


def _slider_moves_the_picture(browser):
    """Press the right arrow on the slider's handle: the number beside it rises by one and the picture
    becomes another."""
    WebDriverWait(browser, START_S).until(
        lambda b: b.find_elements(By.CSS_SELECTOR, ".widget-slider .noUi-handle"), "no slider in the page"
    )
    picture = """const image = document.querySelector('.jupyter-widgets img, img.widget-image'), canvas = document.createElement('canvas');
        canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
        canvas.getContext('2d').drawImage(image, 0, 0);
        return image.complete && image.naturalWidth ? canvas.toDataURL() : null;"""
    number = lambda b: int(b.find_element(By.CSS_SELECTOR, ".widget-slider .widget-readout").text)
    WebDriverWait(browser, START_S).until(lambda b: b.execute_script(picture), "no picture in the viewer")
    handle = browser.find_element(By.CSS_SELECTOR, ".widget-slider .noUi-handle")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", handle)
    before, frame = browser.execute_script(picture), number(browser)
    handle.send_keys(Keys.ARROW_RIGHT)
    WebDriverWait(browser, START_S).until(lambda b: number(b) == frame + 1, "the slider did not move")
    WebDriverWait(browser, START_S).until(
        lambda b: b.execute_script(picture) not in (None, before), "the picture did not change"
    )


def _close(browser):
    """End the notebook's kernel, so that one at a time holds memory, and drop its unsaved outputs."""
    browser.execute_async_script("""
        const done = arguments[0], session = window.jupyterapp?.shell.currentWidget?.sessionContext;
        session ? session.shutdown().then(done, done) : done();""")
    browser.get("about:blank")
