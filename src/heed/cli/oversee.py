"""heed oversee: train an agent under guard, with a person at a page as its overseer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heed import report
from heed.cli.command import Command, add_logins, out_folder, words
from heed.cli.console import Bar, quiet_libraries, say, say_revoked, stopping_at_rounds
from heed.cli.guard import QUICK, gone_on, guard_settings, lines, tell, trained
from heed.errors import HeedError
from heed.guard.run.config import job_of, settings_of
from heed.guard.run.methods import method_from_name
from heed.runs.config import read_yaml
from heed.runs.folder import CONFIG

PERSONS = {"evaluation_episodes": 0, "ask_above": 0.25, "checkpoint_every": 50}
"""What differs where people judge: they are asked again where the blockers disagree, watch no evaluation, and give few
judgements again after a crash."""


def run(arguments: Sequence[str]) -> None:
    """Parse, serve the page, train, report."""
    quiet_libraries()
    command = Command("oversee", "Train an agent under guard, with people in the browser as its overseers.")
    command.add("config", nargs="?", help="a YAML file of settings; flags go over it")
    command.add("--people", type=str, default="overseer", help="who may judge: names with commas between them")
    command.add("--times", type=int, default=1, help="how many different people judge each action")
    command.add("--watchers", type=str, default="", help="who may watch: names with commas between them")
    command.add("--reasons", type=str, default="", help="why people may block, by digits: texts with commas between")
    command.add("--task", type=str, default="", help="what people are told first: what moves, what a catastrophe is")
    command.add(
        "--host", type=str, default="127.0.0.1", help="where the page is served; others can reach it if it says so"
    )
    command.add("--port", type=int, default=8000, help="the page's port; 0 takes a free one")
    add_logins(command)
    command.add("--resume", type=str, default=None, help="go on with the run in this folder from its last checkpoint")
    command.add("--out", type=str, default=None, help="the run folder (default: below runs/)")
    command.add("--quick", action="store_true", help="a few hundred steps, to see that everything works")
    parsed, asked = guard_settings(command, arguments)

    from heed.guard.run.environment import drawing  # once it is asked for, so that --help answers at once
    from heed.oversight.overseers.specs import BROWSER
    from heed.web.served import serve
    from heed.web.serving import at_stake, tls_from
    from heed.web.tokens import tokens_from

    if asked.get("overseer", BROWSER) != BROWSER:
        raise HeedError("here people are the overseers", "--overseer", "leave it out, or run heed guard")
    if "overseer_timeout" in command.flags(arguments):
        raise HeedError("nobody hurries people: the agent waits for them", "--overseer-timeout", "leave it out")
    if parsed["resume"] is not None and parsed["out"] is not None:
        raise HeedError("a run that goes on stays where it is", "--out", "give one of --out and --resume")
    tls = tls_from(parsed["tls_cert"], parsed["tls_key"])
    tokens = tokens_from(parsed["tokens"], words(parsed["rotate"] or ""), words(parsed["revoke"] or ""))
    resumed = None if parsed["resume"] is None else Path(parsed["resume"])
    quick = QUICK if parsed["quick"] else {}
    if resumed is None:
        job = job_of(quick, PERSONS | {"overseer": BROWSER}, asked)
    else:
        job = job_of(read_yaml(resumed / CONFIG), where=str(resumed))
    if not method_from_name(job.method).guarded or job.mode == "shadow":
        raise HeedError("nobody's block would count", "--method none, --mode shadow", "leave it out, or run heed guard")
    job.env_kwargs = drawing(job.env) | job.env_kwargs
    out = out_folder(parsed["out"], "oversee") if resumed is None else resumed
    names, watchers = words(parsed["people"]), words(parsed["watchers"])
    with (
        stopping_at_rounds() as wanted,
        Bar("oversee") as bar,
        serve(
            job.env,
            names,
            watchers=watchers,
            votes=parsed["times"],
            reasons=words(parsed["reasons"]),
            task=parsed["task"],
            store=job.store,
            run=out,
            report=report.report_of,
            stopping=lambda: bool(wanted),
            host=parsed["host"],
            port=parsed["port"],
            tokens=tokens,
            tls=tls,
        ) as person,
    ):
        say_revoked([*names, *watchers], person.addresses)
        if stake := at_stake(parsed["host"], tls):
            say(stake, needed=True)
        for name, address in person.addresses.items():
            say(f"{name} {'judges' if name in names else 'watches'} at {address}", needed=True)
        if resumed is None:
            summary = trained(job, out, bar, wanted, person.human)
        else:
            summary = gone_on(out, bar, wanted, settings_of(quick) | asked, person.human)
        page = report.write_report(out)
        person.human.end(f"the run is over: {lines(summary)[0]}; its report is {page}")
    tell(summary, out)
