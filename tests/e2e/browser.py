"""A browser without a display: Debian's Chromium, which trusts one cloud's authority besides its own."""

import collections.abc
import contextlib
import pathlib
import subprocess

import selenium.webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from altostratus import machine

PACKAGES = ("chromium", "chromium-driver", "fonts-dejavu-core", "libnss3-tools")
SIZE = "1280,1024"
PAGE_S = 60

Browser = selenium.webdriver.Chrome


@contextlib.contextmanager
def opened(home: pathlib.Path, authority: str) -> collections.abc.Iterator[Browser]:
    """A browser whose profile is in ``home``; ``authority`` is the file of a certificate."""
    machine.install(PACKAGES)
    _trust(home, authority)
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    options.add_argument("--headless=new")
    options.add_argument(f"--user-data-dir={home / 'profile'}")
    options.add_argument(f"--window-size={SIZE}")
    # Chromium's own sandbox refuses root; it sees nothing but the cloud of this test.
    options.add_argument("--no-sandbox")
    options.add_argument("--disable-dev-shm-usage")
    service = Service("/usr/bin/chromedriver", env={"HOME": str(home), "PATH": "/usr/bin:/bin"})
    browser = selenium.webdriver.Chrome(options=options, service=service)
    browser.set_page_load_timeout(PAGE_S)
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


def _trust(home: pathlib.Path, authority: str) -> None:
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    where = f"sql:{database}"
    for command in (
        ["certutil", "-d", where, "-N", "--empty-password"],
        ["certutil", "-d", where, "-A", "-t", "C,,", "-n", "cloud", "-i", authority],
    ):
        subprocess.run(command, check=True)
