"use strict";
// The page of an overseer. It shows what the server sends, and sends what the person presses; it decides nothing itself.

import { announce, byId, enable, enabled, facts, Line, newKey, put } from "./common.js";

const BEAT_MS = 500;
const SHOWN_RISKS = 100;

const NAMES = ["block", "allow", "go", "step", "each", "slower", "faster", "take", "catastrophe", "undo", "react", "hold"];
const NOBODY = { state: "disconnected", sentence: "", title: "heed: watch", calls: false, ended: "", left_s: null, proposal: null, acting: null, holding: null, alone: false, halted: false, recorded: false };
let desk = { ...NOBODY, buttons: {} };
let arrived = 0; // when the desk last told how it stands
let holding = ""; // what holds the block down here: the code of a key, "pointer", or "latch"; "" if nothing
let proposal = null; // the last one that was rendered
let arriving = null; // the one whose frame is still to come
let me = "";
let frameUrl = null;
let actTimer = null;
const riskHistory = []; // risks of the latest proposals, null where nobody looked
const pressed = new Set(); // arrows that are down while the person acts
const unwritten = new Map(); // orders that are not known to be on disk, by key

function received(message) {
  if (message.hello) greeted(message.hello);
  if (message.desk) {
    arrived = performance.now();
    showDesk(message.desk);
  }
  if (message.proposal) {
    arriving = message.proposal;
    if (!arriving.framed) render(arriving);
  }
  if (message.written) written(message.written);
  if (message.undone) announce(`taken back: judgement ${message.undone.id}`);
  if (message.refused) {
    unwritten.delete(message.refused.key);
    announce(message.refused.why);
  }
}

function greeted(hello) {
  me = hello.person;
  byId("title").textContent = hello.title;
  for (const order of unwritten.values()) line.send({ order }); // the same keys: nothing is written twice
}

function pictured(blob) {
  const shown = arriving;
  const url = URL.createObjectURL(blob);
  const image = byId("frame");
  image.onload = () => {
    if (frameUrl !== null) URL.revokeObjectURL(frameUrl);
    frameUrl = url;
    render(shown);
  };
  image.src = url;
}

function render(shown) {
  proposal = shown;
  byId("frame").hidden = !shown.framed;
  byId("none").hidden = shown.framed;
  put(byId("words"), shown.words);
  bars(Array.isArray(shown.action) ? shown.action : []);
  counts(shown);
  futures(shown);
  risks(shown);
  requestAnimationFrame(() => {
    line.send({ rendered: shown.number });
    document.body.dataset.proposal = shown.number;
    actLater();
  });
  showDesk(desk);
}

// While the person acts, arrows are the first two axes of a box, digits are choices.
function actLater() {
  clearTimeout(actTimer);
  if (desk.state === "taken over" && mine() && proposal.acts && proposal.acts.low) actTimer = setTimeout(() => act(arrows()), 1000 / desk.rate);
}

function arrows() {
  const { low, high } = proposal.acts;
  const push = (axis, less, more) => (pressed.has(less) ? low[axis] : 0) + (pressed.has(more) ? high[axis] : 0);
  return low.map((_, axis) => (axis === 0 ? push(0, "arrowleft", "arrowright") : axis === 1 ? push(1, "arrowdown", "arrowup") : 0));
}

function act(action) {
  if (proposal !== null) line.send({ order: { do: "act", proposal: proposal.number, key: newKey(), action } });
}

function mine() {
  return desk.acting !== null && desk.acting === me;
}

function bars(values) {
  const box = byId("bars");
  while (box.children.length > values.length) box.lastChild.remove();
  while (box.children.length < values.length) {
    const bar = document.createElement("div");
    bar.className = "bar";
    bar.append(document.createElement("i"));
    box.append(bar);
  }
  values.forEach((value, index) => {
    const share = Math.max(-1, Math.min(1, value)) * 50;
    const fill = box.children[index].firstChild;
    fill.style.setProperty("left", `${Math.min(50, 50 + share)}%`);
    fill.style.setProperty("width", `${Math.abs(share)}%`);
  });
}

function stroke(points) {
  let pen = "M";
  return points.map((point) => {
    if (point === null) { pen = "M"; return ""; }
    const step = `${pen}${point[0]} ${point[1]}`;
    const first = pen === "M";
    pen = "L";
    return first ? `${step}h0` : step; // a point alone is a dot
  }).join("");
}

function path(way, kind, risk) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
  made.setAttribute("d", stroke(way));
  made.setAttribute("class", kind);
  made.style.setProperty("--risk", risk); // the style sheet makes colour and width of it
  return made;
}

// Each on a pale band, so that it is seen on any picture.
function paths(svg, ways, all) {
  svg.replaceChildren(...ways.flatMap((way, index) => [path(way, "under", all[index]), path(way, "way", all[index])]));
}

function futures(shown) {
  const seen = shown.futures;
  const over = seen !== null && seen.over;
  byId("imagined").hidden = seen === null;
  byId("beside").toggleAttribute("hidden", over); // an SVG has no property of that name
  paths(byId("over"), over ? seen.ways : [], over ? seen.risks : []);
  if (seen === null) return;
  paths(byId("beside"), over ? [] : seen.ways, seen.risks);
  const worst = Math.max(...seen.risks);
  const risky = seen.risks.filter((risk) => risk >= worst / 2).length;
  put(byId("imagined-words"), `${seen.ways.length} futures; the worst has a risk of ${Math.round(100 * worst)}%, ${risky} are half as bad or worse`
    + (over ? "" : ` (parts ${seen.axes.map((axis) => axis + 1).join(" and ")} of the state)`));
}

function risks(shown) {
  riskHistory.push(shown.risk);
  if (riskHistory.length > SHOWN_RISKS) riskHistory.shift();
  const first = SHOWN_RISKS - riskHistory.length; // the latest is at the right edge
  byId("risky").hidden = riskHistory.every((risk) => risk === null);
  byId("risks").replaceChildren(path(riskHistory.map((risk, index) => (risk === null ? null : [first + index, 1 - risk])), "way", 1));
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
  byId("words").setAttribute("aria-live", desk.state === "deciding" ? "polite" : "off"); // else it changes too fast to be read out
  for (const [name, [text, on]] of Object.entries(desk.buttons)) {
    const verdict = name === "block" || name === "catastrophe";
    label(name, text, on && (name !== "allow" || rendered) && (!verdict || proposal !== null));
  }
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

function running() {
  return desk.state === "watching" || desk.state === "deciding";
}

function howToAct() {
  const acts = proposal === null ? null : proposal.acts;
  if (acts && acts.choices) return `You act: ${acts.choices.map((name, index) => `${index} ${name}`).join(", ")}`;
  if (acts && acts.low) {
    const axes = acts.axes || acts.low.map((_, axis) => [`axis ${axis + 1} less`, `axis ${axis + 1} more`]);
    const [first, second] = axes;
    return `You act with the arrows: left ${first[0]}, right ${first[1]}${second ? `, down ${second[0]}, up ${second[1]}` : ""}; no key, no push`;
  }
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
  if (order) announce(`${{ block: "blocked", allow: "let pass", catastrophe: "catastrophe" }[order.do]}: judgement ${note.id} is on disk`);
  document.body.dataset.written = note.id;
}

function judge(verdict) {
  if (proposal === null || byId("calibration").open) return;
  const order = { do: verdict, proposal: proposal.number, key: newKey() };
  if (desk.recorded) unwritten.set(order.key, order); // else nobody says when it is on disk
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
  take: () => line.send({ order: { do: desk.state === "taken over" ? "pause" : "take" } }),
  catastrophe: () => judge("catastrophe"),
  undo: () => line.send({ order: { do: "undo" } }),
  react: calibrate,
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

// At once: what is proposed is blocked, and the agent waits.
function panic() {
  if (enabled(byId("block"))) DOES.block();
  if (enabled(byId("go")) && desk.state !== "paused") line.send({ order: { do: "pause" } });
}

const KEYS = { b: "block", a: "allow", " ": "go", s: "step", e: "each", "-": "slower", "+": "faster", "=": "faster",
  t: "take", c: "catastrophe", u: "undo", r: "react" };

// Ten times the field lights up after a wait that cannot be foreseen; what counts is the median.
function calibrate() {
  if (running()) line.send({ order: { do: "pause" } }); // nothing passes behind the window
  const dialog = byId("calibration");
  const target = byId("target");
  const times = [];
  let lit = 0;
  let timer = null;
  const show = (on) => {
    target.dataset.lit = String(on);
    target.textContent = on ? "now" : "wait";
  };
  const next = () => {
    show(false);
    lit = 0;
    timer = setTimeout(() => {
      show(true);
      requestAnimationFrame((now) => { lit = now; });
    }, 800 + 1600 * Math.random());
  };
  const hit = () => {
    if (lit === 0) { byId("measured").textContent = "too early: wait until it is red"; return; }
    times.push((performance.now() - lit) / 1000);
    byId("measured").textContent = `${times.length} of 10: ${Math.round(1000 * times[times.length - 1])} ms`;
    if (times.length < 10) { next(); return; }
    const median = times.sort((a, b) => a - b)[5];
    line.send({ order: { do: "react", action: [median] } });
    byId("measured").textContent = `You react in ${Math.round(1000 * median)} ms. Blocks count from there.`;
    show(false);
    lit = 0;
  };
  const keyed = (event) => {
    if (event.key.toLowerCase() !== "b" || event.repeat) return;
    event.preventDefault();
    hit();
  };
  dialog.addEventListener("keydown", keyed);
  target.onclick = hit;
  byId("close").onclick = () => dialog.close();
  dialog.addEventListener("close", () => { clearTimeout(timer); dialog.removeEventListener("keydown", keyed); }, { once: true });
  dialog.showModal();
  next();
}

for (const [name, does] of Object.entries(DOES)) {
  byId(name).addEventListener("click", (event) => {
    if (enabled(event.currentTarget) && (name !== "hold" || event.detail === 0)) does();
    if (event.detail > 0) event.currentTarget.blur(); // clicked, not pressed by key: Space is to pause, not to press it again
  });
}
document.addEventListener("keydown", (event) => {
  if (byId("calibration").open) return;
  const key = event.key.toLowerCase();
  if (desk.state === "taken over" && mine()) {
    if (key.startsWith("arrow")) { pressed.add(key); event.preventDefault(); return; }
    if (/^[0-9]$/.test(key) && proposal !== null && proposal.acts && proposal.acts.choices && Number(key) < proposal.acts.choices.length) {
      act(proposal.acts.start + Number(key));
      return;
    }
  }
  if (key === "escape") { event.preventDefault(); panic(); return; }
  if (key === "h" && !event.ctrlKey && !event.altKey && !event.metaKey) { event.preventDefault(); if (!event.repeat) grip(event.code); return; }
  const name = KEYS[key];
  if (name === undefined || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === " " && event.target instanceof HTMLButtonElement) return; // the browser presses that button itself
  event.preventDefault();
  if (enabled(byId(name))) DOES[name]();
});
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
setInterval(() => { if (desk.left_s !== null) count(); }, 250);
setInterval(() => line.send({}), BEAT_MS);
const line = new Line("/watch", {
  received,
  pictured,
  lost: (why) => {
    holding = ""; // nobody holds what is not heard: the desk lets go as well
    if (desk.ended) return false;
    const waits = desk.alone && !desk.halted ? "the agent goes on by itself" : "the agent waits";
    const gone = Object.fromEntries(NAMES.map((name) => [name, [byId(name).querySelector("span").textContent, false]]));
    showDesk({ ...NOBODY, sentence: `disconnected: ${waits}: ${why}`, title: "disconnected – heed", alone: desk.alone, halted: desk.halted, buttons: gone });
    return true;
  },
});
