// Chapter 04: what a sampler with few steps does to every frequency, and what a filter on its noise changes.
import { choice, element, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import {
  MOVES, SAMPLERS, callsOf, kappa, meanKl, placement, powerLaw, propagate, relativeW2, scales, stepsFor, zoneMask,
} from "./law.js";

const TRAITS = ["sampler", "T", "spectrum", "exponent", "lam", "r", "where", "drift", "distance"];
const BUDGETS = [5, 7, 10, 14, 20, 30, 50, 100, 200, 400, 1000];
const WHERE = [["all", "all noise"], ["prior", "start"], ["predictor", "predictor"], ["corrector", "corrector"]];

function render({ model, el }) {
  const { size, levels, variance, squared, frequency, count } = model.get("setting");
  const measured = model.get("spectra");
  const root = element("div", { class: "fs-lab", "data-lab": "few-step" });
  const on = stage(model, root, TRAITS, draw);
  const names = Object.entries(SAMPLERS).map(([key, { name }]) => [key, name]);
  const controls = [
    choice(on, model, { name: "sampler", label: "Sampler", options: names }),
    slider(on, model, {
      name: "T", label: "Iterations T", min: Math.log10(2), max: 3, step: 0.01,
      toTrait: (v) => Math.round(10 ** v), toSlider: Math.log10, format: (v) => String(v),
    }),
    choice(on, model, {
      name: "spectrum", label: "Data", options: [["law", "power law 1/fᵃ"], ...Object.keys(measured).map((k) => [k, measured[k].label])],
    }),
    slider(on, model, { name: "exponent", label: "Exponent a of the power law", min: 0, max: 4, step: 0.05, format: (v) => v.toFixed(2) }),
    slider(on, model, { name: "lam", label: "Filter: gain λ outside r", min: 0.5, max: 1.5, step: 0.01, format: (v) => v.toFixed(2) }),
    slider(on, model, { name: "r", label: "Filter: radius r (heights)", min: 0, max: 1, step: 0.01, format: (v) => v.toFixed(2) }),
    choice(on, model, { name: "where", label: "Filtered noise", options: WHERE }),
    choice(on, model, { name: "drift", label: "Score beside it", options: [[false, "as it is (TDAS)"], [true, "times M Mᵀ (PDS)"]] }),
    choice(on, model, { name: "distance", label: "Distance", options: [["w2", "W₂"], ["kl", "KL"]] }),
    resetButton(model, TRAITS),
  ];

  const lowest = frequency[1];
  const byFrequency = { label: "frequency (cycles per pixel)", domain: [lowest, 0.71], log: true };
  const lines = [
    { key: "plain", name: "this sampler, no filter", style: "fs-b" },
    { key: "filtered", name: "this sampler, filtered", style: "fs-a" },
    { key: "ancestral", name: "VE ancestral, equal NFE", style: "fs-c" },
    { key: "multistep", name: "DPM-Solver++(2M), equal NFE", style: "fs-d" },
  ];
  const ratio = plot(on, {
    title: "Power of the output over power of the data, γ",
    x: byFrequency, y: { label: "γ (1 is right)", domain: [0, 2] }, series: lines,
  });
  const mean = plot(on, {
    title: "Mean of γ beyond a radius, κ",
    x: { label: "radius r (heights)", domain: [0, 1] }, y: { label: "κ(r)", domain: [0, 2] }, series: lines,
  });
  const spectrum = plot(on, {
    title: "Output and data by frequency",
    x: byFrequency, y: { label: "variance (pixel value²)", domain: [1e-5, 1e3], log: true },
    series: [{ key: "data", name: "data", style: "fs-faint" }, ...lines.slice(0, 2)],
  });
  const far = plot(on, {
    title: "Distance to the data against network calls",
    x: { label: "network calls (NFE)", domain: [5, 1200], log: true },
    y: { label: "W₂ over rms, or KL (nats)", domain: [1e-5, 10], log: true }, series: lines,
  });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-controls" }, ...controls),
    ...summary.nodes,
    element("div", { class: "fs-plots" }, ratio.node, far.node, mean.node, spectrum.node),
  );
  el.append(root);

  const ones = new Float64Array(count.length).fill(1);
  const nowhere = { prior: false, predictor: false, corrector: false };
  const run = (sampler, v, steps, m, at, drift) => {
    const { alphas, sigmas } = scales(SAMPLERS[sampler].family, levels[0], levels[1], steps);
    return propagate(sampler, v, count, alphas, sigmas, m, at, drift);
  };
  const curves = new Map(); // of the baselines and of unfiltered samplers, which no filter slider changes

  function draw() {
    const [sampler, T, which, exponent, lam, r, where, drift, distance] = TRAITS.map((n) => model.get(n));
    const key = which === "law" ? `law ${exponent}` : which;
    if (curves.get("data") !== key) {
      curves.clear();
      curves.set("data", key);
      curves.set("v", which === "law" ? powerLaw(frequency, count, exponent, variance) : Float64Array.from(measured[which].variance));
    }
    const v = curves.get("v");
    const measure = distance === "kl" ? meanKl : relativeW2;
    const remembered = (name, make) => {
      if (!curves.has(name)) curves.set(name, make());
      return curves.get(name);
    };
    const plain = (name, steps) => remembered(`${name} ${steps}`, () => run(name, v, steps, ones, nowhere, false));
    // What not even one step fits into is left out.
    const paid = (name, nfe, make) => (callsOf(name, stepsFor(name, nfe)) > nfe ? NaN : make(stepsFor(name, nfe)));
    const along = (name) =>
      remembered(`${distance} ${name}`, () => BUDGETS.map((nfe) => paid(name, nfe, (steps) => measure(plain(name, steps), v, count))));

    const steps = sampler === "langevin" ? Math.max(1, Math.floor(T / MOVES)) : T;
    const nfe = callsOf(sampler, steps);
    const at = placement(sampler, where, drift);
    const m = zoneMask(squared, size, lam, r);
    const active = !at.refused && lam !== 1 && m.some((g) => g !== 1);
    const out = {
      plain: plain(sampler, steps),
      filtered: active ? run(sampler, v, steps, m, at, drift) : null,
      ancestral: sampler === "ancestral" ? null : plain("ancestral", stepsFor("ancestral", nfe)),
      multistep: sampler === "dpmpp_2m" ? null : plain("dpmpp_2m", stepsFor("dpmpp_2m", nfe)),
    };
    const gamma = Object.fromEntries(Object.entries(out).map(([k, p]) => [k, p && Float64Array.from(p, (x, i) => x / v[i])]));
    const shown = (make) => Object.fromEntries(Object.entries(gamma).map(([k, g]) => [k, g && make(g)]));
    const tail = frequency.slice(1);
    const mark = active ? (Math.SQRT2 * r) / 2 : null; // index distance sqrt(2) r H is sqrt(2) r / 2 cycles per pixel
    const radii = squared.map((d) => Math.sqrt(d / 2) / size);
    ratio.update(shown((g) => [tail, g.slice(1)]), mark && mark > lowest ? mark : null, `${SAMPLERS[sampler].name} with ${T} iterations.`);
    mean.update(shown((g) => [radii, kappa(g, count)]), active ? r : null);
    spectrum.update({ data: [tail, v.slice(1)], plain: [tail, out.plain.slice(1)], filtered: out.filtered && [tail, out.filtered.slice(1)] }, null);
    const filteredAlong = active
      ? BUDGETS.map((calls) => paid(sampler, calls, (steps) => measure(run(sampler, v, steps, m, at, drift), v, count)))
      : null;
    far.update({
      plain: [BUDGETS, along(sampler)],
      filtered: filteredAlong && [BUDGETS, filteredAlong],
      ancestral: sampler === "ancestral" ? null : [BUDGETS, along("ancestral")],
      multistep: sampler === "dpmpp_2m" ? null : [BUDGETS, along("dpmpp_2m")],
    }, nfe >= 5 && nfe <= 1200 ? nfe : null);

    const w2 = (p) => relativeW2(p, v, count);
    const kl = (p) => meanKl(p, v, count);
    const say = (name, p) => `${name} ${readable(w2(p))} (KL ${readable(kl(p))})`;
    const others = [out.ancestral && say("ancestral", out.ancestral), out.multistep && say("2M", out.multistep)].filter(Boolean);
    const filterWords = at.refused ? ` ${at.refused} Drawn without a filter.` : active ? `; ${say("filtered", out.filtered)}` : "; the filter is off (λ = 1, or nothing outside r)";
    summary.say(
      `${SAMPLERS[sampler].name}, T = ${T} iterations, ${nfe} network calls. W₂ over the data’s rms: ${say("unfiltered", out.plain)}` +
        `${at.refused ? "." : ""}${filterWords}${at.refused ? "" : "."} At equal network calls: ${others.join(", ")}.`,
    );
    root.dataset.w2 = w2(out.filtered ?? out.plain).toPrecision(10);
    root.dataset.kl = kl(out.filtered ?? out.plain).toPrecision(10);
    root.dataset.nfe = String(nfe);
  }

  on.paint();
  return on.leave;
}

export default { render };
