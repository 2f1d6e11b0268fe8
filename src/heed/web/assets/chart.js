"use strict";
// One metric as a small chart: a line with axes, whose values can be read by pointer and by keys.

import { element } from "./common.js";

const WIDTH = 320;
const HEIGHT = 150;
const ROOM = { left: 46, right: 10, top: 8, bottom: 20 };
const SMOOTHED = 0.05; // of the steps, the share that one point is the mean of
const UNITS = [[/^seconds\//, "s"], [/^tokens_per_second$/, "tokens/s"], [/mean_length$/, "tokens"], [/^(kl|entropy)$/, "nats"],
  [/^(catastrophes|blocks|goals)$/, "in the last 1,000 steps"]];

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

// 1234567 as 1.23M, 0.000012 as 1.2e-5, with a true minus sign.
function short(value, digits = 3) {
  if (value === null) return "not finite";
  const size = Math.abs(value);
  const [scale, suffix] = size >= 1e9 || size === 0 ? [1, ""] : size >= 1e6 ? [1e6, "M"] : size >= 1e4 ? [1e3, "k"] : [1, ""];
  const text = size !== 0 && (size < 1e-3 || size >= 1e9) ? value.toExponential(digits - 1).replace(/\.?0+e/, "e")
    : String(Number((value / scale).toPrecision(Math.max(digits, 1 + Math.floor(Math.log10(size / scale || 1)))))) + suffix;
  return text.replaceAll("-", "\u2212");
}

// Round numbers between two others: at least three of them.
function ticks(low, high, parts = 4) {
  const rough = (high - low) / parts;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * power >= rough) * power;
  const first = Math.ceil(low / step - 1e-9);
  const found = Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
  return found.length < 3 && parts < 12 ? ticks(low, high, parts + 1) : found;
}

function decades(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  if (last - first < 1) return ticks(low, high).filter((tick) => tick > 0);
  const by = Math.ceil((last - first + 1) / 5);
  return Array.from({ length: Math.floor((last - first) / by) + 1 }, (_, index) => 10 ** (first + index * by));
}

// The mean of the values around each, by steps, and of its neighbours at least; a gap stays a gap.
function smoothed(steps, values) {
  const reach = (steps[steps.length - 1] - steps[0]) * SMOOTHED / 2;
  let [from, to] = [0, 0];
  return values.map((value, index) => {
    while (to < steps.length && steps[to] <= steps[index] + reach) to += 1;
    while (steps[from] < steps[index] - reach) from += 1;
    if (value === null) return null;
    const around = values.slice(Math.max(0, Math.min(from, index - 1)), Math.max(to, index + 2)).filter((one) => one !== null);
    return around.reduce((sum, one) => sum + one, 0) / around.length;
  });
}

export class Chart {
  constructor(name) {
    Object.assign(this, { name, steps: [], values: [], at: null, smooth: false, logarithmic: false });
    this.unit = (UNITS.find(([pattern]) => pattern.test(name)) || [null, ""])[1];
    this.figure = document.createElement("figure");
    this.figure.className = "chart";
    const caption = document.createElement("figcaption");
    this.value = element("output", "");
    caption.append(element("strong", name), this.value);
    this.field = document.createElement("div");
    this.field.tabIndex = 0;
    this.field.setAttribute("role", "slider");
    this.field.setAttribute("aria-label", `${name}, read step by step`);
    this.svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
    this.field.append(this.svg);
    this.figure.append(caption, this.field);
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.read(null));
    this.field.addEventListener("keydown", (event) => this.key(event));
    this.field.addEventListener("blur", () => this.read(null));
  }

  // Takes points that follow those that it has.
  add({ steps, values }) {
    for (const step of steps) this.steps.push(step);
    for (const value of values) this.values.push(value);
    this.draw();
  }

  set(smooth, logarithmic) {
    Object.assign(this, { smooth, logarithmic });
    this.draw();
  }

  draw() {
    const finite = this.values.filter((value) => value !== null);
    this.log = this.logarithmic && finite.length > 0 && finite.every((value) => value > 0);
    let [low, high] = finite.reduce(([least, most], value) => [Math.min(least, value), Math.max(most, value)], [Infinity, -Infinity]);
    if (finite.length === 0) [low, high] = [0, 1];
    if (low === high) [low, high] = this.log ? [low / 2, high * 2] : [low - (Math.abs(low) / 10 || 1), high + (Math.abs(high) / 10 || 1)];
    const [begin, end] = [this.steps[0], this.steps[this.steps.length - 1]];
    const scale = this.log ? Math.log10 : (value) => value;
    const [bottom, top] = [scale(low), scale(high)];
    this.x = (step) => (end === begin ? (ROOM.left + WIDTH - ROOM.right) / 2
      : ROOM.left + (WIDTH - ROOM.left - ROOM.right) * (step - begin) / (end - begin));
    this.y = (value) => HEIGHT - ROOM.bottom - (HEIGHT - ROOM.top - ROOM.bottom) * (scale(value) - bottom) / (top - bottom);
    this.shown = this.smooth && end > begin ? smoothed(this.steps, this.values) : this.values;
    this.mark = shape("g", { class: "mark" });
    this.svg.replaceChildren(
      ...(this.log ? decades(low, high) : ticks(low, high)).flatMap((tick) => this.rule(tick)),
      ...(end === begin ? [begin] : ticks(begin, end)).map((tick) => this.label(this.x(tick), HEIGHT - 5, short(tick), "middle")),
      ...(this.shown === this.values ? [] : this.lines(this.values, "raw")),
      ...this.lines(this.shown, "line"),
      this.mark,
    );
    this.read(this.at === null ? null : Math.min(this.at, this.steps.length - 1));
  }

  rule(tick) {
    const y = this.y(tick).toFixed(1);
    return [shape("path", { class: "rule", d: `M${ROOM.left} ${y}H${WIDTH - ROOM.right}` }), this.label(ROOM.left - 5, Number(y) + 4, short(tick), "end")];
  }

  label(x, y, text, anchor) {
    const made = shape("text", { x: Math.min(Math.max(x, 4), WIDTH - 12).toFixed(1), y, "text-anchor": anchor });
    made.textContent = text;
    return made;
  }

  // A path that breaks at gaps; a point between two gaps is a dot.
  lines(values, kind) {
    let [path, pen] = ["", "M"];
    const dots = [];
    values.forEach((value, index) => {
      if (value === null) { pen = "M"; return; }
      const [x, y] = [this.x(this.steps[index]).toFixed(1), this.y(value).toFixed(1)];
      path += `${pen}${x} ${y}`;
      if (pen === "M" && (values[index + 1] ?? null) === null) dots.push(shape("circle", { class: `${kind} dot`, cx: x, cy: y, r: 2.5 }));
      pen = "L";
    });
    return [shape("path", { class: kind, d: path }), ...dots];
  }

  // Tells the values at one point, or the last ones.
  read(index) {
    this.at = index;
    const place = index === null ? this.steps.length - 1 : index;
    const [step, value] = [this.steps[place], this.values[place]];
    const mean = this.shown === this.values || this.shown[place] === null ? "" : ` (smooth ${short(this.shown[place])})`;
    const reading = `${short(value, 4)}${mean}${this.unit && value !== null ? ` ${this.unit}` : ""}`;
    this.value.textContent = `${reading} at step ${step.toLocaleString("en")}${this.log ? ", log scale" : ""}`;
    this.field.setAttribute("aria-valuemin", this.steps[0]);
    this.field.setAttribute("aria-valuemax", this.steps[this.steps.length - 1]);
    this.field.setAttribute("aria-valuenow", step);
    this.field.setAttribute("aria-valuetext", `${reading} at step ${step}`);
    if (index === null) { this.mark.replaceChildren(); return; }
    const x = this.x(step).toFixed(1);
    this.mark.replaceChildren(shape("path", { d: `M${x} ${ROOM.top}V${HEIGHT - ROOM.bottom}` }),
      ...(this.shown[place] === null ? [] : [shape("circle", { cx: x, cy: this.y(this.shown[place]).toFixed(1), r: 3.5 })]));
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * WIDTH;
    let best = 0;
    this.steps.forEach((step, index) => { if (Math.abs(this.x(step) - x) < Math.abs(this.x(this.steps[best]) - x)) best = index; });
    this.read(best);
  }

  key(event) {
    const last = this.steps.length - 1;
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -20, PageUp: 20, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.read(null);
    if (by === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.read(Math.min(last, Math.max(0, (this.at === null ? last : this.at) + by)));
  }
}
