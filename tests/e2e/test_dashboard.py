"""The dashboard in a real browser: what it shows, that it goes on, what it may change, and who can use it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.browser import Watched, browser, is_there
from support.gate import Gate
from support.server import Server, StartServer, free_port, poll

pytest.importorskip("playwright")
from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from playwright.sync_api import Browser, Page, expect  # noqa: E402

pytestmark = [
    pytest.mark.indrik_only,
    pytest.mark.skipif(not is_there(), reason="Debian's chromium is not installed"),
]

TOKEN = "a-token-for-tests-that-nobody-guesses"
VIEWS = ["overview", "requests", "routes", "failures", "events", "mine", "profile", "server"]
SECONDS = 15_000
expect.set_options(timeout=SECONDS)


class Watching:
    """A server whose admin listener is on a port, and pages that look at it."""

    def __init__(self, server: Server, port: int, chromium: Browser) -> None:
        self.server = server
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}/"
        self.chromium = chromium

    def get(self, path: str) -> requests.Response:
        return requests.get(self.server.url + path, timeout=10)

    def open(self, address: str = "", **options: Any) -> Watched:
        context = self.chromium.new_context(viewport={"width": 1440, "height": 900}, **options)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        watched = Watched(page, self.host)
        page.goto(self.url + address)
        expect(page.locator(".pulse .live")).to_be_visible(timeout=SECONDS)
        return watched


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


def options(directory: Path, port: int) -> list[str]:
    tokens = directory / "tokens"
    tokens.write_text(f"night operate sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
    return ["--admin-bind", f"127.0.0.1:{port}", "--admin-tokens", str(tokens), "--workers", "2"]


@pytest.fixture(scope="module")
def watching(start_shared: StartServer, tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Watching:
    port = free_port()
    server = start_shared("watched_flask:app", *options(tmp_path_factory.mktemp("tokens"), port))
    return Watching(server, port, chromium)


def number(page: Page, title: str) -> str:
    return page.locator(".vitals li", has_text=title).locator("b").inner_text()


def frames(url: str, count: int) -> list[Any]:
    """So many frames, as a program reads them."""
    with requests.get(url + "dashboard/live", stream=True, timeout=10) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = (line for line in answer.iter_lines() if line.startswith(b"data: "))
        return [json.loads(next(lines)[6:]) for _ in range(count)]


def test_the_first_screen_shows_what_the_server_does_and_goes_on_doing_so(watching: Watching) -> None:
    for name in range(5):
        assert watching.get(f"/items/{name}").ok
        assert watching.get(f"/fails/{name}").status_code == 500
    watched = watching.open()
    page = watched.page
    expect(page.locator("h1")).to_contain_text("watched_flask:app")
    expect(page.locator(".headline")).to_contain_text("nothing is wrong")
    expect(page.locator(".tile")).to_have_count(2)
    expect(page.locator(".chart canvas")).to_have_count(10)
    failures = page.locator("section", has=page.get_by_role("heading", name="Last failures"))
    expect(failures).to_contain_text("/fails/<name> 500")
    expect(failures).to_contain_text("generation 1")
    expect(page.locator("section", has=page.get_by_role("heading", name="Routes"))).to_contain_text(
        "/items/<int:number>"
    )
    before = page.locator("footer").inner_text()
    expect(page.locator("footer")).not_to_have_text(before)
    watched.assert_good()


def test_a_request_that_stands_still_is_seen_with_its_worker_as_text_only(watching: Watching, tmp_path: Path) -> None:
    gate = Gate(tmp_path / "gate")
    target = f"/held/%3Cimg%20src=x%20onerror=alert(1)%3E<b>?gate={gate.path}"
    client = threading.Thread(target=lambda: watching.get(target))
    client.start()
    pid = gate.arrived()
    watched = watching.open()
    page = watched.page
    expect(page.locator(".tile", has_text=str(pid))).to_contain_text("/held/")
    page.get_by_role("link", name="Requests", exact=True).click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody")).to_contain_text("onerror=alert(1)")
    expect(page.locator("main img, main b b")).to_have_count(0)
    gate.release()
    client.join()
    expect(page.locator("main")).to_contain_text("No request is in flight.")
    gate.close()
    watched.assert_good()


def test_what_is_looked_at_stands_in_the_address(watching: Watching) -> None:
    watched = watching.open()
    page = watched.page
    page.get_by_role("button", name="Last day").click()
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_label("Filter").fill("began")
    page.get_by_role("button", name="When").click()
    address = page.url.removeprefix(watching.url)
    for said in ("range=day", "view=events", "events-filter=began", "events-sort=at"):
        assert said in address
    again = watching.open(address)
    expect(again.page.get_by_label("Filter")).to_have_value("began")
    expect(again.page.locator("tbody tr")).to_have_count(1)
    expect(again.page.locator("th", has_text="When")).to_have_attribute("aria-sort", "descending")
    again.page.get_by_role("link", name="Overview").click()
    expect(again.page.get_by_role("button", name="Last day")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator(".chart").first).to_be_visible()
    watched.assert_good()
    again.assert_good()


def test_an_action_takes_a_token_and_the_command_typed_once_more(watching: Watching) -> None:
    watched = watching.open("#view=server")
    page = watched.page

    def reload(token: str, confirm: str) -> None:
        if not page.locator("dialog").is_visible():
            page.get_by_role("button", name="Reload").click()
        page.get_by_label("Token of scope operate").fill(token)
        page.get_by_label("to confirm").fill(confirm)
        page.locator("dialog button.danger").click()

    reload(TOKEN, "restart")
    expect(page.locator("dialog [role=alert]")).to_contain_text("Type it as it stands: reload")
    with page.expect_response(lambda answer: answer.url.endswith("/api/command")) as refused:
        reload("guessed", "reload")
    assert refused.value.status == 401
    expect(page.locator("dialog [role=alert]")).to_contain_text("Nothing was done")
    # The browser says on its console that a status is an error.
    assert len(watched.complaints) == 1
    watched.complaints.clear()
    reload(TOKEN, "reload")
    expect(page.locator(".notice")).to_contain_text("reload")
    page.get_by_role("link", name="Overview").click()
    expect(page.locator(".tile", has_text="gen 2")).to_have_count(2, timeout=SECONDS)
    expect(page.locator(".tile")).to_have_count(2, timeout=SECONDS)
    happened = page.locator("section", has=page.get_by_role("heading", name="What happened"))
    expect(happened).to_contain_text("a token shows who")
    expect(happened).to_contain_text("generation 2 serves")
    assert page.evaluate("sessionStorage.length") == 0
    watched.assert_good()


def test_every_action_of_the_page_is_done_by_the_server(start: StartServer, tmp_path: Path, chromium: Browser) -> None:
    port = free_port()
    server = start("watched_flask:app", *options(tmp_path, port))
    watching = Watching(server, port, chromium)
    watched = watching.open("#view=server")
    page = watched.page

    def fill(title: str, confirm: str, **answers: str) -> None:
        page.get_by_role("button", name=title, exact=True).click()
        for name, answer in answers.items():
            page.locator(f"dialog [name={name}]").fill(answer)
        page.get_by_label("Token of scope operate").fill(TOKEN)
        page.locator("dialog [name=confirm]").fill(confirm)

    def confirm() -> None:
        page.locator("dialog button.danger").click()
        expect(page.locator("dialog")).to_have_count(0)
        expect(page.locator(".notice")).to_be_visible()

    def act(title: str, command: str, **answers: str) -> None:
        fill(title, command, **answers)
        confirm()

    def pids() -> set[int]:
        status = requests.get(watching.url + "status", timeout=10).json()
        return {it["pid"] for it in status["workers"] if it["state"] == "ready" and not it["ends_for"]}

    def asked(path: str = "/items/1") -> int:
        return watching.get(path).status_code

    first = pids()
    act("Reload", "reload")
    poll(lambda: len(pids()) == 2 and not pids() & first, "a new generation", 20)
    act("Scale…", "scale 3", answer="3")
    poll(lambda: len(pids()) == 3, "a third worker", 20)
    before = pids()
    act("Recycle…", "recycle all")
    poll(lambda: len(pids()) == 3 and not pids() & before, "three other workers", 20)
    before = pids()
    act("Restart…", "restart place:1", answer="place:1")
    poll(lambda: len(pids()) == 3 and len(pids() & before) == 2, "another worker in its place", 20)
    act("Pause…", "pause 600", answer="600")
    statuses: list[int] = []
    held = threading.Thread(target=lambda: statuses.append(asked()))
    held.start()
    poll(lambda: requests.get(watching.url + "requests", timeout=10).json()["in_flight"], "a request that is held")
    act("Resume", "resume")
    held.join(timeout=20)
    assert statuses == [200]
    act("Maintenance on", "maintenance on")
    poll(lambda: asked() == 503, "the maintenance")
    act("Maintenance off", "maintenance off")
    poll(lambda: asked() == 200, "its end")
    fill("Set…", "timeout", setting="timeout", value="77")
    page.get_by_role("button", name="What would change?").click()
    expect(page.locator("dialog [role=status]")).to_contain_text("timeout: 30")
    expect(page.locator("dialog [role=status]")).to_contain_text("77")
    confirm()
    expect(page.locator(".notice")).to_contain_text("generation 3 starts with it")
    known = {"Authorization": f"Bearer {TOKEN}"}
    events = requests.get(watching.url + "events?format=json", headers=known, timeout=10).json()["events"]
    done = [it["text"] for it in events if it["kind"] == "operator"]
    assert len(done) == 9 and all(it.startswith("token night ") and it.endswith(": done") for it in done), done
    watched.assert_good()


def test_a_profile_by_one_click_names_the_function_that_takes_the_time(watching: Watching, tmp_path: Path) -> None:
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            watching.get("/burns")

    client = threading.Thread(target=load)
    client.start()
    watched = watching.open("#view=profile")
    page = watched.page
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".flames .frame").first).to_be_visible(timeout=SECONDS)
    stop.set()
    client.join()
    top = page.get_by_role("region", name="Functions with the most time of their own").locator("tbody tr").first
    expect(top).to_contain_text("burn")
    page.locator(".flames .frame", has_text="burn").first.click()
    expect(page.locator(".flames-head")).to_contain_text("burn")
    assert_accessible(page, "a profile")
    watched.assert_good()


def test_a_browser_is_told_what_happens_to_its_own_requests(watching: Watching) -> None:
    watched = watching.open("#view=mine")
    page = watched.page
    page.get_by_role("button", name="Watch my requests").click()
    expect(page.locator("main")).to_contain_text("Cookie: indrik_watch=")
    other = page.context.new_page()
    assert watching.get("/items/1").ok, "somebody else's"
    other.goto(watching.server.url + "/items/<2>")
    other.goto(watching.server.url + "/fails/mine")
    rows = page.locator("tbody tr")
    failed = rows.filter(has_text="/fails/mine")
    expect(failed).to_have_count(1)
    expect(failed.locator("td").nth(1)).to_have_text("500")
    assert failed.locator("td").nth(9).inner_text() in {str(it) for it in watching.server.workers()}
    expect(rows.filter(has_text="/items/%3C2%3E").locator("td").nth(1)).to_have_text("404")
    expect(rows.filter(has_text="/items/1")).to_have_count(0)
    (cookie,) = page.context.cookies()
    assert cookie["name"] == "indrik_watch" and cookie["httpOnly"] and cookie["sameSite"] == "Lax"
    page.get_by_role("button", name="Stop").click()
    asked = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    assert requests.get(watching.url + "api/watch", headers=asked, timeout=10).status_code == 403
    watched.assert_good()


def assert_accessible(page: Page, what: str) -> None:
    found = Axe().run(page).response["violations"]
    assert not [(it["id"], [node["html"] for node in it["nodes"]]) for it in found], what


def test_every_view_is_accessible_and_fits_a_phone(watching: Watching) -> None:
    watched = watching.open(reduced_motion="reduce")
    page = watched.page
    for view in VIEWS:
        page.goto(f"{watching.url}#view={view}")
        expect(page.locator("nav [aria-current=page]")).to_have_text(view.capitalize())
        page.set_viewport_size({"width": 360, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
        page.set_viewport_size({"width": 1440, "height": 900})
        assert_accessible(page, view)
    page.get_by_role("button", name="Reload").click()
    assert_accessible(page, "the dialog of an action")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.emulate_media(color_scheme="dark")
    page.get_by_role("link", name="Overview").click()
    assert_accessible(page, "in the dark")
    watched.assert_good()


def test_the_keyboard_reaches_every_view(watching: Watching) -> None:
    watched = watching.open()
    page = watched.page
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    for view in VIEWS[:3]:
        page.keyboard.press("Tab")
        expect(page.locator("nav a", has_text=view.capitalize())).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Routes by share of time")).to_be_visible()
    watched.assert_good()


def test_a_page_that_nobody_sees_asks_for_nothing(watching: Watching) -> None:
    watched = watching.open()
    page = watched.page
    hide = """
        Object.defineProperty(document, 'hidden', {value: %s, configurable: true});
        document.dispatchEvent(new Event('visibilitychange'));
    """
    with page.expect_event("requestfailed", lambda request: request.url.endswith("/dashboard/live")):
        page.evaluate(hide % "true")
    with page.expect_request(lambda request: request.url.endswith("/dashboard/live")):
        page.evaluate(hide % "false")
    watched.assert_good()


def test_the_page_survives_a_restart_and_keeps_what_it_knew(
    start: StartServer, tmp_path: Path, chromium: Browser
) -> None:
    port = free_port()
    arguments = options(tmp_path, port)
    first = start("watched_flask:app", *arguments)
    watching = Watching(first, port, chromium)
    watched = watching.open()
    page = watched.page
    expect(page.locator("footer")).to_contain_text(f"pid {first.process.pid}")
    watched.may_lose_server = True
    assert first.stop() == 0
    expect(page.locator(".pulse")).to_contain_text("no connection")
    second = start("watched_flask:app", *arguments)
    expect(page.locator("footer")).to_contain_text(f"pid {second.process.pid}", timeout=SECONDS)
    expect(page.locator(".pulse .live")).to_be_visible()
    page.get_by_role("link", name="Events", exact=True).click()
    expect(page.locator("tbody")).to_contain_text(f"pid {second.process.pid}")
    watched.assert_good()


def test_the_history_survives_an_upgrade(start: StartServer, tmp_path: Path) -> None:
    port = free_port()
    server = start("watched_flask:app", *options(tmp_path, port))
    server.clean_stop = False
    url = f"http://127.0.0.1:{port}/"
    assert requests.get(server.url + "/fails/before", timeout=10).status_code == 500
    frames(url, 2)
    before = requests.get(url + "dashboard/history?span=hour", timeout=10).json()
    began = before["marks"][0]
    assert began["kind"] == "start"
    server.signal(signal.SIGUSR2)
    poll(lambda: server.log().count("Ready") > 1, "the new server", 20)
    server.stop()
    frame = frames(url, 1)[0]
    assert frame["server"]["pid"] != server.process.pid
    assert [it["name"] for it in frame["failures"]] == ["GET /fails/<name> 500"]
    after = requests.get(url + "dashboard/history?span=hour", timeout=10).json()
    assert after["marks"][0] == began
    assert after["parts"][-1]["columns"]["requests"]["max"] > 0


def test_an_hour_is_loaded_with_less_than_300_kilobytes_and_bad_questions_are_told(watching: Watching) -> None:
    page = requests.get(watching.url, timeout=10)
    names = re.findall(r'"(dashboard/[a-z.]+)"', page.text)
    loaded = [page]
    for name in names:
        loaded.append(requests.get(watching.url + name, timeout=10))
        names += [f"dashboard/{it}" for it in re.findall(r"from '\./([a-z.]+)'", loaded[-1].text)]
        assert len(names) < 100
    loaded.append(requests.get(watching.url + "dashboard/history?span=hour", timeout=10))
    failed = {answer.url: (answer.status_code, answer.text[:200]) for answer in loaded if answer.status_code != 200}
    assert not failed
    distinct = {answer.url: len(answer.content) for answer in loaded}
    assert sum(distinct.values()) <= 300_000
    answer = loaded[1]
    assert answer.headers["content-encoding"] == "gzip"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    known = {"If-None-Match": answer.headers["etag"]}
    assert requests.get(answer.url, headers=known, timeout=10).status_code == 304
    assert requests.get(watching.url + "dashboard/history?span=year", timeout=10).status_code == 400
    assert requests.get(watching.url + "dashboard/none.js", timeout=10).status_code == 404
