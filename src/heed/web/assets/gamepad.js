"use strict";
// A gamepad in place of keys, where the browser has one: its standard layout, looked at once a frame while it is in view.

const BUTTONS = { 0: "allow", 1: "block", 3: "take", 9: "go" };
const HOLD = 2;
const TILTED = 0.5;

// `press` gets a button's name as it goes down; `grip` and `loose` are the ends of a held block; `tilt` gets the arrows
// that the left stick and the cross stand for, whenever they change.
export function gamepad({ press, grip, loose, tilt }) {
  let down = new Set();
  let tilted = "";
  const look = () => {
    const pad = [...navigator.getGamepads()].find((each) => each && each.mapping === "standard");
    const now = new Set(pad ? pad.buttons.flatMap((button, index) => (button.pressed ? [index] : [])) : []);
    for (const index of now) {
      if (down.has(index)) continue;
      if (index === HOLD) grip();
      else if (index in BUTTONS) press(BUTTONS[index]);
    }
    if (down.has(HOLD) && !now.has(HOLD)) loose();
    down = now;
    const [x, y] = pad ? pad.axes : [0, 0];
    const arrows = Object.entries({
      arrowleft: x < -TILTED || now.has(14), arrowright: x > TILTED || now.has(15),
      arrowup: y < -TILTED || now.has(12), arrowdown: y > TILTED || now.has(13),
    }).filter(([, on]) => on).map(([name]) => name);
    if (arrows.join() !== tilted) tilt(arrows);
    tilted = arrows.join();
    requestAnimationFrame(look);
  };
  look();
}
