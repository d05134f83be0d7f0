"""`report.html`: what it holds, and how it looks and works in a browser."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import socket
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from screener.bundle import load_bundle
from screener.report.html import PAGE_BYTES, SHOWN, _of_study
from screener.report.pictures import map_of
from screener.report.words import shown_date, shown_name, shown_time, visible
from screener.screening import scan
from screener.settings import Settings
from tests.browser import Page, chromium
from tests.films import TINY, dataset, draw, night, save
from tests.report_pages import picture, row, write_page

# Laptop, projector, telephone.
WINDOWS = ((1366, 768), (1024, 768), (390, 844))
HOSTILE = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror="document.title=\'taken\'">',
    "'-->]]></style></script><svg onload=\"document.title='taken'\">",
    "{{ 7 * 7 }}{% raw %}{# none #}",
    "&lt;b&gt; &amp; <b>bold</b>",
    "line\r\nbreak\ttab\x00\x07\x1b[31mred",
    "\u202egnp.exe\u2066 \u200e",
    "\udcff\ud800",
    "A" * 3000,
    "عينة^ليلى",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(browser: Page, tmp_path: Path) -> Iterator[Page]:
    """A page of eight studies, which must have asked for nothing and complained of nothing."""
    rows = [
        row(1, patient_name="Müller^Zoë", study_date="20261120"),
        row(2, change="SAME"),
        row(3, change="CHANGED", previous_triage="NOT_FLAGGED", novelty=0.99),
        row(4, "NOT_SCREENED", reason="an image could not be screened: the file ends too early"),
        row(5, "NOT_FLAGGED", score=0.31, study_date="20261126"),
        row(6, "NOT_FLAGGED", score=0.3, warnings="LOSSY;VIEW_UNKNOWN"),
        row(7, "NOT_APPLICABLE"),
        row(8, "NOT_APPLICABLE", change="SAME"),
    ]
    path = write_page(
        tmp_path / "report.html",
        rows,
        outcomes={"SCORED": {"": 5}, "INELIGIBLE": {"VIEW": 2}, "FAILED": {"TRUNCATED": 1}},
        new_failures=1,
        failures=[{"path": "/data/cut.dcm", "reason_code": "TRUNCATED", "detail": ""}],
        notices=("runs on the processor (no NVIDIA driver)",),
    )
    browser.view(*WINDOWS[0])
    browser.open(path)
    yield browser
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]


# -- the file ------------------------------------------------------------------------------------


def _run(studies: Path, out: Path, **changes: Any) -> str:
    scan([studies], out, Settings(model=TINY, workers=1, settle=0, **changes))
    return (out / "report.html").read_text(encoding="utf-8")


def _without_times(text: str) -> str:
    text = re.sub(r"\d{8}T\d{6}Z-\d{6}|\d{4}-\d\d-\d\d[T ][\d:]{8}( UTC|Z)", "", text)
    return re.sub(r" · [\d.]+ s\b", "", text)


def test_every_run_publishes_the_page_and_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    studies = night(tmp_path / "studies")
    first = _run(studies, tmp_path / "first")
    second = _run(studies, tmp_path / "second")
    told = json.loads((tmp_path / "first" / "run.json").read_text())["files"]["report.html"]
    assert told["rows"] == 5
    assert told["size"] == len(first.encode())
    assert first.endswith("</html>")
    assert first.count('src="data:image/jpeg;base64,') == 3
    assert first.count('src="data:image/png;base64,') == 3
    assert _without_times(first) == _without_times(second)


def test_without_identifiers_no_name_is_in_the_file(tmp_path: Path) -> None:
    studies = night(tmp_path / "secretfolder")
    save(dataset(draw(8), 8, BurnedInAnnotation="YES", PatientName="Secret^Canary"), studies / "x")
    full = _run(studies, tmp_path / "full")
    secrets = ["Drawn", "T00001", "A1<", "2.25.2001", "1960", "20260101", "2026-01-01", "Canary"]
    secrets += ["secretfolder", "IM0001", "cut.dcm"]
    for identifiers in ("none", "pseudonym"):
        text = _run(studies, tmp_path / identifiers, identifiers=identifiers)
        named = [each for each in secrets if each in text]
        dated = {"20260101", "2026-01-01"} if identifiers == "pseudonym" else set()
        assert set(named) == dated, identifiers
        # Its header says that text is burned into the pixels.
        assert text.count("data:image/jpeg") == full.count("data:image/jpeg") - 1
    assert all(each in full for each in secrets)


def test_figures_of_a_study_are_those_of_the_threshold_in_force() -> None:
    card = load_bundle(TINY).card
    point = card.operating_points[0]
    (study,) = [each for each in card.study_operating_points if each.name == point.name]
    assert _of_study(card, point) == study
    elsewhere = dataclasses.replace(study, threshold=point.threshold + 0.01)
    assert _of_study(dataclasses.replace(card, study_operating_points=(elsewhere,)), point) is None


def test_a_map_of_a_finding_that_the_model_did_not_have_is_none() -> None:
    content = bytes(2 * 7 * 7 * 2)
    assert map_of(content, ["old", "covid"], "covid") is not None
    assert map_of(content, ["old", "older"], "covid") is None
    assert map_of(content, ["a", "b", "covid"], "covid") is None
    assert map_of(None, ["covid"], "covid") is None
    made = picture("covid", findings='["older"]')
    assert made is not None
    assert (made.heat, made.peak) == ("", "")


@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [(2400, 2000, (107, 128)), (300, 3000, (128, 48)), (None, 0, (128, 128))],
)
def test_a_film_has_its_own_shape(
    rows: int | None, columns: int | None, size: tuple[int, int]
) -> None:
    made = picture("covid", rows=rows, columns=columns)
    assert made is not None
    assert (made.width, made.height) == size


def test_words_for_eyes() -> None:
    assert (
        shown_name("Yamada^Tarou=山田^太郎=やまだ^たろう")
        == "Yamada, Tarou (山田, 太郎, やまだ, たろう)"
    )
    assert shown_name("van Dyck^Anna^Maria^Dr.") == "van Dyck, Anna Maria Dr."
    assert [shown_name(text) for text in ("", "^", "One", "=試料")] == ["", "", "One", "試料"]
    assert [shown_date(text) for text in ("20240311", "2024.03.11", "11/3")] == [
        "2024-03-11",
        "2024-03-11",
        "11/3",
    ]
    assert [shown_time(text) for text in ("101502.25", "1015", "10")] == ["10:15", "10:15", "10"]
    assert visible("a\x1b\u202e\udcffb \u200c") == "a\\x1b\\u202e\\udcffb \u200c"


class _Tags(HTMLParser):
    """What a parser finds in a page: tags, and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def _tags(path: Path) -> _Tags:
    parser = _Tags()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    return parser


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    texts=st.lists(
        st.one_of(st.text(max_size=40), st.sampled_from(HOSTILE), st.text("<>\"'&={}%/-! \0\r")),
        min_size=12,
        max_size=12,
    ),
    warning=st.sampled_from(["", "LOSSY", "OF_AN_EARLIER_VERSION"]),
    triage=st.sampled_from(["FLAGGED", "NOT_SCREENED", "NOT_FLAGGED", "NOT_APPLICABLE"]),
)
def test_whatever_a_header_holds_the_page_has_the_same_elements(
    texts: list[str], warning: str, triage: str, tmp_path: Path
) -> None:
    names = [
        "patient_name", "patient_id", "patient_birth_date", "patient_sex", "accession_number",
        "study_date", "study_time", "modality", "view_position", "station_name",
        "institution_name", "path",
    ]  # fmt: skip
    filled = [text or "-" for text in texts]
    tame = _tags(write_page(tmp_path / "tame", [row(1, triage, warnings=warning)]))
    given_row = row(1, triage, warnings=warning) | dict(zip(names, filled, strict=True))
    wild = _tags(write_page(tmp_path / "wild", [given_row]))
    assert wild.attributes == tame.attributes
    # A name of marks alone is none.
    assert tame.tags - wild.tags <= Counter({"bdi": 2})
    assert wild.tags - tame.tags == Counter()
    assert visible(filled[1].replace("\r", "")) in "".join(wild.text).replace("\\r", "")


# -- in the browser ------------------------------------------------------------------------------


def test_the_page_shows_the_night(page: Page) -> None:
    text = page.find("body").text
    for words in (
        "Research use only. Not a medical device. Not for diagnosis.",
        "8 paths found = 5 SCORED + 2 INELIGIBLE + 1 FAILED + 0 NOT_AN_IMAGE; 8 studies: 5 new",
        "sensitivity",
        "computed by CPUExecutionProvider",
        "runs on the processor (no NVIDIA driver)",
        "the file ends too early",
        "Müller, Zoë",
        "CHANGED, was NOT_FLAGGED",
        "novelty 0.99 of 1 · map strongest",
        "the header states no view; novelty guards the score (VIEW_UNKNOWN)",
    ):
        assert words in text, words
    assert page.shown() == list("12345678")
    assert page.find("#count").text == "8 of 8 shown"
    natural = page.js(
        "return [...document.images].map((each) => each.complete && each.naturalWidth > 0)"
    )
    assert len(natural) == 10
    assert all(natural)


def test_the_score_stands_on_a_scale_with_its_threshold(page: Page) -> None:
    sizes = page.js(
        "const scale = document.querySelector('#studies svg');"
        "const [all, is, mark] = [scale, scale.querySelector('rect'), scale.querySelector('line')]"
        ".map((each) => each.getBoundingClientRect());"
        "return [is.width / all.width, (mark.x - all.x) / all.width]"
    )
    assert sizes == pytest.approx([0.8999, 0.5], abs=0.02)


def test_filters(page: Page) -> None:
    flagged, not_screened = (
        page.find(f"button[data-triage={name}]") for name in ("FLAGGED", "NOT_SCREENED")
    )
    flagged.click()
    assert page.shown() == ["1", "2", "3"]
    assert flagged.get_attribute("aria-pressed") == "true"
    not_screened.click()
    assert page.shown() == ["1", "2", "3", "4"]
    assert page.find("#count").text == "4 of 8 shown"
    page.find("#clear").click()
    assert page.shown() == list("12345678")
    Select(page.find("#reason")).select_by_value("NO_CHEST_RADIOGRAPH")
    assert page.shown() == ["7", "8"]
    Select(page.find("#change")).select_by_value("NEW CHANGED")
    assert page.shown() == ["7"]
    page.find("#clear").click()
    for words, found in (
        ("muller zoe", ["1"]),
        ("MÜLLER^ZOË", ["1"]),
        ("p00005", ["5"]),
        ("ends too early", ["4"]),
        ("000006.dcm", ["6"]),
        ("no such words", []),
    ):
        page.press("/", page.find("body"))
        page.press(words)
        assert page.shown() == found, words
        page.press(Keys.ESCAPE)
        assert page.shown() == list("12345678")


def test_sorting(page: Page) -> None:
    sort = Select(page.find("#sort"))
    sort.select_by_value("novelty")
    assert page.shown()[0] == "3"
    assert page.shown()[-3:] == ["4", "7", "8"]
    sort.select_by_value("taken")
    assert page.shown()[0] == "5"
    assert page.shown()[-1] == "1"
    sort.select_by_value("score")
    assert page.shown()[:5] == ["1", "2", "3", "5", "6"]
    sort.select_by_value("rank")
    assert page.shown() == list("12345678")


def test_keys(page: Page) -> None:
    def current() -> str | None:
        found: str | None = page.js(
            "return document.querySelector('[aria-current] .rank')?.textContent"
        )
        return found

    page.press("j", page.find("body"))
    assert current() == "1"
    for _ in range(9):
        page.press("j")
    assert current() == "8"
    page.press("k")
    assert current() == "7"
    below = page.js(
        "const seen = document.querySelector('[aria-current]').getBoundingClientRect();"
        "return seen.bottom - innerHeight"
    )
    assert below <= 1
    page.find("button[data-triage=FLAGGED]").click()
    assert current() is None
    page.press("j")
    page.press("j")
    assert current() == "2"
    film = page.find("[aria-current] .film button")
    width = film.rect["width"]
    page.press("e")
    assert film.rect["width"] == pytest.approx(3 * width, abs=2)
    assert film.get_attribute("aria-expanded") == "true"
    film.click()
    assert film.rect["width"] == width
    page.find(".help summary").click()
    page.find("#keys").click()
    page.press("j", page.find("body"))
    assert current() == "2"


def test_the_map_can_be_faded(page: Page) -> None:
    opacity = "return getComputedStyle(document.querySelector('.map')).opacity"
    assert page.js(opacity) == "0.55"
    page.press("o", page.find("body"))
    assert page.js(opacity) == "0"
    page.press("o")
    assert page.js(opacity) == "0.55"
    page.press(Keys.ARROW_RIGHT, page.find("#map"))
    assert page.js(opacity) == "0.56"
    assert page.find("#map").get_attribute("aria-valuetext") == "56 %"
    films, maps = (
        page.js(f"return document.querySelector('{each}').getBoundingClientRect().toJSON()")
        for each in (".film img", ".film .map")
    )
    assert films == maps
    assert films["width"] / films["height"] == pytest.approx(2000 / 2400, abs=0.01)


def test_light_and_dark_by_the_system_and_by_hand(page: Page) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    assert page.js(ground) == "rgb(245, 246, 247)"
    page.view(*WINDOWS[0], theme="dark")
    assert page.js(ground) == "rgb(16, 20, 24)"
    page.find("#theme").click()
    assert page.js(ground) == "rgb(245, 246, 247)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page: Page, theme: str) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1, on every element that holds text."""
    page.view(*WINDOWS[0], theme=theme)
    page.js("for (const each of document.querySelectorAll('details')) each.open = true")
    poor = page.js(
        """
        const light = (colour) => {
          const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((each) => {
            const part = each / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
          });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = (element) => {
          const colour = getComputedStyle(element).backgroundColor;
          const above = element.parentElement;
          return /, 0\\)$/.test(colour) && above ? ground(above) : colour;
        };
        const poor = [];
        for (const each of document.querySelectorAll("body *")) {
          const texts = [...each.childNodes].filter((node) => node.nodeType === 3);
          if (!texts.some((node) => node.data.trim()) || !each.checkVisibility()) continue;
          const two = [light(getComputedStyle(each).color), light(ground(each))];
          const ratio = (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
          if (ratio < 4.5) poor.push([each.outerHTML.slice(0, 80), ratio]);
        }
        return poor;
        """
    )
    assert poor == []


@pytest.mark.parametrize("window", WINDOWS)
def test_nothing_is_wider_than_the_window(page: Page, window: tuple[int, int]) -> None:
    page.view(*window)
    page.js("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.js("return document.documentElement.scrollWidth") <= window[0]
    for button in page.driver.find_elements("css selector", ".film button")[:2]:
        button.click()
    assert page.js("return document.documentElement.scrollWidth") <= window[0]


def test_a_screen_reader_is_told_what_everything_is(page: Page) -> None:
    nodes = page.cdp("Accessibility.getFullAXTree")["nodes"]
    told: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            name = node.get("name", {}).get("value", "")
            told.setdefault(node["role"]["value"], []).append(name)
    for role in ("button", "combobox", "slider", "searchbox", "image", "heading", "link"):
        assert told[role], role
        assert all(told[role]), (role, told[role])
    for landmark in ("banner", "main", "contentinfo", "search"):
        assert len(told[landmark]) == 1, landmark
    assert len(told["region"]) == 2
    assert len(told["status"]) == 1
    levels = page.js(
        "return [...document.querySelectorAll('h1,h2,h3')].map((each) => Number(each.tagName[1]))"
    )
    assert levels[:2] == [1, 2]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    # The verdict stands in words beside its colour.
    assert all(
        page.js(
            "return [...document.querySelectorAll('#studies > li')]"
            ".map((each) => each.querySelector('h3').textContent.includes(each.dataset.triage))"
        )
    )


def _told_headings(page: Page) -> int:
    """Headings of studies that a screen reader is told of."""
    nodes = page.cdp("Accessibility.getFullAXTree")["nodes"]
    names = [
        each.get("name", {}).get("value", "")
        for each in nodes
        if each["role"]["value"] == "heading" and not each.get("ignored")
    ]
    return sum(re.match(r"\d+ [A-Z_]+ ", name) is not None for name in names)


def test_a_screen_reader_is_told_of_studies_below_the_window(browser: Page, tmp_path: Path) -> None:
    few = [row(number) for number in range(1, 61)]
    browser.open(write_page(tmp_path / "few.html", few, pictures=False))
    assert _told_headings(browser) == 60
    many = [row(number, "FLAGGED" if number <= 40 else "NOT_FLAGGED") for number in range(1, 601)]
    browser.open(write_page(tmp_path / "many.html", many, pictures=False))
    browser.find("button[data-triage=FLAGGED]").click()
    assert _told_headings(browser) == 40


def test_without_scripts_everything_can_be_read(page: Page) -> None:
    page.cdp("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.driver.refresh()
        page.driver.get_log("performance")
        assert not page.find(".tools").is_displayed()
        assert "Müller, Zoë" in page.find("#studies").text
    finally:
        page.cdp("Emulation.setScriptExecutionDisabled", value=False)
        page.driver.refresh()
        page.driver.get_log("performance")
        page.open(Path(page.driver.current_url.removeprefix("file://")))


def test_print_holds_every_picture(page: Page) -> None:
    printed = base64.b64decode(page.cdp("Page.printToPDF", printBackground=True)["data"])
    assert printed.startswith(b"%PDF-")
    assert printed.count(b"/Subtype /Image") >= 10


def test_hostile_text_stays_text(browser: Page, tmp_path: Path) -> None:
    texts = ("patient_name", "patient_id", "accession_number", "station_name", "path", "modality")
    rows = [row(n, **dict.fromkeys(texts, text)) for n, text in enumerate(HOSTILE, 1)]
    failures = [{"path": text, "reason_code": "TRUNCATED", "detail": text} for text in HOSTILE]
    path = write_page(
        tmp_path / "report.html",
        rows,
        failures=failures,
        notices=HOSTILE,
        outcomes={"SCORED": {"": 1}, "FAILED": {"TRUNCATED": len(HOSTILE)}},
    )
    browser.view(*WINDOWS[2])
    browser.open(path)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.driver.title == "Triage report 20261126T020000Z-000001"
    assert len(browser.shown()) == len(HOSTILE)
    content = browser.js("return document.body.textContent")
    for text in HOSTILE:
        assert visible(text.partition("^")[0]) in content
    foreign = "img:not([src^='data:']), [onerror], [onload], #studies li li, #studies b b"
    assert browser.js(f"return document.querySelectorAll({json.dumps(foreign)}).length") == 0
    assert browser.js("return document.querySelectorAll('script').length") == 1
    assert browser.js("return document.documentElement.scrollWidth") <= WINDOWS[2][0]


def test_a_hostile_header_on_its_whole_way(browser: Page, tmp_path: Path) -> None:
    studies = tmp_path / "<b onclick='x'>{{ 7 * 7 }} &amp;"
    with warnings.catch_warnings():
        # pydicom tells of each name that breaks the standard.
        warnings.simplefilter("ignore")
        for number, text in enumerate(HOSTILE[:5]):
            film = dataset(draw(number), number)
            film.PatientName = film.PatientID = text[:60]
            film.StationName = film.AccessionNumber = "<img src=x>"
            save(film, studies / f"{number} <script>alert(1)<")
    _run(studies, tmp_path / "out")
    browser.open(tmp_path / "out" / "report.html")
    assert browser.complaints() == []
    assert browser.driver.title.startswith("Triage report ")
    assert len(browser.shown()) == 5
    names = browser.js(
        "return [...document.querySelectorAll('.name')].map((each) => each.textContent)"
    )
    assert set(names) == {shown_name(text[:60]) for text in HOSTILE[:5]}
    assert browser.js("return document.querySelectorAll('script').length") == 1
    browser.press("/", browser.find("body"))
    browser.press("<b onclick='x'>{{ 7 * 7 }} &amp;")
    assert len(browser.shown()) == 5


def test_the_policy_lets_nothing_else_in(browser: Page, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    browser.open(write_page(tmp_path / "report.html", [row(1)]))
    policy = browser.find("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    browser.js(
        """
        const address = arguments[0];
        window.told = [];
        addEventListener("securitypolicyviolation", (event) => told.push(event.effectiveDirective));
        document.body.insertAdjacentHTML("beforeend",
          `<img src="${address}/x.png">` + '<img src="data:," onerror="window.taken = 1">'
          + '<p style="color: red">x</p>'
          + '<iframe src="http://127.0.0.1:9/"></iframe>'
          + `<link rel="stylesheet" href="${address}/x.css">`);
        const script = document.createElement("script");
        script.textContent = "window.taken = 2";
        document.body.append(script);
        fetch(address).catch(() => {});
        """,
        address,
    )
    deadline = time.monotonic() + 5
    wanted = {"img-src", "script-src-attr", "script-src-elem", "style-src-attr", "style-src-elem"}
    wanted |= {"frame-src", "connect-src"}
    while not wanted <= (told := set(browser.js("return told"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told == wanted
    assert browser.js("return window.taken") is None
    with listener:
        listener.settimeout(0.5)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.long
def test_five_thousand_studies(browser: Page, tmp_path: Path) -> None:
    rows = [row(n) for n in range(1, SHOWN + 101)]
    started = time.monotonic()
    path = write_page(tmp_path / "report.html", rows)
    written_s = time.monotonic() - started
    size = path.stat().st_size
    assert size < PAGE_BYTES + 100_000
    browser.view(*WINDOWS[0])
    browser.open(path)
    painted = browser.js(
        "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
    )
    loaded = browser.js(
        "return performance.timing.loadEventEnd - performance.timing.navigationStart"
    )
    print(f"{size / 1e6:.1f} MB in {written_s:.2f} s; first row after {painted:.0f} ms")
    print(f"all of it after {loaded} ms")
    assert painted < 3000
    assert "The 5,000 most urgent of 5,100 studies; all of them stand in triage.csv." in (
        browser.find(".legend").text
    )
    assert browser.find("#count").text == "5,000 of 5,000 shown"
    started = time.monotonic()
    browser.press("/", browser.find("body"))
    browser.press("P04321")
    assert browser.shown() == ["4321"]
    print(f"six letters typed: {time.monotonic() - started:.2f} s")
    assert browser.complaints() == []


def test_a_full_page_goes_on_without_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("screener.report.html.PAGE_BYTES", 120_000)
    rows = [row(n) for n in range(1, 41)]
    text = write_page(tmp_path / "report.html", rows).read_text(encoding="utf-8")
    pictured = text.count('src="data:image/jpeg')
    assert 0 < pictured < 40
    assert text.count("the page is full") == 40 - pictured
    assert len(text) < 120_000
