"use strict";
// The page of judgements. Whatever people or models wrote is set as text, never as markup.

import { announce, byId, element, enable, enabled, facts, loginRefused, put, token } from "./common.js";

const FILTERS = ["kind", "person", "run", "status"];
const NONE = "\u2013";
const KEPT_MS = 60000; // for which a browser may still be writing a file that was saved

let filter = {}; // of what is listed
let next = null; // where the older ones begin
let judges = false; // whether the person may retract judgements
let open = null; // the judgement that is shown whole

class Refused extends Error {
  constructor(status, detail) {
    super(typeof detail === "string" ? detail : "the server did not understand this page: load it again");
    this.status = status;
  }
}

// Ask the server; `how` is as of fetch. Throws what it refuses, in words.
async function request(path, how = {}) {
  let answer;
  try {
    answer = await fetch(`api/judgements${path}`, { ...how, headers: { Authorization: `Bearer ${token}`, ...how.headers } });
  } catch {
    throw new Refused(0, "the server does not answer");
  }
  if (answer.ok) return answer;
  const detail = await answer.json().then((refusal) => refusal.detail, () => answer.statusText);
  throw new Refused(answer.status, answer.status === 401 ? loginRefused(detail) : detail);
}

async function asked(path, how) {
  return (await request(path, how)).json();
}

function showState(state, text) {
  byId("state").dataset.state = state;
  put(byId("state"), text);
}

// Do something that may be refused, once at a time, and say why it was.
async function trying(button, does) {
  if (!enabled(button)) return;
  enable(button, false);
  try {
    await does();
  } catch (refusal) {
    if (!(refusal instanceof Refused)) throw refusal;
    if (refusal.status === 401 || refusal.status === 0) showState("disconnected", `disconnected: ${refusal.message}`);
    else announce(refusal.message);
  } finally {
    enable(button, true);
  }
}

async function begin() {
  const about = await asked("/about");
  judges = about.judges;
  showState("watching", `you ${judges ? "judge" : "watch"} as ${about.person}`);
  byId("people").replaceChildren(...about.people.map(option));
  byId("runs").replaceChildren(...about.runs.map(option));
  announce(`${about.count} judgements in all`);
}

function option(value) {
  const made = document.createElement("option");
  made.value = value;
  return made;
}

function chosen(names) {
  return Object.fromEntries(names.map((name) => [name, byId(name).value]).filter(([, value]) => value !== ""));
}

function query(parameters) {
  return `?${new URLSearchParams(parameters)}`;
}

async function list() {
  filter = chosen(FILTERS);
  try {
    await begin();
    const found = await asked(query(filter));
    byId("rows").replaceChildren();
    more(found);
  } catch (refusal) {
    if (refusal.status === 404) {
      showState("paused", "nothing has been judged yet");
      nothing("There are no judgements yet. Look again when the first is given.");
      return;
    }
    throw refusal;
  }
}

function nothing(text) {
  byId("none").hidden = text === "";
  put(byId("none"), text);
  byId("list").hidden = text !== "";
}

function more(found) {
  byId("rows").append(...found.rows.map(rowOf));
  next = found.next;
  byId("older").hidden = next === null;
  nothing(byId("rows").childElementCount ? "" : "None is as chosen.");
  document.body.dataset.listed = byId("rows").childElementCount;
}

async function older() {
  const first = byId("rows").childElementCount;
  more(await asked(query({ ...filter, before: next })));
  const row = byId("rows").children[first];
  if (row) row.querySelector("button").focus();
}

function rowOf(row) {
  const made = document.createElement("tr");
  made.id = `row-${row.id}`;
  made.classList.toggle("gone", !row.active);
  const button = element("button", row.id);
  button.type = "button";
  button.setAttribute("aria-label", `Open judgement ${row.id}`);
  button.addEventListener("click", () => trying(button, () => show(row.id)));
  const first = document.createElement("td");
  first.append(button);
  const verdict = row.active ? row.summary : `${row.summary} (taken back)`;
  const after = element("td", speed(row.latency_ms));
  after.className = "number";
  made.append(first, element("td", when(row.at)), element("td", row.person), element("td", row.shown), element("td", verdict), after);
  return made;
}

function when(text) {
  return new Date(text).toLocaleString(undefined, { dateStyle: "short", timeStyle: "medium" });
}

function speed(ms) {
  if (ms === null) return NONE;
  return ms < 10000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(0)} s`;
}

function share(value) {
  return value === null ? NONE : `${(100 * value).toFixed(0)} %`;
}

function coefficient(value) {
  return value === null ? NONE : value.toFixed(3).replace("-", "\u2212");
}

async function show(id) {
  opened(await asked(`/${id}`));
  if (!byId("one").open) byId("one").showModal();
  byId("one-title").focus();
}

function opened(found) {
  open = found;
  const compared = found.kind === "compare" && isObject(found.shown) && "left" in found.shown && "right" in found.shown;
  byId("one-title").textContent = `Judgement ${found.id}`;
  byId("words").textContent = found.summary;
  byId("compared").hidden = !compared;
  if (compared) for (const name of ["prompt", "left", "right"]) byId(name).textContent = textOf(found.shown[name]);
  facts(byId("facts"), [
    ["who", found.person], ["when", new Date(found.at).toLocaleString()], ["after", speed(found.latency_ms)],
    ["run", found.run || NONE], ["model or fit", found.model_version || NONE], ["key", found.key], ["digest", found.digest],
  ]);
  byId("chain").dataset.unbroken = found.unbroken;
  byId("chain").textContent = found.unbroken
    ? "Its row is as it was written, after the row before it."
    : "Its row, or the one before it, is not as it was written.";
  byId("raw").textContent = JSON.stringify({ shown: found.shown, verdict: found.verdict }, null, 1);
  const back = found.retraction;
  byId("back").hidden = back === null;
  if (back !== null) byId("back").textContent = `Taken back by ${back.person}, ${when(back.at)}, row ${back.id}: ${back.why || "no reason given"}`;
  byId("retract").hidden = !judges || back !== null;
  byId("retract").reset();
  byId("refused").hidden = true;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// A text as it is; a conversation message by message; what is neither, as JSON.
function textOf(value) {
  if (typeof value === "string") return value || "(it says nothing)";
  if (Array.isArray(value) && value.every((message) => isObject(message) && "content" in message)) {
    return value.map((message) => `${message.role}: ${message.content}`).join("\n");
  }
  return JSON.stringify(value);
}

async function retract() {
  const body = JSON.stringify({ why: byId("why").value });
  try {
    const found = await asked(`/${open.id}/retract`, { method: "POST", body, headers: { "Content-Type": "application/json" } });
    const row = byId(`row-${found.id}`);
    if (row && !row.classList.contains("gone")) {
      row.classList.add("gone");
      row.children[4].textContent += " (taken back)";
    }
    opened(found);
    byId("one-title").focus();
    announce(`judgement ${found.id} is taken back`);
  } catch (refusal) {
    byId("refused").hidden = false;
    byId("refused").textContent = refusal.message;
    throw refusal;
  }
}

async function save(ending) {
  announce("the file is being made");
  const content = await (await request(`/export/${ending}${query(chosen(["kind", "person", "run"]))}`)).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = `judgements.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEPT_MS);
  announce(`judgements.${ending} is saved`);
}

async function verify() {
  const found = await asked("/verify");
  byId("verified").hidden = false;
  byId("verified").dataset.right = found.wrong === null;
  put(byId("verified"), found.wrong === null
    ? `${found.rows} rows, each as it was written.`
    : `${found.wrong}. Trust nothing from there on, and restore the store from a copy.`);
}

async function agree() {
  const found = await asked("/agreement");
  table("questions", found.questions.map((one) => [one.question, one.answers, one.units, coefficient(one.alpha)]), 1);
  table("pairs", found.questions.flatMap((one) => one.pairs.map((pair) => [
    one.question, pair.one, pair.other, pair.units, share(pair.agree), coefficient(pair.kappa),
  ])), 3);
  table("habits", found.people.map((one) => [
    one.person, one.judgements, speed(one.median_ms), speed(one.p90_ms), of(one.steady, one.repeats), of(one.with_majority, one.majorities),
  ]), 1);
  byId("agreement").hidden = false;
}

function of(part, whole) {
  return part === null ? NONE : `${share(part)} of ${whole}`;
}

// Rows of a table; the first is what each is about, and numbers begin at a column.
function table(name, rows, numbers) {
  byId(name).replaceChildren(...rows.map((row) => {
    const made = document.createElement("tr");
    made.append(...row.map((value, column) => {
      const cell = element(column === 0 ? "th" : "td", value);
      if (column === 0) cell.scope = "row";
      if (column >= numbers) cell.className = "number";
      return cell;
    }));
    return made;
  }));
}

// Up and down go from row to row.
byId("rows").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const row = event.target.closest("tr");
  if (step === undefined || row === null) return;
  event.preventDefault();
  const other = step > 0 ? row.nextElementSibling : row.previousElementSibling;
  if (other !== null) other.querySelector("button").focus();
});
byId("filters").addEventListener("submit", (event) => { event.preventDefault(); trying(byId("show"), list); });
byId("older").addEventListener("click", () => trying(byId("older"), older));
byId("retract").addEventListener("submit", (event) => { event.preventDefault(); trying(byId("take"), retract); });
byId("close").addEventListener("click", () => byId("one").close());
for (const ending of ["jsonl", "parquet"]) byId(ending).addEventListener("click", () => trying(byId(ending), () => save(ending)));
byId("verify").addEventListener("click", () => trying(byId("verify"), verify));
byId("agree").addEventListener("click", () => trying(byId("agree"), agree));
trying(byId("show"), list);
