"use strict";
// The window in which a person measures how fast they react.

import { byId } from "./common.js";

// Ten times the field lights up after a wait that cannot be foreseen; what counts is the median, in seconds.
export function calibrate(measured) {
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
    measured(median);
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
