"""Debian's Chromium, driven by Playwright, and what a page must not do: fail in silence, or ask anybody else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def is_there() -> bool:
    return shutil.which(CHROMIUM) is not None


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, which is gone afterwards."""
    with sync_playwright() as playwright:
        # Without the sandbox and the network services of its own: what it loads is ours.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


class Watched:
    """A page, with what it complained of and whom it asked."""

    def __init__(self, page: Page, host: str) -> None:
        self.page = page
        self.host = host
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        # A server that is away for a while is no mistake of the page's.
        self.may_lose_server = False
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        lost = self.may_lose_server and "net::ERR_" in message.text
        if message.type in ("error", "warning") and not lost:
            self.complaints.append(message.text)

    def _asked(self, request: Request) -> None:
        if urlsplit(request.url).netloc != self.host:
            self.strangers.append(request.url)

    def assert_good(self) -> None:
        assert not self.complaints
        assert not self.strangers


def screenshot(page: Page, path: Path) -> None:
    """A picture of what is seen first."""
    page.screenshot(path=path, animations="disabled")
