// Chapter 08: a large network and small ones sampling from the same noise in the reader's browser, with the time that
// each takes; and the gates of the slim one against the noise, as they were measured.
import { courseOf } from "./course.js";
import { kernelRun } from "./kernel.js";
import { choice, element, gaussians, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import { fetchedOnce, startNetworks } from "./network.js";
import { karras, ringPower, walk } from "./sampling.js";
import { columnsThatFit, ownFiles, paintImages } from "./strips.js";

const RUN = ["steps", "seed", "label"]; // what a run depends on; the gates were measured before
const SHOWN = [...RUN, "layer", "noise"];
const BAND_NAMES = ["LL, the mean", "LH", "HL", "HH"];
const LINES = ["fs-a", "fs-b", "fs-c", "fs-d"];

/** The row of a table of rising or falling `times` that is nearest to `at`, by ratio. */
export function nearest(times, at) {
  let best = 0;
  for (let k = 1; k < times.length; k++) {
    if (Math.abs(Math.log(times[k] / at)) < Math.abs(Math.log(times[best] / at))) best = k;
  }
  return best;
}

function render({ model, el }) {
  const { networks, shape, classes, highest, lowest, rho, count, runtime, layers, spectrum } = model.get("setting");
  const [channels, size] = shape;
  const root = element("div", { class: "fs-lab", "data-lab": "slim" });
  const on = stage(model, root, SHOWN, draw);
  const home = ownFiles();
  const megabytes = Math.round((networks.reduce((sum, { bytes }) => sum + bytes, 0) + runtime) / 1e6);
  const measured = Object.values(layers).flatMap(({ times }) => times);
  const [least, most] = [Math.min(...measured), Math.max(...measured)];

  const all = fetchedOnce(
    () => startNetworks(home, networks.map(({ file }) => file), (bytes) => course.arriving(`${(bytes / 1e6).toFixed(0)} MB are here`)),
    () => on.paint(),
  ); // each in a worker of its own
  const chosen = () => Object.fromEntries(RUN.map((name) => [name, model.get(name)]));
  const startOf = ({ seed }) => gaussians(count * channels * size * size, seed);
  const fresh = (now) => {
    const x = Float32Array.from(startOf(now), (z) => highest * z);
    return { i: 0, levels: networks.map(() => highest), x: networks.map(() => x), ms: networks.map(() => []) };
  };

  /** All networks in the browser, one step of each after the other, so that none computes beside another. */
  function browserRun(now) {
    const started = all.get();
    const labels = new Array(count).fill(now.label);
    const levels = karras(highest, lowest, now.steps, rho);
    const noise = () => startOf(now);
    async function* steps() {
      const walks = started.networks.map(({ mean }, k) =>
        walk("ddim", levels, async (x, level) => {
          const begin = performance.now();
          const said = await mean(x, level, labels, [count, ...shape]);
          took[k] = performance.now() - begin;
          return said;
        }, noise),
      );
      const took = [];
      for (let i = 1; i < levels.length; i++) {
        for (const [network, run] of walks.entries()) yield { ...(await run.next()).value, network, ms: took[network] };
      }
    }
    return { ready: started.ready, steps: steps(), end() {} };
  }

  const course = courseOf(on, {
    chosen,
    begin: fresh,
    open: (now, complain) => (home ? browserRun(now) : kernelRun(model, complain, now)),
    took({ i, levels, x, ms }, step) {
      const put = (list, own) => list.map((old, k) => (k === step.network ? own(old) : old));
      return {
        i: step.network === networks.length - 1 ? step.i : i,
        levels: put(levels, () => step.level),
        x: put(x, () => step.x),
        ms: put(ms, (old) => [...old, step.ms]),
      };
    },
    broken: all.lose,
  });
  const strips = networks.map(({ called }) => {
    const canvas = element("canvas", { class: "fs-strip", role: "img" });
    const words = element("figcaption", {});
    return { called, canvas, words, node: element("figure", { class: "fs-figure fs-picture-box" }, canvas, words) };
  });
  const whole = { min: 0, max: 99, step: 1, toTrait: Math.round, format: String };
  const controls = [
    slider(on, model, { ...whole, name: "steps", label: "Steps of DDIM", min: 2, max: 60 }),
    slider(on, model, { ...whole, name: "seed", label: "Seed of the noise" }),
    ...(classes
      ? [choice(on, model, { name: "label", label: "Class", options: [[-1, "any"], ...Array.from({ length: classes }, (_, k) => [k, String(k)])] })]
      : []),
  ];
  const gateControls = [
    choice(on, model, { name: "layer", label: "Layer", options: Object.keys(layers).map((name) => [name, name]) }),
    slider(on, model, {
      name: "noise", label: "Noise σ, in spreads of the data", min: Math.log10(least), max: Math.log10(most), step: 0.01,
      toTrait: (v) => Math.min(Math.max(10 ** v, least), most), toSlider: (v) => Math.log10(v), format: (v) => readable(v),
    }),
    resetButton(model, SHOWN),
  ];
  const gatePlot = plot(on, {
    title: "The gates while images are made, by band",
    x: { label: "noise σ, in spreads of the data", domain: [least, most], log: true },
    y: { label: "gate", domain: [0, 1] },
    series: BAND_NAMES.map((name, k) => ({ key: String(k), name, style: LINES[k] })),
  });
  const powerPlot = plot(on, {
    title: "Power of the images over that of real ones",
    x: { label: "frequency (cycles per pixel)", domain: [0, 0.5] },
    y: { label: "ratio", domain: [0.05, 20], log: true },
    series: [{ key: "one", name: "real images", style: "fs-faint" }, ...networks.map(({ called }, k) => ({ key: String(k), name: called, style: LINES[k] }))],
  });
  const levelPlot = plot(on, {
    title: "Noise at every step",
    x: { label: "network calls (NFE)", domain: [1, 60], log: true },
    y: { label: "noise level σ", domain: [lowest / 2, 2 * highest], log: true },
    series: [{ key: "levels", name: "this run", style: "fs-b" }],
  });
  const summary = summaryLine(on);
  root.append(
    course.node,
    element("div", { class: "fs-strips" }, ...strips.map(({ node }) => node)),
    ...summary.nodes,
    element("div", { class: "fs-controls" }, ...controls),
    element("div", { class: "fs-plots" }, powerPlot.node, levelPlot.node),
    element("div", { class: "fs-controls" }, ...gateControls),
    element("div", { class: "fs-plots" }, gatePlot.node),
  );
  el.append(root);
  const fitting = columnsThatFit(on, root, count);
  on.onLeave(all.lose);

  const middle = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

  function draw() {
    const now = chosen();
    const held = course.follow();
    const { i, levels: noises, x, ms } = held;
    const times = ms.map((values) => (values.length ? middle(values) : null));
    strips.forEach(({ called, canvas, words }, k) => {
      paintImages(canvas, x[k], { count, columns: fitting.columns, channels, size, level: noises[k] });
      const { macs, parameters } = networks[k];
      const cost = `${readable(parameters / 1e6)} million parameters${macs ? `, ${readable(macs / 1e6, 3)} million multiply-adds an image` : ""}`;
      const text = `${cost}${times[k] === null ? "" : `; ${readable(times[k] / count, 3)} ms per image and call here`}.`;
      words.replaceChildren(element("strong", { text: called }), `: ${text}`);
      canvas.setAttribute("aria-label", `${called}: ${i === now.steps ? "finished images" : `the state after step ${i}`}. ${text}`);
    });

    const levels = karras(highest, lowest, now.steps, rho).slice(0, -1);
    levelPlot.update({ levels: [levels.map((_, k) => k + 1), levels] }, i || null, `${now.steps} calls from ${highest} down to ${lowest}.`);
    const [frequency, real] = spectrum;
    const lines = { one: [[0, 0.5], [1, 1]] };
    if (i === now.steps) {
      x.forEach((images, k) => (lines[k] = [frequency, ringPower(images, size).slice(1).map((power, ring) => power / real[ring])]));
    }
    powerPlot.update(lines, null, i === now.steps ? "Drawn." : "Drawn when the images are finished.");

    const { times: at, mean, spread } = layers[model.get("layer")];
    const noise = model.get("noise");
    const place = nearest(at, noise);
    const read = BAND_NAMES.map((name, k) => `${name.split(",")[0]} ${mean[place][k].toFixed(2)} ± ${spread[place][k].toFixed(2)}`);
    gatePlot.update(Object.fromEntries(BAND_NAMES.map((_, k) => [k, [at, mean.map((row) => row[k])]])), noise, `${read.join(", ")}.`);

    const first = home ? all.told("the networks are", `fetches ${networks.length} networks and their runtime once, ${megabytes} MB`) : "computed by torch, in the kernel";
    course.tell(i ? `step ${i} of ${now.steps}` : first, i / now.steps);
    const faster = times.slice(1).map((time, k) => (time === null ? "" : `${networks[k + 1].called} ${readable(times[0] / time)} times as fast as ${networks[0].called}`));
    const status = {
      idle: `Press Sample, and ${count} images of each network appear step by step, from the same noise.`,
      loading: "The networks are on their way.",
      running: "Sampling, one network after the other at every step.",
      done: `Done: ${faster.filter(Boolean).join(", ")}, in this browser and at this size of batch.`,
      stopped: `Stopped after step ${i}.`,
      failed: `The networks could not be run: ${course.trouble}.`,
    }[course.phase];
    summary.say(`DDIM, ${now.steps} steps and as many network calls. ${status} Gates of ${model.get("layer")} at σ = ${readable(noise)}: ${read.join(", ")} (spread over images).`);
    Object.assign(root.dataset, { phase: course.phase, step: i });
  }

  on.paint();
  return on.leave;
}

export default { render };
