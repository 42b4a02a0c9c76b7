"""A browser without a display: Debian's Chromium, which trusts one cloud's authority besides its own."""

import collections.abc
import contextlib
import pathlib
import subprocess
import tempfile

import selenium.webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from altostratus import machine

PACKAGES = (
    "chromium",
    "chromium-driver",
    "chromium-sandbox",
    "fonts-dejavu-core",
    "libnss3-tools",
)
USER, GROUP = "nobody", "nogroup"
SIZE = "1280,1024"
PAGE_S = 60

Browser = selenium.webdriver.Chrome


@contextlib.contextmanager
def opened(authority: str) -> collections.abc.Iterator[Browser]:
    """A browser with a profile of its own; ``authority`` is a certificate, empty for none."""
    machine.install(PACKAGES)
    with tempfile.TemporaryDirectory() as home:
        _trust(pathlib.Path(home), authority)
        # Chromium's own sandbox refuses root, and without it root would run what a page says.
        subprocess.run(["chown", "-R", USER, home], check=True)
        with _started(home) as browser:
            browser.set_page_load_timeout(PAGE_S)
            yield browser


@contextlib.contextmanager
def _started(home: str) -> collections.abc.Iterator[Browser]:
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    options.add_argument("--headless=new")
    options.add_argument(f"--user-data-dir={home}/profile")
    options.add_argument(f"--window-size={SIZE}")
    service = Service(
        "/usr/bin/chromedriver",
        env={"HOME": home, "TMPDIR": home, "PATH": "/usr/bin:/bin"},
        popen_kw={"user": USER, "group": GROUP, "extra_groups": [], "cwd": home},
    )
    browser = selenium.webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()


def log_in(browser: Browser, url: str, username: str, password: str) -> None:
    """Fill in Horizon's form; where it leads is the caller's business."""
    browser.get(f"{url}/auth/login/")
    browser.find_element(By.NAME, "username").send_keys(username)
    browser.find_element(By.NAME, "password").send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit], input[type=submit]").click()


def text_of(browser: Browser, selector: str) -> str:
    """What the first such element says, as soon as it says something."""
    return str(
        WebDriverWait(browser, PAGE_S).until(
            lambda now: now.find_element(By.CSS_SELECTOR, selector).text
        )
    )


def missing(browser: Browser) -> list[str]:
    """The styles, fonts, scripts and pictures that the page wanted and did not get."""
    script = (
        "return performance.getEntriesByType('resource').filter(one => one.responseStatus >= 400"
        " && one.initiatorType != 'xmlhttprequest').map(one => one.name)"
    )
    return [str(one) for one in browser.execute_script(script)]


def _trust(home: pathlib.Path, authority: str) -> None:
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    certutil = ["certutil", "-d", f"sql:{database}"]
    subprocess.run([*certutil, "-N", "--empty-password"], check=True)
    if authority:
        trusting = [*certutil, "-A", "-a", "-t", "C,,", "-n", "cloud"]
        subprocess.run(trusting, input=authority, text=True, check=True)
