"use strict";
// The proposed action, drawn onto the picture by its world: arrows that push, and flames of engines that burn.

import { byId } from "./common.js";

// In hundredths of the picture's longer side.
const SHAFT = 0.5;
const HEAD = { length: 3.2, width: 1.7 };
const FLAME = 1.3;

// Draw shapes whose ends are shares of a picture so many pixels wide and high.
export function drawAction(shapes, width, height) {
  const svg = byId("action");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const unit = Math.max(width, height) / 100;
  svg.replaceChildren(...shapes.flatMap(({ kind, start, end }) => {
    const [from, to] = [start, end].map(([x, y]) => [x * width, y * height]);
    const d = kind === "flame" ? flame(from, to, unit) : arrow(from, to, unit);
    return ["outline", kind].map((name) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", "path");
      made.setAttribute("d", d);
      made.setAttribute("class", name);
      Object.assign(made.dataset, { start: start.join(), end: end.join() });
      return made;
    });
  }));
}

// Points, each so far along the way from one end to the other and so far beside it.
function along([x, y], [toX, toY], points) {
  const length = Math.hypot(toX - x, toY - y);
  if (length === 0) return [];
  const [ahead, beside] = [[(toX - x) / length, (toY - y) / length], [-(toY - y) / length, (toX - x) / length]];
  return points(length).map(([far, off]) => [x + far * ahead[0] + off * beside[0], y + far * ahead[1] + off * beside[1]].map((value) => value.toFixed(2)).join(" "));
}

// A short arrow is all head.
function arrow(from, to, unit) {
  const outline = along(from, to, (length) => {
    const head = Math.min(HEAD.length * unit, length);
    const [wide, thin] = [HEAD.width * unit * head / (HEAD.length * unit), SHAFT * unit];
    return [[0, -thin], [length - head, -thin], [length - head, -wide], [length, 0], [length - head, wide], [length - head, thin], [0, thin]];
  });
  return outline.length > 0 ? `M${outline.join("L")}Z` : "";
}

function flame(from, to, unit) {
  const points = along(from, to, (length) => [[0, -FLAME * unit], [0, FLAME * unit], [length * 0.5, FLAME * unit], [length, 0], [length * 0.5, -FLAME * unit]]);
  if (points.length === 0) return "";
  const [left, right, bulge, tip, other] = points;
  return `M${left}L${right}Q${bulge} ${tip}Q${other} ${left}Z`;
}
