// Chapter 07: everything that this book has, on one scoreboard, at equal network calls.
import { choice, element, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import { SAMPLERS, callsOf, relativeW2, stepsFor, zoneMask } from "./law.js";
import { laws } from "./filter_view.js";

const TRAITS = ["nfe", "spectrum", "exponent", "lam", "r"];
const BUDGETS = [5, 7, 10, 14, 20, 30, 50, 70, 100, 140, 200];
const EVERYWHERE = { prior: true, predictor: true, corrector: true };
const ROWS = [
  ["none", "reverse diffusion"],
  ["zone", "with your zone (λ, r)"],
  ["scalar", "with the best scalar"],
  ["gamma", "with γ^(−1/2)"],
  ["ancestral", "VE ancestral"],
  ["analytic", "one variance (Analytic-DDPM)"],
  ["spectral", "a variance per frequency"],
  ["ddim", "DDIM"],
  ["heun", "Heun (EDM)"],
  ["dpmpp_2m", "DPM-Solver++(2M)"],
];

/** The gain in steps of 1 % at which one number on all noise comes closest; `far` is W2 at a gain. */
export function bestGain(far) {
  let [best, least] = [1, Infinity];
  for (let k = 50; k <= 109; k++) {
    const distance = far(k / 100);
    if (distance < least) [best, least] = [k / 100, distance];
  }
  return best;
}

function render({ model, el }) {
  const setting = model.get("setting");
  const measured = model.get("spectra");
  const { size } = setting;
  const root = element("div", { class: "fs-lab", "data-lab": "board" });
  const on = stage(model, root, TRAITS, draw);
  const two = (v) => v.toFixed(2);
  const controls = [
    slider(on, model, {
      name: "nfe", label: "Network calls", min: Math.log10(5), max: Math.log10(200), step: 0.01,
      toTrait: (v) => Math.round(10 ** v), toSlider: Math.log10, format: (v) => String(v),
    }),
    choice(on, model, {
      name: "spectrum", label: "Data", options: [["law", "power law 1/fᵃ"], ...Object.keys(measured).map((k) => [k, measured[k].label])],
    }),
    slider(on, model, { name: "exponent", label: "Exponent a of the power law", min: 0, max: 4, step: 0.05, format: two }),
    slider(on, model, { name: "lam", label: "Your zone: gain λ outside r", min: 0.3, max: 1.5, step: 0.01, format: two }),
    slider(on, model, { name: "r", label: "Your zone: radius r (heights)", min: 0, max: 1, step: 0.01, format: two }),
    resetButton(model, TRAITS),
  ];
  const body = element("tbody");
  const table = element("table", { class: "fs-board" },
    element("caption", { text: "Distance to the data, best first" }),
    element("thead", {}, element("tr", {}, ...["method", "calls", "W₂ over rms"].map((text) => element("th", { scope: "col", text })))),
    body);
  const lines = ["none", "zone", "scalar", "ancestral", "spectral", "dpmpp_2m"].map((key, k) => ({
    key, name: ROWS.find(([name]) => name === key)[1], style: `fs-${"bacedf"[k]}`,
  }));
  const along = plot(on, {
    title: "Distance to the data against network calls",
    x: { label: "network calls (NFE)", domain: [5, 200], log: true }, y: { label: "W₂ over rms", domain: [1e-3, 10], log: true },
    series: lines, height: 320,
  });
  const summary = summaryLine(on);
  root.append(element("div", { class: "fs-controls" }, ...controls), ...summary.nodes, element("div", { class: "fs-plots" }, table, along.node));
  el.append(root);

  const known = laws(setting, measured);
  const grid = known.grid("dct");
  let [of, kept] = [null, new Map()]; // what no slider of the zone changes

  function draw() {
    const [nfe, which, exponent, lam, r] = TRAITS.map((n) => model.get(n));
    const v = known.data("dct", which, exponent);
    if (of !== v) [of, kept] = [v, new Map()];
    const once = (key, make) => {
      if (!kept.has(key)) kept.set(key, make());
      return kept.get(key);
    };
    const w2 = (p) => relativeW2(p, v, grid.count);
    const scaled = (p, gain) => p.map((x) => x * gain * gain); // all noise times a number: so is the output of a linear sampler
    const plain = (key, calls) => once(`${key} ${calls}`, () => known.plain(key, "dct", v, stepsFor(key, calls)));
    const mask = zoneMask(grid.squared, size, lam, r);
    const far = (key, calls) => {
      if (key === "none") return once(`w2 none ${calls}`, () => w2(plain("reverse", calls)));
      if (key === "zone") return w2(known.run("reverse", "dct", v, calls, mask, EVERYWHERE, false));
      if (key === "scalar") return once(`w2 scalar ${calls}`, () => w2(scaled(plain("reverse", calls), bestGain((g) => w2(scaled(plain("reverse", calls), g))))));
      if (key === "gamma") return 0; // exact at the end, by construction
      if (callsOf(key, stepsFor(key, calls)) > calls) return NaN;
      return once(`w2 ${key} ${calls}`, () => w2(plain(key, calls)));
    };
    const found = ROWS.map(([key, name]) => ({ key, name, distance: far(key, nfe) })).filter((row) => Number.isFinite(row.distance));
    found.sort((a, b) => a.distance - b.distance);
    const calls = (key) => (SAMPLERS[key] ? callsOf(key, stepsFor(key, nfe)) : nfe);
    body.replaceChildren(
      ...found.map(({ key, name, distance }) =>
        element("tr", { "data-key": key, class: key === "zone" ? "fs-mine" : undefined },
          element("th", { scope: "row", text: name }), element("td", { text: String(calls(key)) }), element("td", { text: readable(distance) }))),
    );
    along.update(Object.fromEntries(lines.map(({ key }) => [key, [BUDGETS, BUDGETS.map((n) => far(key, n))]])), nfe);
    const place = found.findIndex(({ key }) => key === "zone") + 1;
    summary.say(`${nfe} network calls. Your zone comes ${place} of ${found.length}: W₂ over the data’s rms ${readable(far("zone", nfe))}, without a filter ${readable(far("none", nfe))}.`);
    root.dataset.board = JSON.stringify(Object.fromEntries(found.map(({ key, distance }) => [key, distance])));
  }

  on.paint();
  return on.leave;
}

export default { render };
