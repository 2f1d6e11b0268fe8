// Steps through the snapshots of a figure, and lets each unfold over its steps. The page is whole without it.
for (const player of document.querySelectorAll(".player")) {
  const scenes = [...player.querySelectorAll(".scene")];
  const controls = player.querySelector(".controls");
  const [which, when] = controls.querySelectorAll("input");
  const [whichText, whenText] = controls.querySelectorAll("output");
  const play = controls.querySelector("[data-play]");
  const lines = scenes.map((scene) =>
    [...scene.querySelectorAll("polyline")].map((line) => ({
      line,
      from: Number(line.dataset.from),
      points: line.getAttribute("points").split(" "),
    })));
  let shown = 0;
  let timer = null;

  const trim = (scene, step) => {
    for (const { line, from, points } of lines[scene]) {
      line.setAttribute("points", points.slice(0, Math.max(0, step - from + 1)).join(" "));
    }
  };
  const draw = () => {
    trim(shown, Infinity);
    shown = Number(which.value) - 1;
    trim(shown, Number(when.value));
    scenes.forEach((scene, index) => scene.classList.toggle("shown", index === shown));
    whichText.value = `${which.value} of ${which.max}`;
    whenText.value = `${when.value} of ${when.max}`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    play.textContent = "play";
  };
  const go = (by) => {
    stop();
    which.value = Number(which.value) + by;
    when.value = when.max;
    draw();
  };
  let waited = 0;
  const tick = () => {
    if (when.value !== when.max) {
      when.value = Number(when.value) + 1;
      waited = 0;
    } else if (++waited > 9) {
      if (which.value === which.max) return stop();
      which.value = Number(which.value) + 1;
      when.value = 0;
    }
    draw();
  };
  const toggle = () => {
    if (timer !== null) return stop();
    if (when.value === when.max) when.value = 0;
    play.textContent = "pause";
    timer = setInterval(tick, 110);
    draw();
  };

  for (const button of controls.querySelectorAll("[data-go]")) {
    button.addEventListener("click", () => go(Number(button.dataset.go)));
  }
  play.addEventListener("click", toggle);
  for (const input of [which, when]) {
    input.addEventListener("input", () => {
      stop();
      draw();
    });
  }
  player.addEventListener("keydown", (event) => {
    if (event.target !== player) return; // buttons and sliders have keys of their own
    const keys = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), " ": toggle };
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  addEventListener("beforeprint", () => trim(shown, Infinity));
  addEventListener("afterprint", draw);
  player.classList.add("live");
  controls.hidden = false;
  draw();
}
