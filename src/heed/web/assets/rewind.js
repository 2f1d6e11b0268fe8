"use strict";
// The last seconds of what this page showed, to be looked at again; the agent's present is elsewhere meanwhile.

import { byId, put } from "./common.js";

const SECONDS = 10;
const MOST = 300; // views
const MOST_BYTES = 32 * 1024 * 1024; // of their pictures

// `shows` gets a past view, its picture's address and its age in words; `looks` whether the past is shown, when that changes.
export class Rewind {
  constructor({ shows, looks }) {
    Object.assign(this, { shows, looks, views: [], bytes: 0, place: null });
    byId("past-slider").addEventListener("input", (event) => this.at(Number(event.target.value)));
    byId("present").addEventListener("click", () => this.close());
    setInterval(() => this.tell(), 250);
  }

  get open() {
    return this.place !== null;
  }

  // The view that is shown, where it is a past one.
  get view() {
    return this.open ? this.views[this.place].shown : null;
  }

  // A view came; what is looked at stays as it is until the present is back.
  keep(shown, blob) {
    if (this.open) return;
    this.views.push({ shown, blob, at: performance.now() });
    this.bytes += blob ? blob.size : 0;
    const old = performance.now() - 1000 * SECONDS;
    while (this.views.length > 1 && (this.views[0].at < old || this.views.length > MOST || this.bytes > MOST_BYTES)) this.drop();
  }

  drop() {
    const { blob } = this.views.shift();
    this.bytes -= blob ? blob.size : 0;
  }

  toggle() {
    if (this.open) this.close();
    else if (this.views.length > 0) {
      this.place = this.views.length - 1;
      byId("past-slider").max = String(this.views.length - 1);
      byId("past").hidden = false;
      document.body.dataset.past = "true";
      this.looks(true);
      this.at(Math.max(0, this.place - 1));
      byId("past-slider").focus();
    }
  }

  close() {
    if (!this.open) return;
    this.place = null;
    byId("past").hidden = true;
    delete document.body.dataset.past;
    this.release();
    byId("past-slider").blur();
    this.looks(false);
  }

  at(place) {
    if (!this.open) return;
    this.place = Math.min(Math.max(0, place), this.views.length - 1);
    byId("past-slider").value = String(this.place);
    const { shown, blob } = this.views[this.place];
    this.release();
    this.url = blob ? URL.createObjectURL(blob) : null;
    this.tell();
    this.shows(shown, this.url);
  }

  release() {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
  }

  tell() {
    if (!this.open) return;
    const { at, shown } = this.views[this.place];
    const age = `${((performance.now() - at) / 1000).toFixed(1)} s ago`;
    put(byId("past-age"), `The past: ${age}`);
    byId("past-slider").setAttribute("aria-valuetext", `${age}, episode ${shown.episode + 1}, step ${shown.step + 1}`);
  }
}
