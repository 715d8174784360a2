// The index page: a trained network sampling in the reader's browser, or by torch where a kernel stands behind the
// page, twice from the same noise: as it is, and through TDAS' filter or with its predictions put right.
import { courseOf } from "./course.js";
import { kernelRun } from "./kernel.js";
import { bytes, choice, element, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import { addressesOf, fetchedOnce, startNetwork } from "./network.js";
import { WALKS, callsFor, idealsOf, karras, secondRow, twins, walk, zoneGains } from "./sampling.js";
import { columnsThatFit, ownFiles, paintImages } from "./strips.js";

const DECIDE = ["sampler", "steps", "lam", "r", "seed", "label", "second"]; // what a run depends on; how it is shown does not matter
const TRAITS = [...DECIDE, "view"];
const [ANY, EACH] = [-1, -2]; // in place of a class
const END = Math.SQRT1_2; // the highest frequency of an image, in cycles per pixel

/** The noise level of every network call of a run. */
export function levelsByCall(name, levels) {
  const steps = levels.slice(0, -1);
  return WALKS[name].twice ? steps.flatMap((level, k) => (k ? [level, level] : [level])) : steps;
}

function render({ model, el }) {
  const { shape, classes, kind, highest, lowest, rho, rows, file, megabytes, levels: measured, ideals: tables } = model.get("setting");
  const [channels, size] = shape;
  const half = rows * channels * size * size; // numbers in one row of images
  const ideals = tables ? idealsOf(new Float32Array(bytes(model.get("powers")).slice().buffer), measured, tables, channels * size * size) : [];
  const home = ownFiles();
  const root = element("div", { class: "fs-lab", "data-lab": "sampling" });
  const on = stage(model, root, TRAITS, draw);
  const two = (v) => v.toFixed(2);

  const network = fetchedOnce(
    () =>
      startNetwork(addressesOf(home, file), (arrived, starting) => {
        const share = Math.min(arrived / 1e6 / megabytes, 1);
        if (starting) course.arriving("starting the network");
        else course.arriving(`${(arrived / 1e6).toFixed(1)} of ${megabytes} MB are here`, share);
      }),
    () => on.paint(),
  );
  const chosen = () => Object.fromEntries(DECIDE.map((name) => [name, model.get(name)]));
  const corrects = ({ second }) => second === "corrected";
  const noiseOf = (now) => twins(now.seed, half, size, zoneGains(size, corrects(now) ? 1 : now.lam, now.r));
  const beginning = (now) => ({ i: 0, nfe: 0, level: highest, x: noiseOf(now)().map((z) => highest * z), mean: null, gains: null });

  function browserRun(now) {
    const labels = Array.from({ length: 2 * rows }, (_, k) => (now.label === EACH ? (k % rows) % classes : now.label));
    const { mean, ready } = network.get();
    const ideal = corrects(now) && ideals.at(now.label === ANY ? 0 : -1);
    let gains = null;
    const asked = (x, level) => mean(x, level, labels, [2 * rows, ...shape]);
    const denoise = ideal ? secondRow(asked, half, size, ideal, (last) => (gains = last)) : asked;
    async function* steps() {
      for await (const step of walk(now.sampler, karras(highest, lowest, now.steps, rho), denoise, noiseOf(now))) yield { ...step, gains };
    }
    return { ready, steps: steps(), end() {} };
  }

  const course = courseOf(on, {
    chosen,
    begin: beginning,
    open: (now, complain) => (home ? browserRun(now) : kernelRun(model, complain, now)),
    took: (_, step, seconds) => ({ gains: null, ...step, seconds }),
    broken: network.lose,
  });
  const strips = ["Vanilla", "The remedy"].map((title, row) => {
    const canvas = element("canvas", { class: "fs-strip", role: "img" });
    const words = element("figcaption", {});
    return { title, row, canvas, words, node: element("figure", { class: "fs-figure fs-picture-box" }, canvas, words) };
  });
  const filterSliders = [
    slider(on, model, { name: "lam", label: "Filter: gain λ outside r", min: 0.5, max: 1.5, step: 0.01, format: two }),
    slider(on, model, { name: "r", label: "Filter: radius r (heights)", min: 0, max: 1, step: 0.01, format: two }),
  ];
  const classNames = Array.from({ length: classes }, (_, k) => [k, String(k)]);
  const labels = classes ? [choice(on, model, { name: "label", label: kind, options: [[ANY, "any"], [EACH, "one of each"], ...classNames] })] : [];
  const single = labels.flatMap((node) => [...node.querySelectorAll("input")]).filter(({ dataset }) => Number(dataset.value) >= 0);
  // What power the predictions of one class should have is not known.
  on.listen("second", () => {
    if (!corrects(chosen()) || model.get("label") < 0) return;
    model.set("label", EACH);
    model.save_changes();
  });
  const controls = [
    choice(on, model, { name: "sampler", label: "Sampler", options: Object.entries(WALKS).map(([key, { name }]) => [key, name]) }),
    slider(on, model, { name: "steps", label: "Steps", min: 2, max: 60, step: 1, toTrait: Math.round, format: String }),
    ...(tables
      ? [choice(on, model, { name: "second", label: "Second row", options: [["corrected", "its predictions put right"], ["filter", "its noise filtered (TDAS)"]] })]
      : []),
    ...filterSliders,
    ...labels,
    slider(on, model, { name: "seed", label: "Seed of the noise", min: 0, max: 99, step: 1, toTrait: Math.round, format: String }),
    choice(on, model, { name: "view", label: "Show", options: [["state", "what the sampler holds, xₜ"], ["mean", "what the network predicts, x̂₀"]] }),
    resetButton(model, TRAITS),
  ];
  const levelsPlot = plot(on, {
    title: "Noise level at every network call",
    height: 190,
    x: { label: "network calls (NFE)", domain: [1, 120], log: true },
    y: { label: "noise level σ", domain: [lowest / 2, 2 * highest], log: true },
    series: [{ key: "levels", name: "this run", style: "fs-b" }],
  });
  const gainPlot = plot(on, {
    title: tables ? "Gains of the second row" : "What the filter does to the noise",
    height: 190,
    x: { label: "frequency (cycles per pixel)", domain: [0, 0.71] },
    y: { label: "gain", domain: tables ? [0.4, 2.1] : [0.4, 1.6] },
    series: [{ key: "vanilla", name: "vanilla", style: "fs-b" }, { key: "filtered", name: tables ? "second row" : "filtered", style: "fs-a" }],
  });
  const summary = summaryLine(on);
  root.append(
    course.node,
    element("div", { class: "fs-strips" }, ...strips.map(({ node }) => node)),
    ...summary.nodes,
    element("div", { class: "fs-controls" }, ...controls),
    element("div", { class: "fs-plots" }, levelsPlot.node, gainPlot.node),
  );
  el.append(root);
  const fitting = columnsThatFit(on, root, rows);
  on.onLeave(network.lose);

  function draw() {
    const now = chosen();
    const held = course.follow();
    const { sampler, steps, lam, r } = now;
    const { i, nfe, level, seconds } = held;
    const calls = callsFor(sampler, steps);
    const prediction = model.get("view") === "mean" && held.mean;
    const [values, noise] = prediction ? [held.mean, 0] : [held.x, level];
    for (const { canvas, row } of strips) {
      paintImages(canvas, values, { count: rows, columns: fitting.columns, channels, size, level: noise, first: row * rows });
    }
    const what = i === 0 ? "the start" : i === steps ? "the finished images" : `${prediction ? "the prediction" : "the state"} after step ${i} of ${steps}`;
    caption(strips[0], `noise z, as it is drawn; here ${what}.`);
    const where = WALKS[sampler].injects ? "start and all injected noise" : "the start alone, as this sampler injects no noise";
    const right = corrects(now);
    if (right) caption(strips[1], `the same draws, every prediction multiplied by one gain per ring of frequencies; here ${what}.`, "Put right");
    else caption(strips[1], `M z, the same draws through TDAS’ filter (${where}); here ${what}.`, "Filtered");
    for (const node of filterSliders) node.hidden = right;
    for (const input of single) input.disabled = right;

    const ys = levelsByCall(sampler, karras(highest, lowest, steps, rho));
    const xs = ys.map((_, k) => k + 1);
    levelsPlot.update({ levels: [xs, ys] }, nfe || null, `${calls} calls from ${highest} down to ${lowest}.`);
    const edge = Math.min(r * END, END);
    const gains = right ? [held.gains ? held.gains.map((_, k) => k / (2 * size)) : [0, END], held.gains ?? [1, 1]] : [[0, edge, edge, END], [1, 1, lam, lam]];
    const told = !right ? `1 up to ${readable(edge)}, then ${two(lam)}.` : held.gains ? `${two(Math.min(...held.gains))} to ${two(Math.max(...held.gains))} at the last call.` : "none yet.";
    gainPlot.update({ vanilla: [[0, END], [1, 1]], filtered: gains }, null, told);

    const cost = home ? network.told("the network is", `fetches the network and its runtime once, ${megabytes} MB`) : "computed by torch, in the kernel";
    course.tell(i ? `step ${i} of ${steps}, ${nfe} of ${calls} calls, σ = ${readable(level)}` : cost, i / steps);
    const status = {
      idle: `Press Sample, and ${2 * rows} images appear step by step.`,
      loading: "The network is on its way.",
      running: "Sampling.",
      done: `Done in ${readable(seconds ?? 0)} s, ${readable((1000 * (seconds ?? 0)) / (2 * rows * calls))} ms per image and call.`,
      stopped: `Stopped after step ${i}.`,
      failed: `The network could not be run: ${course.trouble}.`,
    }[course.phase];
    const same = right ? "predictions of the second row get the power they have on real noisy images" : lam === 1 ? "the filter is off (λ = 1)" : `noise beyond r = ${two(r)} of the height times λ = ${two(lam)}`;
    summary.say(`${WALKS[sampler].name}: ${steps} steps, ${calls} network calls (NFE) for each image; ${same}. ${status}`);
    Object.assign(root.dataset, { phase: course.phase, step: i, nfe, seconds: seconds ?? 0 });
  }

  function caption({ title: own, canvas, words }, text, title = own) {
    words.replaceChildren(element("strong", { text: title }), `: ${text}`);
    canvas.setAttribute("aria-label", `${title}: ${text}`);
  }

  on.paint();
  return on.leave;
}

export default { render };
