// Chapter 10: the inputs of a two-step generator between two sets of them, each on a slider of its own, in the browser or
// by torch where a kernel stands behind the page. What the first step draws is shown beside what the last one makes of it.
import { kernelRun } from "./kernel.js";
import { choice, element, gaussians, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import { addressesOf, startNetwork } from "./network.js";
import { between, cut, drawingWalk, needed } from "./semantic.js";
import { columnsThatFit, ownFiles, paintImages } from "./strips.js";

const MIXED = { semantic: "z_T, semantic vector", start: "x_T, start", latent: "z, latent noise", posterior: "noise of the posterior" };
const OTHER = 50; // how far the seed of the second set is from that of the first

function render({ model, el }) {
  const setting = model.get("setting");
  const { shape, latent, steps, count, ends, directions, file, megabytes } = setting;
  const [channels, size] = shape;
  const pixels = channels * size * size;
  const kinds = Object.keys(MIXED).filter((kind) => ends || kind !== "semantic");
  const named = Object.keys(directions);
  const traits = [...kinds, ...(named.length ? ["direction", "reach"] : []), "seed"];
  const root = element("div", { class: "fs-lab", "data-lab": "semantic" });
  const on = stage(model, root, traits, draw);
  const home = ownFiles();
  const percent = (v) => `${Math.round(100 * v)} %`;

  const button = element("button", { type: "button", class: "fs-go", text: "Generate", onclick: begin });
  const progress = element("progress", { class: "fs-progress", "aria-label": "Progress of the download", max: 1, value: 0 });
  const note = element("span", { class: "fs-note" });
  const strips = ["First step", "Last step"].map((title) => {
    const canvas = element("canvas", { class: "fs-strip", role: "img" });
    const words = element("figcaption", {});
    return { title, canvas, words, node: element("figure", { class: "fs-figure fs-picture-box" }, canvas, words) };
  });
  const controls = [
    ...kinds.map((name) => slider(on, model, { name, label: `${MIXED[name]}: from A to B`, min: 0, max: 1, step: 0.01, format: percent })),
    ...(named.length
      ? [
          choice(on, model, { name: "direction", label: "Move z_T towards", options: [["none", "nothing"], ...named.map((name) => [name, name])] }),
          slider(on, model, { name: "reach", label: "How far, in typical lengths", min: -1, max: 1, step: 0.01, format: (v) => v.toFixed(2).replace("-", "−") }),
        ]
      : []),
    slider(on, model, { name: "seed", label: "Seed of A; B has another", min: 0, max: OTHER - 1, step: 1, toTrait: Math.round, format: String }),
    resetButton(model, traits),
  ];
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-actions" }, button, progress, note),
    element("div", { class: "fs-strips" }, ...strips.map(({ node }) => node)),
    ...summary.nodes,
    element("div", { class: "fs-controls" }, ...controls),
  );
  el.append(root);
  const chosen = () => Object.fromEntries(traits.map((name) => [name, model.get(name)]));
  const fitting = columnsThatFit(on, root, count);
  let gone = false;
  on.onLeave(() => {
    gone = true;
    running?.end();
    network?.end();
  });

  const pixelsOf = (text) => Float32Array.from(atob(text), (byte) => byte.charCodeAt(0) / 255);
  let held = { first: pixelsOf(setting.shown.first), last: pixelsOf(setting.shown.last), ms: 0 };
  const atFirst = JSON.stringify(chosen()); // what the page brings pictures of
  let heldKey = "";
  let live = false; // from the button on every move of a slider draws anew
  let running = null;
  let network = null;
  let phase = "idle"; // loading, running, done, failed
  let trouble = "";
  let warned = ""; // of a kernel that does not answer

  function inputsOf(now) {
    const sets = [now.seed, now.seed + OTHER].map((seed, k) => ({
      ...cut(gaussians(needed({ ...setting, pixels }), seed), { ...setting, pixels }),
      semantic: ends && Float32Array.from(ends[k]),
    }));
    const direction = now.direction && now.direction !== "none" ? directions[now.direction] : null;
    return between(...sets, now, setting, direction, now.reach);
  }

  function browserRun(now) {
    network ??= startNetwork(addressesOf(home, file), (arrived) => {
      if (phase !== "loading") return;
      progress.value = Math.min(arrived / 1e6 / megabytes, 1);
      note.textContent = `${(arrived / 1e6).toFixed(1)} of ${megabytes} MB are here`;
    });
    const { call, ready } = network;
    const step = ({ x, z, noise, t }) =>
      call({
        x: ["float32", x, [count, ...shape]],
        z: ["float32", z, [count, latent]],
        noise: ["float32", noise, [count, ...shape]],
        step: ["int32", new Int32Array(count).fill(t), [count]],
      });
    return { ready, steps: drawingWalk(step, inputsOf(now), { ...setting, pixels }), end() {} };
  }

  function begin() {
    if (warned) {
      running?.end();
      warned = "";
      return;
    }
    live = true;
    if (phase === "failed") heldKey = "";
    if (!running) make();
  }

  /** Nobody answers: the button comes back, to give up with. */
  function warn(words) {
    warned = words;
    on.paint();
  }

  /** One run to its end. A slider that moves meanwhile is followed afterwards, so that no queue builds up. */
  async function make() {
    const now = chosen();
    const mine = JSON.stringify(now);
    try {
      phase = !home || network ? "running" : "loading";
      running = home ? browserRun(now) : kernelRun(model, warn, now);
      on.paint();
      await running.ready;
      phase = "running";
      const began = performance.now();
      const walked = [];
      for await (const step of running.steps) walked.push(step);
      if (!walked.length) throw new Error("it was stopped");
      warned = "";
      held = { first: walked[0].mean, last: walked.at(-1).mean, ms: performance.now() - began };
      heldKey = mine;
      phase = "done";
    } catch (error) {
      phase = "failed";
      live = false;
      trouble = error.message;
      network?.end();
      network = null;
    }
    running = null;
    if (!gone) on.paint();
  }

  function draw() {
    const now = chosen();
    if (live && !running && JSON.stringify(now) !== heldKey) {
      make();
      return;
    }
    const [first, last] = strips;
    for (const [{ canvas }, values] of [[first, held.first], [last, held.last]]) {
      paintImages(canvas, values, { count, columns: fitting.columns, channels, size, level: 0 });
    }
    caption(first, ends ? "what the generator draws from pure noise, told z_T." : "what the generator draws from pure noise.");
    caption(last, `what ${steps > 2 ? `${steps - 1} further steps make` : "the second step makes"} of it.`);
    const hidden = live && !warned;
    if (hidden && document.activeElement === button) root.querySelector("input[type=range]").focus();
    button.hidden = hidden;
    button.textContent = warned ? "Stop" : "Generate";
    progress.hidden = phase !== "loading";
    if (phase !== "loading") {
      note.textContent = warned ? warned : !live ? (home ? `fetches the network and its runtime once, ${megabytes} MB` : "computed by torch, in the kernel") : "";
    }
    const places = kinds.map((kind) => `${MIXED[kind].split(",")[0]} ${percent(now[kind])}`).join(", ");
    const moved = now.direction && now.direction !== "none" ? `; z_T moved by ${readable(now.reach)} towards ${now.direction}` : "";
    const status = {
      idle: `Press Generate, and every slider draws anew.${JSON.stringify(now) === atFirst ? "" : " Until then the images stay as they were."}`,
      loading: "The network is on its way.",
      running: "Drawing.",
      done: `${steps} calls of the generator in ${readable(held.ms)} ms, ${readable(held.ms / count)} ms per image.`,
      failed: `The network could not be run: ${trouble}.`,
    }[phase];
    summary.say(`From A to B: ${places}${moved}. ${status}`);
    Object.assign(root.dataset, { phase, step: phase === "done" ? steps : 0, key: heldKey });
  }

  function caption({ title, canvas, words }, text) {
    words.replaceChildren(element("strong", { text: title }), `: ${text}`);
    canvas.setAttribute("aria-label", `${title}: ${text}`);
  }

  on.paint();
  return on.leave;
}

export default { render };
