"""The page of a run in a real browser: curves that grow, values that are read, reports in a sandbox, a lost server."""

from __future__ import annotations

import contextlib
import json
import re
from urllib.parse import urlsplit

import pytest
from waiting import says, shows, until

from heed.oversight.overseers.human import HumanOverseer
from heed.web.app import create_app
from heed.web.people import People
from heed.web.run import add_run
from heed.web.serving import serving
from heed.web.watch import WatchServer

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=\"document.title='taken'\">"
REPORT = """<!doctype html><style>p { color: rgb(1, 2, 3) }</style><p>as it stands</p>
<script>document.querySelector("p").textContent = "a script ran"</script>"""


class Run:
    """A served run folder that grows, and pages that watch it."""

    def __init__(self, browser, opened, folder, report=lambda folder: REPORT, app=None):
        self.browser, self.folder, self.people = browser, folder, People.named([], ["eve"])
        self.app = app or create_app()
        add_run(self.app, folder, self.people, report)
        self.served = opened.enter_context(contextlib.ExitStack())
        self.address = self.served.enter_context(serving(self.app))
        opened.callback(lambda: [context.close() for context in list(browser.contexts)])

    def serve_again(self):
        port = int(self.address.rpartition(":")[2])
        self.served.enter_context(serving(self.app, port=port))

    def begin(self, name="", kind="guard", config="steps: 1000\n"):
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "summary.json").write_text(json.dumps({"kind": kind, "completed": False}))
        (folder / "config.yaml").write_text(config)
        return self

    def log(self, *lines, name=""):
        with (self.folder / name / "metrics.jsonl").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def page(self, path="/run", token=None, stands_still=False, **options):
        """A page that is opened; one whose clock stands still asks nothing again before the test turns it."""
        page = self.browser.new_page(**options)
        if stands_still:
            page.clock.install(time=0)
            page.clock.pause_at(60_000)
        page.faults = []
        page.on("pageerror", lambda fault: page.faults.append(str(fault)))
        page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
        page.goto(f"{self.address}{path}#token={token or self.people.token_of('eve')}")
        return page


@pytest.fixture
def run(browser, tmp_path):
    with contextlib.ExitStack() as opened:
        yield Run(browser, opened, tmp_path / "run")


def asked_in_a_minute(page):
    """What a page whose clock stands still asks of the server in a minute, and lastly the question that ends it."""
    asked = []

    def hear(request):
        asked.append(urlsplit(request.url).path)

    page.on("request", hear)
    page.clock.run_for(60_000)
    page.evaluate("fetch('/pages').then(() => null)")
    page.remove_listener("request", hear)
    return asked


def chart(name):
    return f".chart:has(strong:text-is({json.dumps(name)}))"


def curve(page, name):
    return page.get_attribute(f"{chart(name)} .line", "d")


def test_a_run_that_grows_while_it_is_watched_moves_its_curves(run):
    page = run.page()
    shows(page, "absent")
    run.begin().log(*({"step": step, "catastrophes": 9 - step // 100, "other": 1} for step in (100, 200, 300)))
    shows(page, "running")
    says(page, f"{chart('catastrophes')} output", "6 in the last 1,000 steps at step 300")
    before = curve(page, "catastrophes")
    assert before.count("L") == 2 and page.get_attribute("#bar", "value") == "300"
    run.log({"step": 400, "catastrophes": 0}, {"step": 500, "catastrophes": 2})
    says(page, f"{chart('catastrophes')} output", "2 in the last 1,000 steps at step 500")
    assert curve(page, "catastrophes").count("L") == 4 and curve(page, "catastrophes") != before
    assert curve(page, "other").count("L") == 2
    says(page, "#facts", "500 of 1,000")
    assert page.inner_text("summary >> nth=0") == "First of all"  # what matters before all else
    (run.folder / "summary.json").write_text(json.dumps({"kind": "guard", "completed": True, "steps": 500}))
    shows(page, "completed")
    assert page.faults == []


def test_values_are_read_by_keys_and_by_pointer(run):
    run.begin(kind="align").log(*({"step": step, "rewards/help/mean": step / 10} for step in range(1, 11)))
    page = run.page()
    says(page, f"{chart('rewards/help/mean')} output", "1 at step 10")
    field = page.get_by_role("slider", name="rewards/help/mean")
    field.focus()
    for key, value in (("Home", "0.1 at step 1"), ("ArrowRight", "0.2 at step 2"), ("End", "1 at step 10")):
        page.keyboard.press(key)
        assert field.get_attribute("aria-valuetext") == value
    page.keyboard.press("Escape")
    box = page.locator(f"{chart('rewards/help/mean')} svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 46 / 320, box["y"] + 20)  # where the axis begins
    says(page, f"{chart('rewards/help/mean')} output", "0.1 at step 1")
    assert page.locator(".mark circle").count() == 1
    page.mouse.move(0, 0)
    says(page, f"{chart('rewards/help/mean')} output", "1 at step 10")


def test_curves_can_be_smoothed_and_drawn_by_logarithms(run):
    run.begin().log(*({"step": step, "spiky": 1 + 999 * (step % 2), "signed": -1} for step in range(1, 101)))
    page = run.page()
    says(page, f"{chart('spiky')} output", "1 at step 100")
    plain = curve(page, "spiky")
    page.check("#smooth")
    says(page, f"{chart('spiky')} output", "(smooth ")
    assert page.locator(f"{chart('spiky')} .raw").get_attribute("d") == plain

    def height(path):
        heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
        return max(heights) - min(heights)

    assert height(curve(page, "spiky")) < height(plain) / 3
    page.uncheck("#smooth")
    page.check("#logarithmic")
    says(page, f"{chart('spiky')} output", "log scale")
    assert page.locator(f"{chart('spiky')} text").all_text_contents()[:4] == ["1", "10", "100", "1000"]
    assert "log scale" not in page.inner_text(f"{chart('signed')} output")


def test_a_gap_stays_a_gap(run):
    run.begin().log(*({"step": step, "kl": None if step == 3 else step} for step in range(1, 6)))
    page = run.page()
    says(page, f"{chart('kl')} output", "5 nats at step 5")
    assert re.sub(r"[\d. ]+", "", curve(page, "kl")) == "MLML"


@pytest.mark.parametrize("width", [1280, 360])
def test_light_and_dark_wide_and_narrow(run, width):
    run.begin(config=f"name: {'x' * 300}\n").log({"step": 1, f"rewards/{'long' * 30}/mean": 1.0, "kl": 2.0})
    papers, inks = set(), set()
    for scheme in ("light", "dark"):
        page = run.page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        says(page, f"{chart('kl')} output", "2 nats at step 1")
        page.click("#config summary")
        papers.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        inks.add(page.evaluate("getComputedStyle(document.querySelector('.chart .line')).stroke"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert len(papers) == len(inks) == 2


def test_a_lost_server_is_told_and_found_again(run):
    run.begin().log({"step": 1, "kl": 1.0})
    page = run.page()
    shows(page, "running")
    run.served.close()
    shows(page, "disconnected")
    says(page, "#state", "lost")
    assert page.locator(chart("kl")).count() == 1  # what was drawn stays
    run.log({"step": 2, "kl": 3.0})
    run.serve_again()
    says(page, f"{chart('kl')} output", "3 nats at step 2")
    shows(page, "running")


def test_a_wrong_token_is_told_and_not_tried_again(run):
    run.begin()
    page = run.page(token="guess", stands_still=True)
    shows(page, "disconnected")
    says(page, "#state", "the token is wrong")
    assert asked_in_a_minute(page) == ["/pages"]


def test_a_page_that_is_not_seen_asks_nothing(run):
    run.begin().log({"step": 1, "kl": 1.0})
    page = run.page(stands_still=True)
    shows(page, "running")
    assert "/api/run/metrics" in asked_in_a_minute(page)
    hide = "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    until(page, lambda asked: asked == ["/pages"], asked_in_a_minute)  # what was under way may still be asked
    assert asked_in_a_minute(page) == asked_in_a_minute(page) == ["/pages"]
    run.log({"step": 2, "kl": 4.0})
    page.evaluate(hide, False)
    says(page, f"{chart('kl')} output", "4 nats at step 2")


def test_hostile_names_stay_text(run):
    run.begin(config=f"{json.dumps(HOSTILE)}: {json.dumps(HOSTILE)}\n").log(
        {"step": 1, HOSTILE: 1.0, f"{HOSTILE}/a": 2}
    )
    run.begin("runs/<b>bold", config="steps: 10\n").log({"step": 3, "kl": 5.0}, name="runs/<b>bold")
    page = run.page()
    says(page, "#groups", HOSTILE)
    page.click("#config summary")
    assert page.inner_text("#config dt") == page.inner_text("#config dd") == HOSTILE
    page.select_option("#which", "runs/<b>bold")
    says(page, "#title", "runs/<b>bold")
    says(page, f"{chart('kl')} output", "5 nats at step 3")
    assert page.locator(".chart").count() == 1  # of the chosen run alone
    assert page.locator("main img, main b").count() == 0 and page.title() == "heed: runs/<b>bold"
    assert page.faults == []


def test_the_report_is_shown_in_a_sandbox_where_no_script_runs(run):
    page = run.begin().page()
    shows(page, "running")
    page.click("#show")
    frame = until(page, bool, lambda page: page.frame(name="report"))
    until(page, lambda text: text == "as it stands", lambda page: frame.locator("body").inner_text())
    assert frame.locator("p").evaluate("p => getComputedStyle(p).color") == "rgb(1, 2, 3)"  # its own style holds
    assert run.people.token_of("eve") not in frame.url
    with page.context.expect_page() as opened:
        page.click("text=In a tab of its own")
    tab = opened.value
    until(tab, lambda text: text == "as it stands", lambda tab: tab.locator("body").inner_text())
    assert tab.url == f"{run.address}/run/report"


def test_what_is_wrong_with_a_report_is_said_in_its_place(browser, tmp_path):
    def report(folder):
        raise KeyError("half written")

    with contextlib.ExitStack() as opened:
        page = Run(browser, opened, tmp_path / "run", report).begin().page()
        page.click("#show")
        frame = until(page, bool, lambda page: page.frame(name="report"))
        until(page, lambda text: "cannot be read now" in text, lambda page: frame.locator("body").inner_text())


def test_the_watched_agents_page_leads_to_its_run_and_back(browser, tmp_path):
    with contextlib.ExitStack() as opened:
        overseer, people = HumanOverseer(), People.named(["ada"])
        served = Run(browser, opened, tmp_path / "run", app=WatchServer(overseer, people, "an env").app).begin()
        page = served.page("/")
        page.click("nav >> text=the run so far")
        shows(page, "running")
        assert page.get_attribute("nav [aria-current]", "href").startswith("/run#token=")
        page.click("nav >> text=watch the agent")
        until(page, lambda url: "/run" not in url, lambda page: page.url)
        assert page.url.endswith(f"/#token={served.people.token_of('eve')}")
