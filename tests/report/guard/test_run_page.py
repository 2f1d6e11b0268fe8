"""The page of a guarded run: its counts, its scenes, and what it says where parts lack."""

import json
import re
import shutil

import pyarrow
import pyarrow.parquet as parquet
import pytest
from guard_runs import OVERSIGHT, STEPS, is_blocked, make_guard_run
from reading import CHROMIUM, Reader, dumped, excess_widths
from scipy import stats
from synthetic_runs import HOSTILE, write_json

from heed.cli.guard import run as run_command
from heed.errors import HeedError
from heed.guard.run.config import job_of
from heed.guard.run.counts import read_decisions
from heed.guard.run.train import train_guard
from heed.report import gather, write_report
from heed.report.guard.snapshots import read_snapshots

TINY = {
    "steps": 400, "oversight_steps": 320, "learning_starts": 400, "batch_size": 16, "hidden": 16, "dynamics_hidden": 16,
    "evaluation_episodes": 1, "eps": 0.4, "horizon": 5, "plan_samples": 16, "members": 2, "least_blocks": 1,
    "particles": 1, "overseer": "far-sighted", "threshold": "hirl",
    "seed": 1, "models.blockers.updates": 300, "models.dynamics.updates": 300,
}  # fmt: skip


@pytest.fixture(scope="module")
def guard_run(tmp_path_factory):
    return make_guard_run(tmp_path_factory.mktemp("runs") / "mbhi")


@pytest.fixture(scope="module")
def html(guard_run):
    return html_of(guard_run)


@pytest.fixture(scope="module")
def text(html):
    return Reader(html).text


@pytest.fixture
def own_run(tmp_path):
    return make_guard_run(tmp_path / "run")


def html_of(run):
    return write_report(run).read_text(encoding="utf-8")


def text_of(run):
    return Reader(html_of(run)).text


def test_the_page_tells_every_count_of_the_run(text):
    assert "MBHI on heed/PointHazard-v0" in text
    assert (
        "After 600 steps of oversight with 5 catastrophes, the guard looked for itself: 1 catastrophe in 400 steps, "
        "25.0 in 10,000 (95% interval 0.633 to 139). It blocks 10.0 actions in 100, 50% of them needlessly, and its "
        "last 7 episodes returned 3.57 [−2.23, 9.37] each; the last 12 of oversight 2.92 [−1.86, 7.70]."
    ) in text
    assert "oversight 600 5 83.3 [27.1, 194] 15 2.50 0 0 0 6 600" in text
    assert "autonomy 400 1 25.0 [0.633, 139] 40 10.0 20 10 3 4 0" in text
    assert "needless blocks 50% 20 of 40, 10 of them early; 3 missed" in text
    assert "guard on 8.50 0 19 guard off −1.25 11 7" in text
    assert "catastrophes, guard off 11 in 20 episodes; with it 0" in text
    assert "the planner: 20, 50%" in text and "A plan was searched 40 times and was safe in 50%." in text
    assert "A decision takes 2.00 ms in the median, 30.0 ms at the 99th percentile of 400" in text
    assert "2 0.31 4.0% 8.0% 31 accepted as it is" in text
    assert "overseer local" in text and "run mbhi" in text and "seed 3" in text


def test_the_cost_claims_nothing_that_no_oracle_knows_and_no_return_before_an_episode_has_ended(tmp_path):
    unknown = text_of(make_guard_run(tmp_path / "unknown", oracle=False))
    assert "It blocks 10.0 actions in 100, and its last 7 episodes returned" in unknown
    late = text_of(make_guard_run(tmp_path / "late", oversight=STEPS - 10))
    assert "; no episode of its own has ended." in late
    within = text_of(make_guard_run(tmp_path / "within", oversight=STEPS - 70))
    assert "; no episode of its own has ended." in within  # the one that ended was begun under oversight


def test_an_episode_in_which_the_guard_took_over_is_of_neither(tmp_path):
    """Of the 19 whole episodes it is the 13th. The last 6 are the guard's."""
    low, high = stats.ttest_1samp([10, -5, 10, 0, 10, 0], 0).confidence_interval(0.95)
    assert (round(low, 2), round(high, 1)) == (-2.81, 11.1)
    assert "its last 6 episodes returned 4.17 [−2.81, 11.1] each; the last 12 of oversight 2.92 [−1.86, 7.70]." in (
        text_of(make_guard_run(tmp_path / "run", oversight=620))
    )


def test_small_returns_keep_their_interval(own_run):
    rows = parquet.read_table(own_run / "decisions.parquet").to_pylist()
    for row in rows:
        row["reward"] = 1e-6 * (1 + row["episode"] % 2)
    parquet.write_table(pyarrow.Table.from_pylist(rows), own_run / "decisions.parquet")
    summary = json.loads((own_run / "summary.json").read_text())
    returns = [1e-4, 2e-4, 3e-4]
    write_json(own_run / "summary.json", summary | {"returns_guarded": returns})
    text = text_of(own_run)
    # 50 and 100 millionths by turns: of the 7, four and three
    assert (
        "its last 7 episodes returned 7.1e−5 [4.7e−5, 9.6e−5] each; the last 12 of oversight 7.5e−5 [5.8e−5, " in text
    )
    assert "guard on 2.0e−4 [−4.8e−5, 4.5e−4] 0 19" in text


def test_the_finished_policys_return_has_the_interval_of_its_episodes(own_run):
    assert "interval of the mean over them" not in text_of(own_run)
    summary = json.loads((own_run / "summary.json").read_text())
    returns = [8.0, 9.0, 8.5]
    (own_run / "summary.json").write_text(json.dumps(summary | {"returns_guarded": returns}))
    low, high = stats.ttest_1samp(returns, 0).confidence_interval(0.95)
    text = text_of(own_run)
    assert f"guard on 8.50 [{low:.2f}, {high:.2f}] 0 19 guard off −1.25 11 7" in text
    assert "In brackets the 95% interval of the mean over them." in text


def test_the_counts_of_the_page_are_those_of_the_summary(guard_run):
    summary, found = gather(guard_run).summary, read_decisions(guard_run)
    alone, whole = found.counts("autonomy"), found.counts()
    assert summary["catastrophes"]["autonomy"] == alone.catastrophes == 1
    assert summary["catastrophes"]["oversight"] == found.counts("oversight").catastrophes == 5
    assert summary["interventions"] == whole.blocks == sum(map(is_blocked, range(STEPS)))
    assert (summary["false_blocks"], summary["missed_blocks"]) == (alone.needless, alone.missed) == (20, 3)
    assert summary["early_blocks"] == alone.early == 10
    assert sum(summary["goals"].values()) == whole.goals == 10 and whole.judgements == OVERSIGHT


def test_the_page_loads_nothing_and_every_tag_is_closed(guard_run, html):
    page = Reader(html)
    assert page.open == []
    assert {tag for tag, address in page.addresses if not address.startswith(("#", "data:"))} <= {"a"}
    assert "http" not in html and "@import" not in html
    assert len(page.ids) == len(set(page.ids))
    assert {address.removeprefix("#") for _, address in page.addresses if address.startswith("#")} <= set(page.ids)
    assert html.count("<script") == 1 and "src=" not in html[html.index("<script") :]
    pictures = "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert re.findall(r"#[0-9a-f]{6}\b", pictures) == []
    assert html == html_of(guard_run)


def test_each_block_is_a_scene_and_six_of_them_stand_still(html):
    assert html.count('<div class="scene') == 40 + 1  # and the list of them
    assert html.count('<div class="scene still">') == 6
    assert "All 40 blocks of autonomy." in html
    assert 'max="40" value="1"' in html and 'max="20" value="20"' in html  # what followed is known for 20 steps


def test_the_runs_beside_it_are_held_against_it(own_run, tmp_path):
    make_guard_run(tmp_path / "none", method="none")
    siblings = [{"label": "nobody", "path": "../none"}, {"label": "gone", "path": "../nowhere"}]
    write_json(own_run / "siblings.json", siblings)
    text = text_of(own_run)
    assert "MBHI nobody oversight" in text  # the key
    assert "Not shown, having no decisions: gone." in text


def test_an_unguarded_run_says_that_nobody_judged(tmp_path):
    text = text_of(make_guard_run(tmp_path / "run", method="none"))
    assert "Unguarded on heed/PointHazard-v0" in text
    assert "Nobody judged: 6 catastrophes in 1,000 steps, and 10 goals." in text
    assert "oversight 600 5 83.3 [27.1, 194] 6 autonomy 400 1 25.0 [0.633, 139] 4" in text
    assert "no guard −1.25 11 7" in text
    assert not any(
        word in text
        for word in ("overseer local", "needless", "imagined", "judgements asked", "the guard takes over", "early")
    )


def test_a_run_that_never_handed_over_says_so(tmp_path):
    run = make_guard_run(tmp_path / "run", oversight=STEPS, handed_over_at=None, fits=[])
    write_json(
        run / "judges.json", {"dynamics": None, "blockers": None, "missing": {"dynamics": "they were never fitted"}}
    )
    text = text_of(run)
    assert (
        "Autonomy was never begun: the overseer judged all 1,000 steps, blocked 25 of them, and 6 catastrophes "
        "happened all the same."
    ) in text
    assert "so nothing here tells what the guard is worth: allow more steps" in text
    assert "autonomy 0 0 – 0 – – – – 0 0" in text
    assert "Nothing was imagined and then blocked in this run." in text
    assert "The dynamics' error cannot be told: they were never fitted." in text
    assert "The blockers' reliability cannot be told: this run has no judges.json." in text
    assert "No decision of autonomy, so none to time." in text


def test_where_no_oracle_knows_nothing_is_called_needless(tmp_path):
    text = text_of(make_guard_run(tmp_path / "run", oracle=False))
    assert "autonomy 400 1 25.0 [0.633, 139] 40 10.0 – – – 4 0" in text
    assert "blocks alone 40 10.0 in 100 steps" in text
    assert "nobody can say which blocks were needless or missed" in text


def test_an_unfinished_run_is_shown_as_far_as_it_went(own_run):
    for name in ("moments.npz", "judges.json"):
        (own_run / name).unlink()
    write_json(own_run / "summary.json", {"kind": "guard", "completed": False})
    text = text_of(own_run)
    assert "This run is not complete: it stands at step 1,000." in text
    assert "autonomy 400 1 25.0" in text
    assert "This run kept no snapshots of blocks" in text and "The finished policy was not evaluated." in text
    (own_run / "decisions.parquet").unlink()
    assert "No decisions.parquet in this run: it ended before its first step." in text_of(own_run)


def test_what_went_wrong_on_the_way_is_said_with_its_count(tmp_path):
    run = make_guard_run(tmp_path / "run", faults={f"judging failed ({HOSTILE})": 3, "odd": 1})
    text = text_of(run)
    assert f"judging failed ({HOSTILE}) (3 times)" in text and "odd (once)" in text


def test_hostile_names_are_text_everywhere(tmp_path):
    name = '<img src=x onerror="a">$\\frac{1}{0}$'
    run = make_guard_run(tmp_path / "<b>run", env=name)
    make_guard_run(tmp_path / "other", method="none")
    write_json(run / "siblings.json", [{"label": HOSTILE, "path": "../other"}])
    html = html_of(run)
    page = Reader(html)
    assert "img" not in page.tags and name in page.text and HOSTILE in page.text
    assert page.open == [] and html.count("<script") == 1


def test_the_quality_of_the_models_is_told_in_numbers_and_words(text):
    assert "Tested on 150 steps that followed a fit, before the model learnt from them too, in 120 stretches." in text
    assert "at the end y is worst, with 40.0%" in text and "(mean distance 0.06)" in text
    assert (
        "On the 325 labels, 22 of them blocks, each as the blocker tells it that has not learnt from its episode."
        in text
    )


@pytest.mark.parametrize("name", ["decisions.parquet", "moments.npz", "judges.json"])
def test_a_file_that_is_not_what_it_should_be_is_named(own_run, name):
    (own_run / name).write_text("{no")
    with pytest.raises(HeedError, match=name.replace(".", r"\.")):
        write_report(own_run)


def test_decisions_of_another_kind_are_refused(own_run):
    shutil.copy(own_run / "decisions.parquet", own_run / "kept.parquet")
    table = parquet.read_table(own_run / "kept.parquet").drop_columns(["latency_ms"])
    parquet.write_table(table, own_run / "decisions.parquet")
    with pytest.raises(HeedError, match="decisions without 'latency_ms'"):
        write_report(own_run)


@pytest.mark.parametrize("method", ["mbhi", "mbhi-true", "none"])
def test_a_real_run_of_every_kind_has_a_page_with_its_own_numbers(method, tmp_path):
    settings = TINY | {"method": method, "env_kwargs": {"render_mode": "rgb_array"}}
    summary = train_guard(job_of(settings), tmp_path / "run")
    page = Reader(html_of(tmp_path / "run"))
    catastrophes = summary["catastrophes"]
    if method == "none":
        assert f"in {summary['env_steps']} steps, and {sum(summary['goals'].values())} goal" in page.text
        return
    alone = summary["autonomy_steps"]
    assert 0 < alone == 400 - summary["handed_over_at"] <= 80
    assert f"autonomy {alone} {catastrophes['autonomy']} " in page.text
    kept, blocks = read_snapshots(tmp_path / "run"), summary["interventions_autonomy"]
    assert int(kept["blocks"]) == blocks and len(kept["step"]) == min(blocks, 40)
    assert kept["pictured"].all() and page.open == []
    assert ("img" in page.tags) == (blocks > 0)
    if method == "mbhi-true":
        assert "the dynamics are known, not learnt" in page.text and "what is dangerous is known" in page.text


def test_the_command_ends_with_the_page(tmp_path, capsys):
    flags = [f"--{name}={value}" for name, value in TINY.items()]
    run_command([*flags, "--method=none", "--out", str(tmp_path / "run")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "run" / "report.html")
    assert (tmp_path / "run" / "report.html").is_file()


PRESS = """<script>
const player = document.querySelector(".player");
const [which, when] = player.querySelectorAll("input");
const told = [];
const tell = () => told.push([...player.querySelectorAll(".scene")].findIndex((s) => s.classList.contains("shown")),
  player.querySelector(".shown .plan").getAttribute("points").split(" ").length);
tell();
for (const key of ["ArrowRight", "ArrowRight", "ArrowLeft"]) {
  player.dispatchEvent(new KeyboardEvent("keydown", { key }));
}
tell();
when.value = 2;
when.dispatchEvent(new Event("input"));
tell();
dispatchEvent(new Event("beforeprint"));
tell();
player.querySelector("[data-go='1']").click();
tell();
document.title = told.join();
</script></body>"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_player_steps_through_blocks_and_steps(html, tmp_path):
    (tmp_path / "page.html").write_text(html.replace("</body>", PRESS), encoding="utf-8")
    shown = dumped(tmp_path / "page.html")
    assert "<title>0,5,1,5,1,3,1,5,2,5</title>" in shown


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_no_guard_page_is_wider_than_its_window(html, tmp_path):
    assert excess_widths(html, tmp_path) == "0,0,0"
