// Chapter 01 and the gallery: what a trained network predicts at every step of a sampler. Nothing is computed here.
import { choice, element, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";

/** Mean of the logarithms between two shares of the list, as a factor. */
export function factor(values, from, to) {
  const part = values.slice(Math.floor(from * values.length), Math.ceil(to * values.length));
  return Math.exp(part.reduce((sum, v) => sum + Math.log(v), 0) / part.length);
}

function render({ model, el }) {
  const runs = model.get("runs");
  const names = model.get("names");
  const steps = runs[names[0]].level.length;
  const root = element("div", { class: "fs-lab", "data-lab": "steps" });
  const traits = names.length > 1 ? ["network", "step"] : ["step"];
  const on = stage(model, root, traits, draw);
  const controls = [
    slider(on, model, { name: "step", label: "Step", min: 1, max: steps, step: 1, toTrait: Math.round, format: (k) => `${k} of ${steps}` }),
    ...(names.length > 1 ? [choice(on, model, { name: "network", label: "Network", options: names.map((name) => [name, name]) })] : []),
    resetButton(model, traits),
  ];
  const strip = (caption) => {
    const image = element("img", { class: "fs-strip" });
    return { image, node: element("figure", { class: "fs-figure fs-picture-box" }, image, element("figcaption", { text: caption })) };
  };
  const noisy = strip("what the sampler holds, xₜ");
  const clean = strip("what the network says the image will be, x̂₀");
  const share = plot(on, {
    title: "How much of each frequency is there",
    x: { label: "frequency (cycles per pixel)", domain: [0, 0.5] },
    y: { label: "power of x̂₀ over that of the end", domain: [0.001, 3], log: true },
    series: [
      { key: "end", name: "the finished images", style: "fs-faint" },
      { key: "half", name: "half-way through the steps", style: "fs-b" },
      { key: "now", name: "at this step", style: "fs-a" },
    ],
  });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-controls" }, ...controls),
    ...summary.nodes,
    element("div", { class: "fs-strips" }, noisy.node, clean.node),
    element("div", { class: "fs-plots" }, share.node),
  );
  el.append(root);

  function draw() {
    const run = runs[model.get("network")];
    const k = model.get("step") - 1;
    const now = run.share[k];
    noisy.image.src = run.noisy[k];
    clean.image.src = run.clean[k];
    const [low, high] = [factor(now, 0, 0.25), factor(now, 0.75, 1)];
    const level = readable(run.level[k]);
    noisy.image.alt = `Six noisy images, noise over signal ${level}`;
    clean.image.alt = `The six predictions of the finished images at step ${k + 1}`;
    const percent = (v) => `${Math.round(100 * v)} %`;
    const half = run.share[Math.ceil(steps / 2) - 1];
    share.update(
      { end: [[0, 0.5], [1, 1]], half: [run.frequency, half], now: [run.frequency, now] }, null,
      `Lowest quarter ${percent(low)}, highest quarter ${percent(high)}.`,
    );
    summary.say(
      `Step ${k + 1} of ${steps}, noise over signal σ/α = ${level}. The prediction holds ${percent(low)} of the final power ` +
        `in the lowest quarter of frequencies and ${percent(high)} in the highest.`,
    );
  }

  on.paint();
  return on.leave;
}

export default { render };
