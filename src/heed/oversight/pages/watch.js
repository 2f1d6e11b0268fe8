"use strict";
// The page of an overseer. It shows what the server says and sends what the person presses; it decides nothing itself.

const byId = (name) => document.getElementById(name);
const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";
const BEAT_MS = 500;
const RETRY_MS = 1000;

let socket = null;
let desk = { state: "disconnected", why: "" };
let moment = null; // the last one that was drawn
let arriving = null; // the one whose frame is still to come
let judges = false;
let frameUrl = null;
const unwritten = new Map(); // orders that are not known to be on disk, by key

function connect() {
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/watch`);
  socket.binaryType = "blob";
  socket.onopen = () => socket.send(JSON.stringify({ token }));
  socket.onmessage = (event) => (typeof event.data === "string" ? heard(JSON.parse(event.data)) : pictured(event.data));
  socket.onclose = (event) => {
    const refused = event.code === 4401;
    stand({ state: "disconnected", why: refused ? "the token is wrong: open the address that heed printed" : "trying again" });
    if (!refused) setTimeout(connect, RETRY_MS);
  };
}

function send(message) {
  if (socket !== null && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function heard(message) {
  if (message.hello) greeted(message.hello);
  if (message.desk) stand(message.desk);
  if (message.moment) {
    arriving = message.moment;
    if (!arriving.framed) draw(arriving);
  }
  if (message.written) written(message.written);
  if (message.refused) {
    unwritten.delete(message.refused.key);
    say(message.refused.why);
  }
}

function greeted(hello) {
  judges = hello.judges;
  byId("title").textContent = hello.title;
  for (const order of unwritten.values()) send({ order }); // the same keys: nothing is written twice
  stand(desk);
}

function pictured(blob) {
  const told = arriving;
  const url = URL.createObjectURL(blob);
  const image = byId("frame");
  image.onload = () => {
    if (frameUrl !== null) URL.revokeObjectURL(frameUrl);
    frameUrl = url;
    draw(told);
  };
  image.src = url;
}

function draw(told) {
  moment = told;
  byId("frame").hidden = !told.framed;
  byId("none").hidden = told.framed;
  byId("words").textContent = told.words;
  bars(Array.isArray(told.action) ? told.action : []);
  facts(told);
  document.body.dataset.moment = told.number;
  requestAnimationFrame(() => send({ drawn: told.number }));
  stand(desk);
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

function facts(told) {
  const rows = [["phase", told.phase], ["episode", told.episode + 1], ["step", told.step + 1],
    ["risk", told.risk === null ? undefined : `${Math.round(100 * told.risk)}%`], ...Object.entries(told.counts || {})];
  byId("counts").replaceChildren(...rows.filter(([, value]) => value !== undefined).map(([name, value]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const data = document.createElement("dd");
    term.textContent = name;
    data.textContent = value;
    row.append(term, data);
    return row;
  }));
}

// What every button says and whether it can be pressed follows from the state of the desk alone.
function stand(now) {
  desk = now;
  const running = desk.state === "watching" || desk.state === "deciding";
  const open = judges && running && moment !== null && desk.moment === moment.number;
  const state = byId("state");
  state.dataset.state = desk.state;
  state.textContent = spoken();
  label("block", running ? "Block this action" : "Block (nothing runs)", open);
  label("allow", moment !== null && moment.asked ? "Let it pass: it asks you" : "Let it pass", open);
  label("go", running ? "Pause" : "Go on", judges && desk.state !== "disconnected");
  label("step", "One step", judges && desk.state !== "disconnected");
  label("each", desk.state === "deciding" ? "Let them pass by themselves" : "Decide on each", judges && desk.state !== "disconnected");
  label("slower", "Slower", judges);
  label("faster", "Faster", judges);
  label("hold", desk.holding ? "Let go: everything is blocked" : "Hold to block", judges && running);
  byId("hold").setAttribute("aria-pressed", String(Boolean(desk.holding)));
}

function spoken() {
  const words = {
    watching: `watching: an action passes after ${desk.rate >= 1 ? `1/${desk.rate}` : 1 / desk.rate} s in view`,
    deciding: "deciding: every action waits for you",
    paused: "paused",
    "taken over": `taken over by ${desk.acting}`,
    disconnected: "disconnected: the agent waits",
  };
  return words[desk.state] + (desk.why ? `: ${desk.why}` : "");
}

function label(name, text, enabled) {
  const button = byId(name);
  button.querySelector("span").textContent = text;
  button.disabled = !enabled;
}

function say(text) {
  byId("said").textContent = text;
}

function written(note) {
  const order = unwritten.get(note.key);
  unwritten.delete(note.key);
  if (order) say(`${order.do === "block" ? "blocked" : "let pass"}: judgement ${note.id} is on disk`);
  document.body.dataset.written = note.id;
}

function judge(verdict) {
  if (moment === null) return;
  const order = { do: verdict, moment: moment.number, key: crypto.randomUUID() };
  unwritten.set(order.key, order);
  send({ order });
}

const DOES = {
  block: () => judge("block"),
  allow: () => judge("allow"),
  go: () => send({ order: { do: desk.state === "watching" || desk.state === "deciding" ? "pause" : "go" } }),
  step: () => send({ order: { do: "step" } }),
  each: () => send({ order: { do: desk.state === "deciding" ? "go" : "each" } }),
  slower: () => send({ order: { do: "slower" } }),
  faster: () => send({ order: { do: "faster" } }),
  hold: () => send({ order: { do: desk.holding ? "loose" : "hold" } }),
};
const KEYS = { b: "block", a: "allow", " ": "go", s: "step", e: "each", "-": "slower", "+": "faster", "=": "faster", h: "hold" };

for (const [name, does] of Object.entries(DOES)) byId(name).addEventListener("click", does);
document.addEventListener("keydown", (event) => {
  const name = KEYS[event.key.toLowerCase()];
  if (name === undefined || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === " " && event.target instanceof HTMLButtonElement) return; // the browser presses that button itself
  event.preventDefault();
  if (!byId(name).disabled) DOES[name]();
});
setInterval(() => send({}), BEAT_MS);
connect();
