"use strict";
// What the overseer's page draws of a proposal: bars of its action, numbers where there is no picture, imagined futures,
// and the risk so far.

import { drawAction } from "./action.js";
import { byId, element, put } from "./common.js";

const SHOWN_RISKS = 100;
const LEGIBLE = 64; // numbers that a person can look at
const riskHistory = []; // risks of the latest proposals, null where nobody looked
const seenHistory = []; // what the latest observations were, where no picture is drawn

// What is past is drawn alone: it was part of the lines already.
export function draw(shown, past = false) {
  byId("frame").hidden = !shown.framed;
  byId("none").hidden = shown.framed;
  numbers(shown, past);
  bars(shown.bars);
  const { naturalWidth: width, naturalHeight: height } = byId("frame");
  if (shown.framed) document.body.style.setProperty("--aspect", width / height); // a tall picture is no higher than a wide one
  drawAction(shown.framed ? shown.shapes : [], width, height);
  futures(shown);
  if (!past) risks(shown);
}

// Of each axis: what less of it does, a bar from the middle, what more of it does.
function bars(axes) {
  const box = byId("bars");
  if (box.children.length !== 3 * axes.length) {
    box.replaceChildren(...axes.flatMap(() => {
      const bar = document.createElement("div");
      bar.className = "bar";
      bar.append(document.createElement("i"));
      return [document.createElement("span"), bar, document.createElement("span")];
    }));
  }
  axes.forEach(({ less, more, share }, index) => {
    const [before, bar, after] = [...box.children].slice(3 * index, 3 * index + 3);
    put(before, less);
    put(after, more);
    bar.firstChild.style.setProperty("left", `${Math.min(50, 50 + 50 * share)}%`);
    bar.firstChild.style.setProperty("width", `${50 * Math.abs(share)}%`);
  });
}

// Where no picture is drawn, what the agent observes: names, numbers, and how they came about.
function numbers(shown, past) {
  const flat = [shown.observation].flat(Infinity);
  const seen = flat.every((value) => value === null || typeof value === "number") ? flat : [];
  const legible = !shown.framed && seen.length > 0 && seen.length <= LEGIBLE;
  byId("numbers").hidden = !legible;
  if (shown.framed) return;
  put(byId("none"), legible ? "This environment draws no picture: these are its numbers."
    : "You are blind here: this environment draws no picture, and what it observes is more than can be read.");
  if (!legible) return;
  if (seenHistory.length > 0 && seenHistory[0].length !== seen.length) seenHistory.length = 0;
  if (!past) seenHistory.push(seen);
  if (seenHistory.length > SHOWN_RISKS) seenHistory.shift();
  const body = byId("numbers").tBodies[0];
  if (body.rows.length !== seen.length) body.replaceChildren(...seen.map((_, part) => row(shown.names ? shown.names[part] : `part ${part}`)));
  seen.forEach((value, part) => {
    put(body.rows[part].cells[1], value === null ? "none" : value.toPrecision(3));
    const past = seenHistory.map((each) => each[part]);
    const known = past.filter((each) => each !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const line = past.map((each, index) => (each === null ? null : [index, high > low ? (high - each) / (high - low) : 0.5]));
    body.rows[part].querySelector("path").setAttribute("d", stroke(line));
  });
}

function row(name) {
  const made = document.createElement("tr");
  const head = element("th", name);
  head.scope = "row";
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of [["viewBox", `0 -0.1 ${SHOWN_RISKS} 1.2`], ["preserveAspectRatio", "none"], ["aria-hidden", "true"]]) drawn.setAttribute(key, value);
  drawn.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  const cell = document.createElement("td");
  cell.append(drawn);
  made.append(head, document.createElement("td"), cell);
  return made;
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
    + (over ? "" : ` (parts ${seen.axes.join(" and ")} of the state)`));
}

function risks(shown) {
  riskHistory.push(shown.risk);
  if (riskHistory.length > SHOWN_RISKS) riskHistory.shift();
  const first = SHOWN_RISKS - riskHistory.length; // the latest is at the right edge
  byId("risky").hidden = riskHistory.every((risk) => risk === null);
  byId("risks").replaceChildren(path(riskHistory.map((risk, index) => (risk === null ? null : [first + index, 1 - risk])), "way", 1));
}
