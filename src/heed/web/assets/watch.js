"use strict";
// The page of an overseer. It shows what the server sends, and sends what the person presses; it decides nothing itself.

import { announce, byId, element, enable, enabled, facts, Line, newKey, put } from "./common.js";
import { gamepad } from "./gamepad.js";
import { showMarks } from "./marks.js";
import { Rewind } from "./rewind.js";
import { calibrate } from "./reaction.js";
import { draw } from "./watch_view.js";

const BEAT_MS = 500;

const NAMES = ["block", "allow", "go", "step", "each", "slower", "faster", "take", "catastrophe", "undo", "react", "hold", "mark"];
const UNSEEN = ["block", "allow", "catastrophe", "step", "hold", "take"]; // nothing while the past is shown: what is judged is what is in view
const NOBODY = { state: "disconnected", sentence: "", title: "heed: watch", calls: false, proposes: false, ended: "", left_s: null, proposal: null, acting: null, holding: null, alone: false, halted: false, recorded: false, outcome: "", briefing: [] };
let desk = { ...NOBODY, buttons: {} };
let arrived = 0; // when the desk last told how it stands
let holding = ""; // what holds the block down here: the code of a key, "pointer", or "latch"; "" if nothing
let proposal = null; // the last one that was rendered
let arriving = null; // the one whose frame is still to come
let waiting = null; // the one that came and is not rendered yet, and its picture
let me = "";
let frameUrl = null;
let latest = null; // the picture of the last one
let actTimer = null;
const pressed = new Set(); // keys that are down; those that are so since before the person took over do not count
const unwritten = new Map(); // orders that are not known to be on disk, by key

function received(message) {
  if (message.hello) greeted(message.hello);
  if (message.desk) {
    arrived = performance.now();
    showDesk(message.desk);
  }
  if (message.proposal) {
    arriving = message.proposal;
    if (!arriving.framed) arrives(arriving, null);
  }
  if (message.written) written(message.written);
  if (message.marks) showMarks(message.marks);
  if (message.marked) {
    unwritten.delete(message.marked.key);
    announce(`marked: row ${message.marked.id} is on disk`);
    document.body.dataset.marked = message.marked.id;
  }
  if (message.undone) announce(`taken back: judgement ${message.undone.id}`);
  if (message.refused) {
    const lost = unwritten.get(message.refused.key);
    if (lost && lost.do === "mark") byId("note").value ||= lost.reason;
    unwritten.delete(message.refused.key);
    announce(message.refused.why);
  }
}

function greeted(hello) {
  me = hello.person;
  byId("title").textContent = hello.title;
  reasons(hello.reasons);
  for (const order of unwritten.values()) line.send({ order }); // the same keys: nothing is written twice
}

// While the past is shown, what comes waits unseen: the server is told nothing of it.
function arrives(shown, blob) {
  waiting = { shown, blob };
  if (rewind.open) return;
  if (blob === null) render(shown, null);
  else pictured(shown, blob);
}

function pictured(shown, blob) {
  const url = URL.createObjectURL(blob);
  show(url, () => {
    if (frameUrl !== null) URL.revokeObjectURL(frameUrl);
    frameUrl = url;
    render(shown, blob);
  });
}

function show(url, then) {
  const image = byId("frame");
  image.onload = then;
  image.src = url;
}

function render(shown, blob) {
  if (rewind.open) return; // the past was called while its picture was on the way
  waiting = null;
  if (shown !== proposal) rewind.keep(shown, blob);
  draw(shown, shown === proposal);
  [proposal, latest] = [shown, blob];
  put(byId("words"), shown.words);
  counts(shown);
  requestAnimationFrame(() => {
    if (rewind.open) return;
    line.send({ rendered: shown.number });
    document.body.dataset.proposal = shown.number;
    actLater();
  });
  showDesk(desk);
}

// The past is a view like any other, and is told apart in words, by a dashed frame and by paler colours.
const rewind = new Rewind({
  shows: (shown, url) => {
    const past = () => {
      if (rewind.view !== shown) return;
      draw(shown, true);
      put(byId("words"), shown.words);
      counts(shown);
    };
    if (url === null) past();
    else show(url, past);
  },
  looks: (back) => {
    pressed.clear();
    release();
    line.send({ past: back });
    showDesk(desk);
    if (!back && (waiting || proposal)) {
      const { shown, blob } = waiting || { shown: proposal, blob: latest };
      arrives(shown, blob);
    }
  },
});

// While the person acts, keys that are down push a box's action away from rest; of choices each key is one.
function actLater() {
  clearTimeout(actTimer);
  if (acting() && proposal.acts.rest) actTimer = setTimeout(() => act(...pushed()), 1000 / desk.rate);
}

function acting() {
  return !rewind.open && desk.state === "taken over" && mine() && proposal !== null && proposal.acts !== null;
}

// The action, and whether it is of no key at all, so that it shows the agent nothing.
function pushed() {
  const { rest, keys } = proposal.acts;
  const pushes = Object.entries(keys).filter(([key]) => pressed.has(key)).map(([, [, push]]) => push);
  return [rest.map((value, axis) => pushes.reduce((sum, push) => sum + push[axis], value)), pushes.length === 0];
}

function act(action, silent = false) {
  if (proposal !== null) line.send({ order: { do: "act", proposal: proposal.number, key: newKey(), action, silent } });
}

function mine() {
  return desk.acting !== null && desk.acting === me;
}

function counts(shown) {
  const rows = [["phase", shown.phase], ["episode", shown.episode + 1], ["step", shown.step + 1],
    ["risk", shown.risk === null ? undefined : `${Math.round(100 * shown.risk)}%`], ...Object.entries(shown.counts || {})];
  facts(byId("counts"), rows.filter(([, value]) => value !== undefined));
}

// What the page says and what can be pressed is the server's to tell; a proposal is judged only where it is in view.
function showDesk(now) {
  const before = desk.state;
  desk = now;
  if (desk.state === "taken over" && before !== "taken over" && proposal !== null) actLater();
  const rendered = proposal !== null && desk.proposal === proposal.number;
  const state = byId("state");
  state.dataset.state = desk.ended ? "over" : desk.state;
  state.dataset.calls = String(desk.calls);
  document.title = desk.title;
  count();
  briefing(desk.briefing);
  byId("action").toggleAttribute("hidden", !desk.proposes && !rewind.open); // an SVG has no property of that name
  byId("outcome").hidden = !desk.outcome;
  put(byId("outcome"), desk.outcome);
  byId("words").setAttribute("aria-live", desk.state === "deciding" ? "polite" : "off"); // else it changes too fast to be read out
  for (const [name, [text, on]] of Object.entries(desk.buttons)) {
    const verdict = name === "block" || name === "catastrophe";
    label(name, text, on && !(rewind.open && UNSEEN.includes(name)) && (name !== "allow" || rendered) && (!verdict || proposal !== null));
  }
  for (const chip of byId("reasons").children) enable(chip, enabled(byId("block")));
  byId("take").setAttribute("aria-pressed", String(desk.state === "taken over"));
  byId("hold").setAttribute("aria-pressed", String(Boolean(desk.holding)));
  byId("acting").hidden = desk.state !== "taken over";
  put(byId("acting"), mine() ? howToAct() : `${desk.acting} acts`);
  if (desk.holding !== null && desk.holding !== me) holding = ""; // somebody else was first
}

// The sentence, and in it the seconds that are left, which nobody is read out each second.
function count() {
  const left = Math.ceil(Math.max(0, desk.left_s - (performance.now() - arrived) / 1000));
  const [before, after] = desk.sentence.split("{left}");
  const state = byId("state");
  if (after === undefined) { put(state, before); return; }
  if (state.dataset.sentence !== desk.sentence || state.children.length === 0) {
    const seconds = document.createElement("span");
    seconds.setAttribute("aria-live", "off");
    state.replaceChildren(before, seconds, after);
  }
  state.dataset.sentence = desk.sentence;
  put(state.firstElementChild, String(left));
}

// What somebody is to know who has never seen this, until they begin.
function briefing(sentences) {
  const list = byId("briefing-list");
  byId("briefing").hidden = sentences.length === 0;
  if (list.children.length !== sentences.length || sentences.some((each, index) => list.children[index].textContent !== each)) {
    list.replaceChildren(...sentences.map((each) => element("li", each)));
  }
}

// Each blocks, and says why by its digit.
function reasons(texts) {
  byId("reasons").hidden = texts.length === 0;
  byId("reasons").replaceChildren(...texts.map((text, index) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.setAttribute("aria-keyshortcuts", String(index + 1));
    chip.append(element("kbd", String(index + 1)), ` ${text}`);
    chip.addEventListener("click", (event) => {
      if (enabled(chip)) judge("block", text);
      if (event.detail > 0) chip.blur();
    });
    return chip;
  }));
  showDesk(desk);
}

function running() {
  return desk.state === "watching" || desk.state === "deciding";
}

function howToAct() {
  const acts = proposal === null ? null : proposal.acts;
  const keys = acts === null ? [] : Object.entries(acts.keys).map(([key, [does]]) => `${KEY_NAMES[key] || key} ${does}`);
  if (acts && acts.choices) return `You act: ${[...acts.choices.map((name, index) => `${index} ${name}`), ...keys].join(", ")}`;
  if (keys.length > 0) return `You act: ${keys.join(", ")}; no key, no push`;
  return "You act, but this page knows no keys for these actions";
}

function label(name, text, now) {
  const button = byId(name);
  put(button.querySelector("span"), text);
  enable(button, now);
}

function written(note) {
  const order = unwritten.get(note.key);
  unwritten.delete(note.key);
  if (order) announce(`${{ block: "blocked", allow: "let pass", catastrophe: "catastrophe" }[order.do]}: judgement ${note.id} is on disk${note.glimpsed ? "; it was hardly in view, so nothing is learnt of it" : ""}`);
  document.body.dataset.written = note.id;
}

function judge(verdict, reason = "") {
  if (proposal === null || rewind.open || byId("calibration").open) return;
  const order = { do: verdict, proposal: proposal.number, key: newKey() };
  if (verdict !== "allow") {
    order.reason = reason || byId("why").value.trim();
    if (!reason) byId("why").value = "";
  }
  if (desk.recorded) unwritten.set(order.key, order); // else nobody says when it is on disk
  line.send({ order });
}

// What is shown now, be it past or present, is marked.
function mark() {
  const shown = rewind.view || proposal;
  if (shown === null) return;
  const order = { do: "mark", proposal: shown.number, key: newKey(), reason: byId("note").value.trim() };
  unwritten.set(order.key, order);
  byId("note").value = "";
  line.send({ order });
}

const DOES = {
  block: () => judge("block"),
  allow: () => judge("allow"),
  go: () => line.send({ order: { do: desk.state === "watching" || desk.state === "deciding" ? "pause" : "go" } }),
  step: () => line.send({ order: { do: "step" } }),
  each: () => line.send({ order: { do: desk.state === "deciding" ? "go" : "each" } }),
  slower: () => line.send({ order: { do: "slower" } }),
  faster: () => line.send({ order: { do: "faster" } }),
  take: () => { pressed.clear(); line.send({ order: { do: desk.state === "taken over" ? "pause" : "take" } }); },
  catastrophe: () => judge("catastrophe"),
  undo: () => line.send({ order: { do: "undo" } }),
  react: measure,
  rewind: () => rewind.toggle(),
  mark,
  more: () => { byId("more").open = !byId("more").open; },
  hold: () => (holding ? release() : grip("latch")), // by an assistant, which presses no key and no pointer
};

// The block is held as long as a key or a finger is down, and let go with it, with the window and with the line.
function grip(by) {
  if (holding || !enabled(byId("hold"))) return;
  holding = by;
  line.send({ order: { do: "hold" } });
}

function release() {
  if (!holding) return;
  holding = "";
  line.send({ order: { do: "loose" } });
}

function measure() {
  if (running()) line.send({ order: { do: "pause" } }); // nothing passes behind the window
  calibrate((seconds) => line.send({ order: { do: "react", action: [seconds] } }));
}

// At once: what is proposed is blocked, and the agent waits; from the past, it waits.
function panic() {
  if (rewind.open) {
    if (running() || (desk.state === "taken over" && mine())) line.send({ order: { do: "pause" } }); // before anything is in view
    rewind.close();
    return;
  }
  if (enabled(byId("block"))) DOES.block();
  if (enabled(byId("go")) && desk.state !== "paused") line.send({ order: { do: "pause" } });
}

const KEYS = { b: "block", a: "allow", " ": "go", s: "step", e: "each", "-": "slower", "+": "faster", "=": "faster",
  t: "take", c: "catastrophe", u: "undo", r: "react", m: "more", p: "rewind", x: "mark" };
const KEY_NAMES = { arrowleft: "\u2190", arrowright: "\u2192", arrowup: "\u2191", arrowdown: "\u2193" };

for (const [name, does] of Object.entries(DOES)) {
  if (name === "more") continue; // the browser opens it
  byId(name).addEventListener("click", (event) => {
    if (enabled(event.currentTarget) && (name !== "hold" || event.detail === 0)) does();
    if (event.detail > 0) event.currentTarget.blur(); // clicked, not pressed by key: Space is to pause, not to press it again
  });
}
document.addEventListener("keydown", (event) => {
  if (byId("calibration").open) return;
  const key = event.key.toLowerCase();
  if (event.target === byId("why") && key !== "escape") {
    if (key === "enter" && enabled(byId("block"))) { event.preventDefault(); DOES.block(); }
    return;
  }
  if (event.target === byId("note") && key !== "escape") {
    if (key === "enter" && enabled(byId("mark"))) { event.preventDefault(); mark(); }
    return;
  }
  if (!event.repeat) pressed.add(key);
  if (acting() && actWith(key)) { event.preventDefault(); return; }
  if (event.target === byId("past-slider") && /^(arrow|home|end|page)/.test(key)) return; // the browser moves it
  const chip = byId("reasons").children[Number(key) - 1];
  if (/^[1-9]$/.test(key) && chip && !event.repeat && !event.ctrlKey && !event.altKey && !event.metaKey) { chip.click(); return; }
  if (key === "escape") { event.preventDefault(); panic(); return; }
  if (key === "p" && rewind.open) {
    if (!event.repeat && !event.ctrlKey && !event.altKey && !event.metaKey) rewind.close();
    return;
  }
  if (key === "h" && !rewind.open && !event.ctrlKey && !event.altKey && !event.metaKey) { event.preventDefault(); if (!event.repeat) grip(event.code); return; }
  const name = key === "h" ? "hold" : KEYS[key];
  if (name === undefined || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === " " && event.target instanceof HTMLButtonElement) return; // the browser presses that button itself
  event.preventDefault();
  if (rewind.open && UNSEEN.includes(name)) announce("the past is shown, and nothing is judged in it: P brings back the present");
  else if (enabled(byId(name))) DOES[name]();
});

// Act with a key, if it is one to act with; whether it is.
function actWith(key) {
  const { choices, start, keys } = proposal.acts;
  if (!choices) return key in keys;
  const choice = key in keys ? keys[key][1] : /^[0-9]$/.test(key) ? Number(key) : choices.length;
  if (choice < choices.length && pressed.has(key)) act(start + choice);
  return choice < choices.length;
}

document.addEventListener("keyup", (event) => {
  pressed.delete(event.key.toLowerCase());
  if (event.code === holding || event.key === "Meta") release(); // with Meta down no other key is heard to come up
});
window.addEventListener("blur", () => { pressed.clear(); release(); });
document.addEventListener("visibilitychange", () => { if (document.hidden) release(); });
byId("hold").addEventListener("pointerdown", (event) => { event.currentTarget.setPointerCapture(event.pointerId); grip("pointer"); });
for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) byId("hold").addEventListener(end, () => { if (holding === "pointer") release(); });
for (const when of ["keydown", "keyup"]) {
  byId("hold").addEventListener(when, (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault(); // else the browser clicks it as well
    if (when === "keydown" && !event.repeat) grip(event.code);
  });
}
let tilted = []; // arrows that a gamepad stands for
gamepad({
  press: (name) => { if (!byId("calibration").open && enabled(byId(name))) DOES[name](); },
  grip: () => grip("gamepad"),
  loose: () => { if (holding === "gamepad") release(); },
  tilt: (arrows) => {
    for (const key of tilted) pressed.delete(key);
    tilted = arrows;
    for (const key of arrows) pressed.add(key);
    if (acting()) for (const key of arrows) actWith(key);
  },
});
setInterval(() => { if (desk.left_s !== null) count(); }, 250);
setInterval(() => line.send(rewind.open ? { past: true } : {}), BEAT_MS);
const line = new Line("/watch", {
  received,
  pictured: (blob) => arrives(arriving, blob),
  lost: (why) => {
    holding = ""; // nobody holds what is not heard: the desk lets go as well
    if (desk.ended) return false;
    const waits = desk.alone && !desk.halted ? "the agent goes on by itself" : "the agent waits";
    const gone = Object.fromEntries(NAMES.map((name) => [name, [byId(name).querySelector("span").textContent, false]]));
    showDesk({ ...NOBODY, sentence: `disconnected: ${waits}: ${why}`, title: "disconnected – heed", alone: desk.alone, halted: desk.halted, buttons: gone });
    return true;
  },
});
