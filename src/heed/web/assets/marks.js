"use strict";
// The moments that people marked in this run, latest first.

import { byId, element } from "./common.js";

export function showMarks(marks) {
  byId("marked").hidden = marks.length === 0;
  byId("marks").replaceChildren(...[...marks].reverse().map(({ person, at, episode, step, note }) =>
    element("li", `${new Date(at).toLocaleTimeString()}, ${person}: episode ${episode + 1}, step ${step + 1}${note ? `: ${note}` : ""}`)));
}
