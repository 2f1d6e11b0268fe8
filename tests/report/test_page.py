import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from synthetic_runs import (
    HOSTILE,
    NAMES,
    make_align_run,
    make_compare_run,
    make_demo_run,
    make_front_run,
    write_json,
)

from heed.errors import HeedError
from heed.report import write_report
from heed.report.common.blocks import Note, Page, Section
from heed.report.page import render

VOID = {"meta", "link", "img", "br", "hr", "input", "use", "path", "circle"}


class Reader(HTMLParser):
    """Reads a page: its text, the addresses that it loads or links to, and whether its tags are balanced."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.words, self.addresses, self.tags, self.ids, self.open = [], [], set(), [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [(tag, value) for name, value in attributes if name in ("src", "href", "xlink:href", "data")]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def read(run):
    return Reader(write_report(run).read_text(encoding="utf-8"))


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


def test_an_align_page_shows_the_numbers_of_the_run(align_run):
    text = read(align_run).text
    assert "GAPO (p = 1) on help and harmless" in text
    assert "Over 120 steps, help rose from 5.10 to 8.10 and harmless rose from −2.40 to −0.55" in text
    assert "help 5.10 8.10 +3.00 2.24 3.44 +1.20" in text
    assert "harmless −2.40 −0.55 +1.85 −0.76 −0.02 +0.74" in text
    assert "13.2 s, 27%" in text
    assert "26.4 s, 54%" in text
    assert "9,800 tokens generated per second" in text
    assert "lr: 0.001" in text
    assert "3f2a9c81b07d" in text


def test_an_align_page_says_how_often_the_gradients_conflicted(align_run):
    lines = [json.loads(line) for line in (align_run / "metrics.jsonl").read_text().splitlines()]
    for step, line in enumerate(lines):
        line["cosine/help~harmless"] = -0.5 if step < 30 else 0.5
    (align_run / "metrics.jsonl").write_text("\n".join(json.dumps(line) for line in lines[:120]) + "\n")
    assert "conflicted in 25% of the steps" in read(align_run).text


@pytest.mark.parametrize(
    ("eval_data", "said"),
    [(None, "the first prompts of the data, trained on as well"), ("held-out.jsonl", "prompts of their own")],
)
def test_an_align_page_says_on_which_prompts_it_was_evaluated(align_run, eval_data, said):
    with (align_run / "config.yaml").open("a") as file:
        file.write(f"eval_data: {json.dumps(eval_data)}\n")
    assert f"evaluations, always of the same prompts ({said})" in read(align_run).text


def test_a_page_of_several_runs_tells_all_their_seeds(front_run):
    summary = json.loads((front_run / "summary.json").read_text())
    for seeds, said in ((1, "seed 4 "), (3, "seed 4 to 6")):
        write_json(front_run / "summary.json", summary | {"seed": 4, "seeds": seeds})
        assert said in read(front_run).text


def test_replies_before_and_after_stand_side_by_side(align_run):
    page = read(align_run)
    assert page.text.count("a customer complains of fever , cough and gout ; number") == 8
    first = page.text.index("willowbark 2 , sage 1 . warning")
    assert first < page.text.index("willowbark 1 , sage 1 . warning") < page.text.index("hellebore 3")
    assert "help 1.50 gold −0.75" in page.text


def test_a_hostile_completion_is_shown(align_run):
    assert HOSTILE in read(align_run).text


def test_hostile_names_are_text_everywhere(tmp_path):
    names = ['<img src=x onerror="a">', "$\\frac{1}{0}$ & co"]
    run = make_align_run(tmp_path / "<b>run", names=names, world=False)
    page = read(run)
    assert "img" not in page.tags
    assert "b" in page.tags  # the captions' own
    assert all(name in page.text for name in names)
    assert page.open == []


def test_a_run_without_a_world_says_so(tmp_path):
    text = read(make_align_run(tmp_path / "run", world=False)).text
    assert "No gold values: this run has no world." in text
    assert "No exact front" in text
    assert "rose from 2.24 to 3.44" in text


def test_a_run_of_one_objective_says_that_nothing_conflicts(tmp_path):
    text = read(make_align_run(tmp_path / "run", names=["help"], method="single:help", world=False)).text
    assert "one objective has nothing to conflict with" in text
    assert "This run has one objective" in text


def test_a_run_trained_on_one_objective_is_judged_on_all_of_the_world(tmp_path):
    run = make_align_run(tmp_path / "run", method="single:help", end=(12.0, -24.8))
    summary = json.loads((run / "summary.json").read_text())
    del summary["objectives"]["harmless"]
    write_json(run / "summary.json", summary)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in line.items() if "rewards/harmless" not in key} for line in lines]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, kept)) + "\n")
    text = read(run).text
    assert "harmless fell from −2.40 to −24.8" in text
    assert "help only leaves the plot, ends at (12, −24.8)" in text
    assert "harmless −2.40 −24.8 −22.4 – – –" in text


def test_an_unfinished_run_says_where_it_stands(align_run):
    (align_run / "summary.json").unlink()
    text = read(align_run).text
    assert "This run is not complete: it stands at step 120." in text
    assert "help rose from 5.10 to 8.10" in text


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("metrics.jsonl", "No objective was logged over the steps of this run."),
        ("exact.json", "No exact front: this run has no world"),
        ("completions", "No completions were kept by this run."),
        ("config.yaml", "No config.yaml in this run."),
    ],
)
def test_what_a_run_lacks_is_said(align_run, lost, said):
    path = align_run / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert said in read(align_run).text


def test_a_run_that_has_only_just_begun_has_a_page(tmp_path):
    write_json(tmp_path / "summary.json", {"kind": "align", "completed": False})
    text = read(tmp_path).text
    assert text.count("No ") >= 5
    assert "it stands at step 0" in text


def test_a_run_with_values_that_are_not_finite_has_a_page(align_run):
    with (align_run / "metrics.jsonl").open("a") as file:
        file.write(
            json.dumps(dict.fromkeys(["rewards/help/mean", "kl", "cosine/help~harmless"]) | {"step": 121}) + "\n"
        )
    assert "help rose from 5.10 to 8.10" in read(align_run).text


def test_a_sibling_that_leaves_the_plot_is_followed_by_an_arrow(demo_run):
    text = read(demo_run / "gapo").text
    assert "help only leaves the plot, ends at (12, −24.8)" in text


def test_a_sibling_that_is_gone_is_said(align_run):
    write_json(align_run / "siblings.json", [{"label": "help only", "path": "../nowhere"}])
    assert "help only is not shown: its folder has no gold values." in read(align_run).text


def test_a_demo_page_compares_its_runs(demo_run):
    page = read(demo_run)
    assert "it poisons its customers." in page.text
    assert "warm start 5.10 −2.40 GAPO (p = 1) 8.10 −0.55 help only 12.0 −24.8" in page.text
    assert "objective agreement help 91.2% harmless 87.4%" in page.text
    assert ("a", "gapo/report.html") in page.addresses


def test_a_demo_whose_run_is_gone_says_which(demo_run):
    shutil.rmtree(demo_run / "help-only")
    text = read(demo_run).text
    assert "The run help only cannot be shown: this folder holds no run." in text
    assert "help rose" not in text
    assert "GAPO (p = 1) 8.10 −0.55" in text


def test_a_front_page_shows_hypervolumes_with_intervals(front_run):
    text = read(front_run).text
    assert "P-GAPO 0.411 [0.35, 0.47] 0.656 [0.641, 0.671]" in text
    assert "exact optima at the same preferences 0.919 0.951" in text
    assert "Reference point: (0, −1.85)." in text
    assert "45 policies for 2 objectives: P-GAPO, linear and smooth Tchebycheff" in text
    assert "3 of 45 policies lie outside" in text


def test_a_front_page_says_what_its_circles_are(front_run):
    text = read(front_run).text
    assert "Open circles are the exact front's Tchebycheff points of the same preferences" in text
    assert "any method could reach" not in text


def test_a_front_without_intervals_shows_the_summary(front_run):
    front = json.loads((front_run / "front.json").read_text())
    del front["hypervolume"]
    write_json(front_run / "front.json", front)
    assert "P-GAPO 0.411 linear 0.656 exact front 1.00" in read(front_run).text


def test_a_front_without_a_world_says_so(front_run):
    (front_run / "exact.json").unlink()
    assert "No exact front: this run has no world" in read(front_run).text


def test_a_front_without_policies_yet_has_a_page(front_run):
    write_json(front_run / "front.json", {"names": NAMES, "preferences": [[0.5, 0.5]], "adapters": []})
    assert "No policy of this front has been trained yet." in read(front_run).text


def test_a_compare_page_shows_means_intervals_and_notes(compare_run):
    text = read(compare_run).text
    assert "GAPO p=1 8.40 [7.46, 9.24] −0.60 [−0.76, −0.54] 0.62 [0.458, 0.682]" in text
    assert "7 methods by 3 measures, 5 seeds each." in text
    assert "Intervals are bootstrap 95% over seeds." in text
    assert re.search(r"warm start 5\.10 \[4\.49, 5\.61\] −2\.40 \[−2\.74, −2\.16\] –", text)


def test_a_compare_page_without_rows_says_so(compare_run):
    write_json(compare_run / "compare.json", {"title": "Empty", "columns": ["a"], "rows": []})
    assert "No results yet" in read(compare_run).text


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


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTHS = (360, 768, 1280)
MEASURE = "<script>name = document.documentElement.scrollWidth - document.documentElement.clientWidth</script></body>"
COLLECT = "<script>onload = () => document.title = Array.from(frames, frame => frame.name).join()</script>"


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_no_page_is_wider_than_its_window(page_file, tmp_path):
    html = page_file.read_text(encoding="utf-8").replace("</body>", MEASURE)
    (tmp_path / "page.html").write_text(html, encoding="utf-8")
    # frames, for a browser's own window cannot be as narrow as a phone
    frames = "".join(f'<iframe src="page.html" style="width:{width}px;height:900px"></iframe>' for width in WIDTHS)
    (tmp_path / "frames.html").write_text(f"<!doctype html>{frames}{COLLECT}")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--allow-file-access-from-files", "--dump-dom", (tmp_path / "frames.html").as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    assert "<title>0,0,0</title>" in shown
