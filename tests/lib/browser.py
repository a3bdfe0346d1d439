# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium that talks to nobody but the pages of a test."""
import shutil

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = """
--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage
""".split()


def start(profile, *flags):
    """A driver with a profile of its own; the caller quits it."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
