"use strict";
// What a browser keeps of its person between two visits. A browser may keep nothing: then nothing is there.

const PREFIX = "heed ";

export function keep(name, value) {
  try { localStorage.setItem(PREFIX + name, value); } catch { /* it is full, or forbidden */ }
}

export function kept(name) {
  try { return localStorage.getItem(PREFIX + name); } catch { return null; }
}

// Forget all whose name begins so.
export function forget(begins) {
  try {
    const names = Array.from({ length: localStorage.length }, (_, place) => localStorage.key(place));
    for (const name of names) if (name.startsWith(PREFIX + begins)) localStorage.removeItem(name);
  } catch { /* then nothing was kept */ }
}

// A short mark of a text, by which a changed one is told from it (FNV-1a).
export function digest(text) {
  let hash = 0x811c9dc5;
  for (let place = 0; place < text.length; place += 1) hash = Math.imul(hash ^ text.charCodeAt(place), 0x01000193);
  return `${text.length}-${(hash >>> 0).toString(16)}`;
}
