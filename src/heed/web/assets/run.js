"use strict";
// The page of a run: it asks what is new, draws it, and changes nothing.

import { Chart } from "./chart.js";
import { announce, byId, element, facts, loginRefused, put, token } from "./common.js";

const POLL_MS = 2000;
const ENDED_MS = 10000; // between two looks at a run that has ended
const SLOWEST_MS = 30000;
const PATIENCE_MS = 30000;
const MOST_POINTS = 1500; // of a curve; beyond them all is asked for again, thinned
const FIRST = { // what matters before all else
  guard: [/^catastrophes$/, /^blocks$/, /^return$/],
  align: [/^rewards\/[^/]+\/mean$/, /^kl$/],
};

const charts = new Map(); // by the metric's name
let name = ""; // which of the runs within the folder; "" is the folder itself
let cursor = "";
let failures = 0;
let timer = null;
let asking = false;
let asked = 0; // how often another run was chosen: answers that were asked for before are void

async function ask(path, parameters) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`,
    { headers: { Authorization: `Bearer ${token}` }, signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  if (!answer.ok) {
    const why = answer.status === 401 ? loginRefused((await answer.json()).detail) : `the server answers ${answer.status}`;
    throw Object.assign(new Error(why), { status: answer.status });
  }
  return answer.json();
}

async function look() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  const mine = asked;
  let wait = POLL_MS;
  try {
    const metrics = await ask("/api/run/metrics", { name, since: cursor });
    const status = await ask("/api/run", { name });
    failures = 0;
    if (mine === asked) {
      if (status.state !== "absent") take(metrics);
      show(status, metrics);
    }
    wait = mine !== asked || metrics.more ? 0 : status.state === "completed" ? ENDED_MS : POLL_MS;
  } catch (error) {
    if (error.status === 401) {
      state("disconnected", error.message);
      wait = null;
    } else if (error.status === 404 && mine === asked) {
      state("absent", "this run is gone");
    } else {
      failures += 1;
      wait = Math.min(SLOWEST_MS, POLL_MS * 2 ** (failures - 1));
      state("disconnected", `lost: the server does not answer; trying again ${wait > POLL_MS ? `every ${Math.round(wait / 1000)} s` : "now"}`);
    }
  }
  asking = false;
  if (wait !== null && !document.hidden) timer = setTimeout(look, wait);
}

function state(which, words) {
  byId("state").dataset.state = which;
  put(byId("state"), words);
}

function take(metrics) {
  if (metrics.fresh) forget();
  cursor = metrics.cursor;
  const anew = Object.keys(metrics.curves).filter((metric) => !charts.has(metric));
  for (const metric of anew) {
    const chart = new Chart(metric);
    Object.assign(chart, { smooth: byId("smooth").checked, logarithmic: byId("logarithmic").checked });
    charts.set(metric, chart);
  }
  for (const [metric, points] of Object.entries(metrics.curves)) charts.get(metric).add(points);
  if (anew.length > 0 || metrics.fresh) arrange();
  if ([...charts.values()].some((chart) => chart.steps.length > MOST_POINTS)) cursor = "";
}

// Curves that begin afresh keep their places, and with them the focus.
function forget() {
  for (const chart of charts.values()) Object.assign(chart, { steps: [], values: [] });
}

let kind = "";

function groupOf(metric) {
  if ((FIRST[kind] || []).some((pattern) => pattern.test(metric))) return "First of all";
  return metric.includes("/") ? metric.slice(0, metric.indexOf("/")) : "The run as a whole";
}

function rank(metric) {
  const found = (FIRST[kind] || []).findIndex((pattern) => pattern.test(metric));
  return found < 0 ? Infinity : found;
}

function arrange() {
  for (const [metric, chart] of charts) if (chart.steps.length === 0) charts.delete(metric);
  const groups = new Map([["First of all", []], ["The run as a whole", []]]);
  for (const [metric, chart] of [...charts].sort(([one], [other]) => rank(one) - rank(other) || 0)) {
    groups.set(groupOf(metric), [...(groups.get(groupOf(metric)) || []), chart]);
  }
  const open = new Map([...byId("groups").children].map((group) => [group.dataset.group, group.open]));
  const focused = document.activeElement;
  byId("groups").replaceChildren(...[...groups].filter(([, within]) => within.length > 0).map(([title, within]) => {
    const group = document.createElement("details");
    group.className = "group";
    group.dataset.group = title;
    group.open = open.get(title) ?? true;
    const place = document.createElement("div");
    place.className = "charts";
    place.append(...within.map((chart) => chart.figure));
    group.append(element("summary", title), place);
    return group;
  }));
  focused.focus({ preventScroll: true });
  byId("none").hidden = charts.size > 0;
}

function show(status, metrics) {
  if (status.kind !== kind) {
    kind = status.kind;
    arrange();
  }
  put(byId("title"), name || status.title);
  document.title = `heed: ${name || status.title}`;
  within(status.runs);
  const ago = status.quiet_s === null ? "" : `${lasting(status.quiet_s)} ago`;
  state(status.state, {
    absent: "there is no run here yet, or not any more",
    running: metrics.more ? "running: reading what was logged so far" : "running",
    quiet: `no news for ${lasting(status.quiet_s || 0)}: it was stopped, or is busy`,
    completed: "completed",
  }[status.state]);
  const rows = [["kind", status.kind], ["step", status.step === null ? "" : whole(status.step) + (status.steps === null ? "" : ` of ${whole(status.steps)}`)],
    ["rate", status.rate === null ? "" : speed(status.rate)], ["time left", status.left_s === null ? "" : lasting(status.left_s)], ["last written", ago]];
  facts(byId("facts"), rows.filter(([, value]) => value));
  byId("bar").hidden = status.step === null || status.steps === null;
  byId("bar").max = status.steps || 1;
  byId("bar").value = status.step || 0;
  for (const [place, found] of [["config", status.config], ["summary", status.summary]]) listed(byId(place), found);
  const odd = [...status.problems, metrics.unread ? `${metrics.unread} lines of metrics.jsonl are no metrics` : "",
    metrics.left_out ? `${metrics.left_out} metrics are too many, and not drawn` : ""].filter(Boolean).join("; ");
  put(byId("odd"), odd);
  byId("odd").hidden = !odd;
  document.body.dataset.step = status.step === null ? "" : status.step;
}

function within(runs) {
  const which = byId("which");
  if ([...which.options].slice(1).map((option) => option.value).join("\n") !== runs.join("\n") || which.options.length === 0) {
    which.replaceChildren(...["", ...runs].map((run) => {
      const option = element("option", run || "all of it");
      option.value = run;
      return option;
    }));
    which.value = name;
  }
  byId("within").hidden = runs.length === 0;
}

function listed(place, found) {
  place.hidden = found.length === 0;
  const text = JSON.stringify(found);
  if (place.dataset.shown === text) return;
  place.dataset.shown = text;
  facts(place.querySelector("dl"), found);
}

const whole = (count) => count.toLocaleString("en");
const speed = (rate) => (rate >= 1 ? `${rate.toPrecision(3)} steps/s` : `${lasting(1 / rate)} a step`);

function lasting(seconds) {
  if (seconds < 120) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

for (const box of ["smooth", "logarithmic"]) {
  byId(box).addEventListener("change", () => {
    for (const chart of charts.values()) chart.set(byId("smooth").checked, byId("logarithmic").checked);
  });
}
byId("which").addEventListener("change", () => {
  name = byId("which").value;
  cursor = "";
  asked += 1;
  charts.clear();
  arrange();
  byId("frame").hidden = true;
  look();
});
byId("report").addEventListener("submit", (event) => {
  byId("report-token").value = token;
  byId("report-name").value = name;
  if (event.submitter !== byId("show")) return;
  byId("frame").hidden = false;
  announce("the report is being made; that takes seconds");
});
byId("frame").addEventListener("load", () => { if (!byId("frame").hidden) announce("the report is shown as it stands now"); });
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : look()));
look();
