"use strict";
// What all pages share: the token of the address, the line to the server, keys that no other page makes.

const RETRY_MS = 1000;
const WRONG = "the token is wrong: open the address that heed printed";
const ENDED = "this login was ended: ask whoever runs heed for a new address";
const UNKNOWN = "this page sent what the server does not understand: reload it";
const LONE = /[\ud800-\udfff]/gu; // half a character, as a text that was cut ends in: no server takes it

export const byId = (name) => document.getElementById(name);
export const token = new URLSearchParams(location.hash.slice(1)).get("token") || "";

// A line to the server that comes back by itself. `received` gets each message, `pictured` each picture; `lost` gets
// the reason why the line is gone, and answers whether it is to be tried again.
export class Line {
  constructor(path, { received, pictured, lost }) {
    Object.assign(this, { path, received, pictured, lost, socket: null });
    this.open();
  }

  open() {
    this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${this.path}`);
    this.socket.binaryType = "blob";
    this.socket.onopen = () => this.send({ token });
    this.socket.onmessage = ({ data }) => (typeof data === "string" ? this.received(JSON.parse(data)) : this.pictured(data));
    this.socket.onclose = (event) => {
      const refused = { 4400: UNKNOWN, 4401: WRONG, 4403: ENDED }[event.code];
      const again = this.lost(refused || "trying again");
      if (!refused && again) setTimeout(() => this.open(), RETRY_MS);
    };
  }

  get connected() {
    return this.socket.readyState === WebSocket.OPEN;
  }

  send(message) {
    const whole = (_, value) => (typeof value === "string" ? value.replace(LONE, "") : value);
    if (this.connected) this.socket.send(JSON.stringify(message, whole));
  }
}

// Why a request was refused with 401, by what the server says of it.
export function loginRefused(detail) {
  return detail === ENDED ? ENDED : WRONG;
}

export function newKey() { // crypto.randomUUID is there on loopback and over TLS only
  const hex = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

export function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

// Names and what they are, as a list of terms.
export function facts(place, rows) {
  place.replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement("div");
    row.append(element("dt", name), element("dd", value));
    return row;
  }));
}

export function announce(text) {
  byId("notice").textContent = text;
}

// Ways to the other pages of this server, with the token behind the #, which browsers send nowhere.
async function ways() {
  const pages = Object.entries(await (await fetch("/pages")).json());
  if (!pages.some(([path]) => path !== location.pathname)) return;
  const nav = document.createElement("nav");
  nav.setAttribute("aria-label", "Pages");
  nav.append(...pages.map(([path, title]) => {
    const way = element("a", title);
    way.href = `${path}#${new URLSearchParams({ token })}`;
    if (path === location.pathname) way.setAttribute("aria-current", "page");
    return way;
  }));
  document.querySelector("header").prepend(nav);
}
ways().catch(() => {}); // the server is gone, and the page says so itself

// Live regions are read out whenever they are written, so only what is new is.
export function put(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

// A button that does nothing now keeps the focus, which one that is `disabled` loses.
export function enable(button, on) {
  button.setAttribute("aria-disabled", String(!on));
}

export function enabled(button) {
  return button.getAttribute("aria-disabled") !== "true";
}
