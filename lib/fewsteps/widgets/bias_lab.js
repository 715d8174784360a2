// Chapter 02: the measured grid of the frequency-bias toy. Nothing is trained in the page.
import { choice, element, plot, resetButton, slider, stage, summaryLine } from "./kit.js";

const BIAS_TRAITS = ["width", "majority", "prediction", "phase", "clip"];
const CLEAN_SHARE = 0.8; // as in fewsteps.experiments.frequency_bias.recovered

/** Whether a signal is the cosine of frequency k: most of its power lies there, at an amplitude near 1. */
export function isCosine(signal, k) {
  const n = signal.length;
  let [real, imaginary, mean] = [0, 0, 0];
  let alternating = 0;
  signal.forEach((v, i) => {
    real += v * Math.cos((2 * Math.PI * k * i) / n);
    imaginary -= v * Math.sin((2 * Math.PI * k * i) / n);
    mean += v / n;
    alternating += ((i % 2 ? -1 : 1) * v) / n;
  });
  const amplitude = (2 / n) * Math.hypot(real, imaginary);
  // Sum of squared amplitudes by Parseval; frequency 0 and the highest one are in the first term twice.
  const power = (2 / n) * signal.reduce((sum, v) => sum + v * v, 0) - mean ** 2 - alternating ** 2;
  return amplitude ** 2 >= CLEAN_SHARE * power && amplitude > 0.5 && amplitude < 1.5;
}

/** Mean and range over seeds, in percent. */
export function inPercent(values) {
  const percent = (v) => Math.round(100 * v);
  const [low, high] = [percent(Math.min(...values)), percent(Math.max(...values))];
  const mean = percent(values.reduce((a, b) => a + b, 0) / values.length);
  return `${mean} % (${low === high ? "the same in all" : `${low} to ${high} %`})`;
}

function render({ model, el }) {
  const { length, widths, samples, seeds, share } = model.get("setting");
  const table = new Map(model.get("rows").map((row) => [row.key.join(), row]));
  const root = element("div", { class: "fs-lab", "data-lab": "bias" });
  const on = stage(model, root, BIAS_TRAITS, draw);
  const controls = [
    slider(on, model, {
      name: "width", label: "Hidden units M", min: 0, max: widths.length - 1, step: 1,
      toTrait: (k) => widths[Math.round(k)], toSlider: (v) => widths.indexOf(v), format: String,
    }),
    choice(on, model, { name: "majority", label: "Frequency of 80 % of the signals", options: [[3, "3 (rare: 5)"], [5, "5 (rare: 3)"]] }),
    choice(on, model, { name: "prediction", label: "The network predicts", options: [["eps", "the noise ε"], ["x0", "the signal x₀"]] }),
    choice(on, model, { name: "phase", label: "Phase of a signal", options: [["fixed", "always 0"], ["random", "random"]] }),
    choice(on, model, { name: "clip", label: "Predicted x₀", options: [[false, "as it is"], [true, "clipped to [−1, 1]"]] }),
    resetButton(model, BIAS_TRAITS),
  ];
  const signals = plot(on, {
    title: "Eight generated signals",
    x: { label: "position", domain: [0, length - 1] }, y: { label: "value", domain: [-2, 2] },
    series: [
      { key: "neither", name: "neither frequency alone", style: "fs-c" },
      { key: "majority", name: "majority frequency", style: "fs-a" },
      { key: "minority", name: "minority frequency", style: "fs-b" },
    ],
  });
  const magnitude = plot(on, {
    title: "Mean magnitude by frequency",
    x: { label: "frequency k (periods per signal)", domain: [0, length / 2] }, y: { label: "mean amplitude", domain: [0, 1.2] },
    series: [{ key: "data", name: "true data", style: "fs-b" }, { key: "made", name: "generated", style: "fs-a" }],
  });
  const recovered = plot(on, {
    title: "Share of signals recovered, by width",
    x: { label: "hidden units M", domain: [10, 2000], log: true }, y: { label: "share of signals", domain: [0, 1] },
    series: [
      { key: "truth", name: "in the data", style: "fs-faint" },
      { key: "majority", name: "majority", style: "fs-a" },
      { key: "minority", name: "minority", style: "fs-b" },
    ],
  });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-controls" }, ...controls),
    ...summary.nodes,
    element("div", { class: "fs-plots" }, signals.node, magnitude.node, recovered.node),
  );
  el.append(root);

  const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
  // Several lines as one, with a gap after each.
  const joined = (lines) => [lines.flatMap(() => [...positions, 0]), lines.flatMap((line) => [...line, NaN])];
  const positions = Array.from({ length }, (_, i) => i);
  const frequencies = Array.from({ length: length / 2 + 1 }, (_, k) => k);

  function draw() {
    const [width, majority, prediction, phase, clip] = BIAS_TRAITS.map((name) => model.get(name));
    const at = (w) => table.get([w, majority, prediction, phase, clip].join());
    const row = at(width);
    const minority = 8 - majority;
    const kinds = { majority: [], minority: [], neither: [] };
    for (const hundredths of row.signals) {
      const signal = hundredths.map((v) => v / 100);
      kinds[isCosine(signal, majority) ? "majority" : isCosine(signal, minority) ? "minority" : "neither"].push(signal);
    }
    const counts = `${kinds.majority.length} majority, ${kinds.minority.length} minority, ${kinds.neither.length} neither.`;
    signals.update(Object.fromEntries(Object.entries(kinds).map(([k, lines]) => [k, lines.length ? joined(lines) : null])), null, counts);
    const truth = frequencies.map((k) => (k === majority ? share : k === minority ? 1 - share : 0));
    magnitude.update({ data: [frequencies, truth], made: [frequencies, row.magnitude] }, null,
      `${row.magnitude[majority].toFixed(2)} at ${majority} and ${row.magnitude[minority].toFixed(2)} at ${minority}.`);
    const [m, r] = [inPercent(row.majority), inPercent(row.minority)];
    const ends = [10, 2000];
    recovered.update({
      truth: [[...ends, NaN, ...ends], [share, share, NaN, 1 - share, 1 - share]],
      majority: [widths, widths.map((w) => mean(at(w).majority))],
      minority: [widths, widths.map((w) => mean(at(w).minority))],
    }, width, `At ${width}: majority ${m}, minority ${r}.`);
    const beyond = row.spread > 1.5 ? ` Some signals diverged: the standard deviation of a network’s output is up to ${row.spread.toPrecision(3)}, that of the data 0.707.` : "";
    summary.say(
      `M = ${width}, ${prediction === "eps" ? "ε" : "x₀"}-prediction, ${phase} phase, ${clip ? "clipped" : "not clipped"}. ` +
        `Mean and range over ${seeds} networks of ${samples} signals: majority (k = ${majority}) recovered in ${m}, ` +
        `80 % in the data; minority (k = ${minority}) in ${r}, 20 % in the data.${beyond}`,
    );
  }

  on.paint();
  return on.leave;
}

export default { render };
