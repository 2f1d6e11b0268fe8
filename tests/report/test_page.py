"""What holds of every kind of page: it is one file that loads nothing, and everything in it is escaped."""

import re

import pytest
from reading import CHROMIUM, Reader, excess_widths
from synthetic_runs import HOSTILE, make_align_run, make_compare_run, make_demo_run, make_front_run, write_json

from heed.errors import HeedError
from heed.report import write_report
from heed.report.common.blocks import Note, Page, Section
from heed.report.page import render


@pytest.fixture(scope="module", params=["align", "front", "compare", "demo"])
def page_file(request, tmp_path_factory):
    """Write the page of each kind once for all that holds for every page."""
    make = {"align": make_align_run, "front": make_front_run, "compare": make_compare_run, "demo": make_demo_run}
    return write_report(make[request.param](tmp_path_factory.mktemp("runs") / request.param))


def test_the_page_lies_in_the_run(page_file):
    assert page_file.name == "report.html"
    assert (page_file.parent / "summary.json").exists() or (page_file.parent / "compare.json").exists()


def test_the_page_loads_nothing_and_links_only_to_its_neighbours(page_file):
    html = page_file.read_text(encoding="utf-8")
    page = Reader(html)
    assert "script" not in page.tags
    assert {tag for tag, address in page.addresses if not address.startswith(("#", "data:"))} <= {"a"}
    assert not any(address.startswith(("http", "//", "/", "file:")) for _, address in page.addresses)
    assert "http" not in html
    assert "@import" not in html
    assert set(re.findall(r"url\(([^)]*)\)", html)) <= {f"#{name}" for name in page.ids}


def test_the_parts_of_the_plots_keep_their_own_ids(page_file):
    page = Reader(page_file.read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids)) > 0
    references = {address.removeprefix("#") for _, address in page.addresses if address.startswith("#")}
    assert references <= set(page.ids)


def test_every_tag_is_closed(page_file):
    assert Reader(page_file.read_text(encoding="utf-8")).open == []


def test_the_plots_take_their_colours_and_fonts_from_the_page(page_file):
    html = page_file.read_text(encoding="utf-8")
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert re.findall(r"#[0-9a-f]{6}\b", pictures) == []
    assert "var(--ink)" in pictures
    assert "font-family" not in pictures
    assert set(re.findall(r"var\((--[a-z0-9-]+)", pictures)) <= set(re.findall(r"(--[a-z0-9-]+):", html))


def test_the_same_run_gives_the_same_page(page_file):
    html = page_file.read_text(encoding="utf-8")
    assert write_report(page_file.parent).read_text(encoding="utf-8") == html


def test_the_page_does_not_name_the_machine(page_file):
    assert str(page_file.parent.parent) not in page_file.read_text(encoding="utf-8")


def test_a_hostile_completion_is_no_script(page_file):
    assert "<script" not in page_file.read_text(encoding="utf-8")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(HeedError, match="holds no run"):
        write_report(tmp_path)


def test_a_kind_without_a_page_is_refused(tmp_path):
    write_json(tmp_path / "summary.json", {"kind": "poem"})
    with pytest.raises(HeedError, match="no page for a run of kind 'poem'"):
        write_report(tmp_path)


def test_a_malformed_file_is_named(align_run):
    (align_run / "exact.json").write_text("{")
    with pytest.raises(HeedError, match=r"not JSON .*exact\.json:1"):
        write_report(align_run)


def test_a_note_escapes_its_text():
    page = Page("k", "<i>t</i>", "d", [("<b>", "&")], [Section("<u>", [Note(HOSTILE)])], ["<s>"])
    html = render(page)
    assert HOSTILE not in html
    assert not {"i", "u", "s"} & (Reader(html).tags)
    assert HOSTILE in Reader(html).text


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_no_page_is_wider_than_its_window(page_file, tmp_path):
    assert excess_widths(page_file.read_text(encoding="utf-8"), tmp_path) == "0,0,0"
