"use strict";
// The page on which people compare. Completions are hostile text: whatever comes is set as text, never as markup.

import { announce, byId, element, enable, enabled, facts, Line, newKey, put } from "./common.js";
import { digest, forget, keep, kept } from "./kept.js";
import { difference, grown, words } from "./texts.js";

const VERDICTS = ["left", "tie", "both bad", "right", "skip"];
const GRADES = ["slightly", "much"]; // by how much one is better, where that is said

let objectives = [];
let pair = null; // what is shown
let shownAt = 0;
let row = 0; // the objective that keys speak of
let plain = false; // texts as they stand, in place of their Markdown
let differing = false;
let over = false; // all is judged
let mine = 0;
let drafts = "draft "; // how the drafts of this person and these pairs are called
const unwritten = new Map(); // comparisons that are not known to be on disk, by key

function received(message) {
  if (message.hello) greeted(message.hello);
  if (message.pair) show(message.pair);
  if (message.nothing) showNothing(message.nothing);
  if (message.progress) progress(message.progress);
  if (message.written) written(message.written);
  if (message.undone) undone(message.undone);
  if (message.refused) {
    unwritten.delete(message.refused.key);
    announce(message.refused.why);
  }
  buttons();
}

function greeted(hello) {
  byId("title").textContent = hello.title;
  showState("watching", `you compare as ${hello.person}`);
  drafts = `draft ${JSON.stringify([hello.title, hello.person])} `;
  if (objectives.join("\n") !== hello.objectives.join("\n")) {
    objectives = hello.objectives;
    byId("rows").replaceChildren(...objectives.map(rowOf));
    row = 0;
  }
  [...byId("rows").children].forEach((group, index) => define(group, index, hello.guidelines.definitions[objectives[index]]));
  guide(hello.guidelines);
  for (const compared of unwritten.values()) line.send({ compared }); // the same keys: nothing is written twice
}

// What people are to judge by, a key away; it shows itself to whoever has not seen it as it is now. After a restart it
// may be another, or none.
function guide({ general, definitions }) {
  const defined = objectives.filter((name) => definitions[name]);
  byId("general").replaceChildren(...grown(general));
  byId("definitions").replaceChildren(...defined.flatMap((name) => {
    const words = document.createElement("div");
    words.append(...grown(definitions[name]));
    return [element("h3", name), words];
  }));
  byId("guide").hidden = !general.length && !defined.length;
  if (byId("guide").hidden) {
    byId("guidelines").close();
    return;
  }
  const seen = digest(JSON.stringify([general, definitions]));
  if (kept("guidelines") !== seen) openGuidelines();
  keep("guidelines", seen);
}

function openGuidelines() {
  if (!byId("guide").hidden && !byId("guidelines").open) byId("guidelines").showModal();
}

// What an objective means, in its row; what is chosen there stays.
function define(group, index, definition) {
  group.querySelector(".definition")?.remove();
  group.removeAttribute("aria-describedby");
  if (!definition) return;
  const words = document.createElement("div");
  words.className = "definition";
  words.id = `definition-${index}`;
  words.append(...grown(definition));
  group.setAttribute("aria-describedby", words.id);
  group.querySelector("legend").after(words);
}

// One objective: a group of radio buttons, with its digit.
function rowOf(name, index) {
  const group = document.createElement("fieldset");
  const legend = document.createElement("legend");
  legend.append(element("kbd", index + 1), ` Better by ${name}`);
  group.append(legend);
  for (const verdict of VERDICTS) {
    const input = document.createElement("input");
    input.type = "radio";
    input.name = `objective-${index}`;
    input.value = verdict;
    input.id = `${input.name}-${verdict.replace(" ", "-")}`;
    input.addEventListener("change", () => graded(index));
    group.append(choiceOf(input, verdict, index));
  }
  const grades = document.createElement("span");
  grades.id = `grades-${index}`;
  grades.className = "grades";
  grades.hidden = true;
  for (const grade of GRADES) {
    const input = document.createElement("input");
    input.type = "checkbox";
    input.id = `grade-${index}-${grade}`;
    input.addEventListener("change", () => { if (input.checked) setGrade(index, grade); });
    grades.append(choiceOf(input, `${grade} better`, index));
  }
  group.append(grades);
  return group;
}

function choiceOf(input, text, index) {
  input.addEventListener("focus", () => choose(index));
  const label = element("label", text);
  label.htmlFor = input.id;
  const choice = document.createElement("span");
  choice.append(input, label);
  return choice;
}

function show(next) {
  const again = JSON.stringify(pair) === JSON.stringify(next);
  over = false;
  byId("nothing").hidden = true;
  for (const place of ["comparison", "rows", "choices"]) byId(place).hidden = false;
  document.body.dataset.pair = next.pair;
  if (again) return; // after a lost connection: what was chosen stays chosen
  pair = next;
  differing = false;
  texts();
  byId("form").reset();
  const before = drafted() || next.before;
  if (before !== null) fill(before);
  objectives.forEach((_, index) => graded(index));
  window.scrollTo(0, 0);
  for (const place of ["left", "right", "prompt"]) byId(place).scrollTop = 0;
  byId("prompt").focus({ preventScroll: true }); // where reading begins
  choose(0);
  shownAt = performance.now();
}

function showNothing(why) {
  pair = null;
  over = why === "all";
  if (over) forget(drafts);
  delete document.body.dataset.pair;
  for (const place of ["comparison", "rows", "choices"]) byId(place).hidden = true;
  byId("nothing").hidden = false;
  byId("nothing").textContent = {
    all: "Everything is compared. Thank you!",
    mine: "You have compared everything; others are still at it. Thank you!",
    others: "All that is left is in other people's hands. If one of them leaves, you will see it here.",
  }[why];
}

function texts() {
  const prompt = typeof pair.prompt === "string" ? [{ role: "", content: pair.prompt }] : pair.prompt;
  byId("prompt").replaceChildren(...prompt.map((message, index) => {
    const said = document.createElement("div");
    if (message.role) said.append(element("b", message.role));
    const content = document.createElement("div");
    write(content, message.content, pair.trees.prompt[index]);
    said.append(content);
    return said;
  }));
  const marks = differing ? difference(words(pair.left), words(pair.right)) : null;
  if (differing && marks === null) {
    differing = false;
    announce("these texts are too long to be compared word by word");
  }
  for (const [index, side] of ["left", "right"].entries()) write(byId(side), pair[side], pair.trees[side], marks && marks[index]);
  byId("diff").setAttribute("aria-pressed", String(differing));
  byId("plain").setAttribute("aria-pressed", String(plain));
}

// One text: its words with marks on those that differ, or its Markdown, or as it stands.
function write(place, text, tree, marks = null) {
  if (!text) place.replaceChildren(element("i", "(it says nothing)"));
  else if (marks !== null) place.replaceChildren(...words(text).map((word, index) => (marks[index] ? element("mark", word) : word)));
  else if (plain || tree === null) place.textContent = text;
  else place.replaceChildren(...grown(tree));
}

// What is said of the pair so far, as it is sent, and the same said again.
function answer() {
  const said = objectives.map((name, index) => [name, chosen(index), gradeOf(index)]);
  return {
    objectives: Object.fromEntries(said.filter(([, verdict]) => verdict !== null).map(([name, verdict]) => [name, verdict])),
    grades: Object.fromEntries(said.filter(([, , grade]) => grade !== null).map(([name, , grade]) => [name, grade])),
    unsafe: { left: byId("unsafe-left").checked, right: byId("unsafe-right").checked },
    comment: byId("comment").value,
  };
}

function fill(said) {
  objectives.forEach((name, index) => {
    if (said.objectives[name]) box(index, said.objectives[name]).checked = true;
    setGrade(index, (said.grades || {})[name] || null);
  });
  byId("unsafe-left").checked = said.unsafe.left;
  byId("unsafe-right").checked = said.unsafe.right;
  byId("comment").value = said.comment || "";
}

// What was chosen and not submitted is kept in this browser, over a reload, until it is on disk. It is of these very sides.
function draft() {
  if (pair === null) return;
  const said = answer();
  const nothing = !Object.keys(said.objectives).length && !said.unsafe.left && !said.unsafe.right && !said.comment;
  if (nothing) forget(draftOf(pair.pair));
  else keep(draftOf(pair.pair), JSON.stringify({ left: digest(pair.left), ...said }));
}

function drafted() {
  const found = JSON.parse(kept(draftOf(pair.pair)));
  return found !== null && found.left === digest(pair.left) ? found : null;
}

function draftOf(name) {
  return drafts + JSON.stringify(name); // whose closing quote ends it, so that no other name begins so
}

function box(index, verdict) {
  return byId(`objective-${index}-${verdict.replace(" ", "-")}`);
}

function gradeOf(index) {
  return GRADES.find((grade) => byId(`grade-${index}-${grade}`).checked) || null;
}

function setGrade(index, grade) {
  for (const each of GRADES) byId(`grade-${index}-${each}`).checked = each === grade;
}

// Grades are asked where one is better.
function graded(index) {
  const better = ["left", "right"].includes(chosen(index));
  byId(`grades-${index}`).hidden = !better;
  if (!better) setGrade(index, null);
}

function grade(how) {
  if (byId(`grades-${row}`).hidden) {
    announce(`first say which is better by ${objectives[row]}`);
    return;
  }
  setGrade(row, gradeOf(row) === how ? null : how);
  announce(`${chosen(row)} is ${gradeOf(row) ? `${how} ` : ""}better by ${objectives[row]}`);
}

function chosen(index) {
  const found = VERDICTS.find((verdict) => box(index, verdict).checked);
  return found === undefined ? null : found;
}

// The row that keys speak of is the one with the focus, so that a screen reader tells it too.
function choose(index) {
  row = Math.max(0, Math.min(objectives.length - 1, index));
  [...byId("rows").children].forEach((group, place) => group.classList.toggle("here", place === row));
}

function goTo(index) {
  choose(index);
  box(row, chosen(row) || VERDICTS[0]).focus();
}

function judge(verdict) {
  box(row, verdict).checked = true;
  box(row, verdict).focus();
  graded(row);
}

function submit() {
  if (pair === null || waiting()) return;
  const unsaid = objectives.findIndex((_, index) => chosen(index) === null);
  if (unsaid >= 0) {
    announce(`nothing is said of ${objectives[unsaid]} yet: left, tie, both bad, right, or skip it`);
    goTo(unsaid);
    return;
  }
  const compared = {
    key: newKey(),
    pair: pair.pair,
    ...answer(),
    latency_ms: performance.now() - shownAt,
  };
  unwritten.set(compared.key, compared);
  line.send({ compared });
  buttons();
}

function waiting() {
  return unwritten.size > 0;
}

function undone(note) {
  const said = Object.entries(note.verdict.objectives).map(([name, verdict]) => `${name}: ${verdict}`);
  announce(`taken back: comparison ${note.id} (${said.join(", ")}); U takes back the one before`);
}

function written(note) {
  const compared = unwritten.get(note.key);
  unwritten.delete(note.key);
  if (compared) forget(draftOf(compared.pair));
  if (compared && pair !== null && compared.pair === pair.pair) pair = null; // the next one is on its way
  announce(`comparison ${note.id} is on disk`);
  document.body.dataset.written = note.id;
}

function progress(now) {
  mine = now.mine;
  byId("bar").max = now.wanted;
  byId("bar").value = now.given;
  facts(byId("counts"), [["compared by you", now.mine], ["by all", `${now.given} of ${now.wanted}`]]);
}

function buttons() {
  enable(byId("submit"), !waiting() && pair !== null);
  put(byId("submit").querySelector("span"), !waiting() ? "Submit" : line.connected ? "It is being written" : "It is sent when the server is back");
  enable(byId("undo"), line.connected && mine > 0 && !waiting());
}

function showState(state, text) {
  byId("state").dataset.state = state;
  put(byId("state"), text);
  buttons();
}

function toggle(side) {
  const box = byId(`unsafe-${side}`);
  box.checked = !box.checked;
  announce(`the ${side} one is ${box.checked ? "unsafe" : "not marked as unsafe"}`);
}

function undo() {
  if (enabled(byId("undo"))) line.send({ undo: true });
}

function diff() {
  differing = !differing;
  texts();
}

function showPlain() {
  plain = !plain;
  texts();
}

const KEYS = {
  arrowup: () => goTo(row - 1),
  arrowdown: () => goTo(row + 1),
  arrowleft: () => judge("left"),
  arrowright: () => judge("right"),
  t: () => judge("tie"),
  b: () => judge("both bad"),
  s: () => judge("skip"),
  m: () => grade("much"),
  l: () => grade("slightly"),
  c: () => byId("comment").focus(),
  q: () => toggle("left"),
  w: () => toggle("right"),
  d: diff,
  p: showPlain,
  enter: submit,
};

byId("form").addEventListener("input", draft);
byId("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
byId("diff").addEventListener("click", diff);
byId("plain").addEventListener("click", showPlain);
byId("guide").addEventListener("click", openGuidelines);
byId("close").addEventListener("click", () => byId("guidelines").close());
byId("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || byId("guidelines").open) return;
  const key = event.key.toLowerCase();
  if (event.target === byId("comment")) { // where keys write
    if (key === "escape") goTo(row);
    return;
  }
  if (key === "enter" && event.target.closest("button, a") !== null) return; // the browser does that itself
  const digit = /^[1-9]$/.test(key) && Number(key) <= objectives.length;
  const does = key === "u" ? undo : key === "?" ? openGuidelines : pair === null ? undefined : digit ? () => goTo(Number(key) - 1) : KEYS[key];
  if (does === undefined) return;
  event.preventDefault();
  if (event.repeat) return;
  does();
  if (does !== submit) draft();
});
const line = new Line("/compare", {
  received,
  lost: (why) => { showState("disconnected", `disconnected: ${over ? "all is compared" : why}`); return !over; },
});
