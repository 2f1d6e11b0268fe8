"use strict";
// Texts as they are shown: as Markdown, from the tree that the server read it as, or as they stand, with words marked.
// Completions are hostile: elements are made of known names alone, and texts are set as text, never as markup.

import { element } from "./common.js";

const TAGS = new Set(["p", "blockquote", "ul", "ol", "li", "pre", "code", "em", "strong", "s", "hr", "table", "thead", "tbody", "tr", "th", "td"]);
const MOST_CELLS = 4e6; // of the table by which two texts are compared word by word

// The elements of a tree. A link is told and not followed: it is somebody else's text that says where it leads.
export function grown(tree) {
  return tree.map((node) => {
    if (typeof node === "string") return document.createTextNode(node);
    const inside = grown(node.in);
    const made = document.createElement(TAGS.has(node.tag) ? node.tag : /^h[1-6]$/.test(node.tag) ? "p" : "span");
    made.append(...inside);
    if (made.tagName === "P" && node.tag !== "p") made.className = "heading";
    if (node.tag === "li" && Number.isInteger(node.value)) made.value = node.value;
    if (node.tag === "a") {
      made.className = "link";
      if (made.textContent !== node.href) made.append(element("span", ` (${node.href})`));
    }
    return made;
  });
}

export function words(text) {
  return text.match(/\s+|[^\s]+/g) || [];
}

// Which words are not in the longest common subsequence of both; null where that would take too long.
export function difference(one, other) {
  let start = 0;
  while (start < one.length && start < other.length && one[start] === other[start]) start += 1;
  let end = 0;
  while (end < one.length - start && end < other.length - start && one[one.length - 1 - end] === other[other.length - 1 - end]) end += 1;
  const [n, m] = [one.length - start - end, other.length - start - end];
  if ((n + 1) * (m + 1) > MOST_CELLS) return null;
  const width = m + 1;
  const longest = new Uint16Array((n + 1) * width); // of what follows both places
  for (let i = n - 1; i >= 0; i -= 1) {
    for (let j = m - 1; j >= 0; j -= 1) {
      longest[i * width + j] = one[start + i] === other[start + j]
        ? longest[(i + 1) * width + j + 1] + 1
        : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  const marks = [one.map((_, index) => index >= start && index < start + n), other.map((_, index) => index >= start && index < start + m)];
  for (let i = 0, j = 0; i < n && j < m;) {
    if (one[start + i] === other[start + j]) {
      marks[0][start + i] = false;
      marks[1][start + j] = false;
      i += 1;
      j += 1;
    } else if (longest[(i + 1) * width + j] >= longest[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return marks;
}
