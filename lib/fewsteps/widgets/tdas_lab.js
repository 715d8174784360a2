// Chapter 05: TDAS' mask, what it does to noise, and what a sampler fed with such noise makes of Gaussian data.
import { choice, element, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import { automaticZones, kappaAt, zoneGains } from "./lattice.js";
import { SAMPLERS, callsOf, relativeW2, stepsFor } from "./law.js";
import { laws, noisePictures, ratioByRing } from "./filter_view.js";

const TRAITS = ["sampler", "T", "basis", "spectrum", "exponent", "lam1", "lam2", "r1", "r2", "amplitude", "seed"];
const EVERYWHERE = { prior: true, predictor: true, corrector: true };

function render({ model, el }) {
  const setting = model.get("setting");
  const measured = model.get("spectra");
  const { size, samplers } = setting;
  const root = element("div", { class: "fs-lab", "data-lab": "tdas" });
  const on = stage(model, root, TRAITS, draw);
  const two = (v) => v.toFixed(2);
  const automatic = element("button", { type: "button", class: "fs-action", text: "Set λ and r by TDAS’ rule", onclick: () => apply() });
  const controls = [
    choice(on, model, { name: "sampler", label: "Sampler", options: samplers.map((key) => [key, SAMPLERS[key].name]) }),
    slider(on, model, {
      name: "T", label: "Iterations T", min: Math.log10(2), max: Math.log10(400), step: 0.01,
      toTrait: (v) => Math.round(10 ** v), toSlider: Math.log10, format: (v) => String(v),
    }),
    choice(on, model, { name: "basis", label: "Basis", options: [["dct", "DCT"], ["dft", "DFT"]] }),
    choice(on, model, {
      name: "spectrum", label: "Data", options: [["law", "power law 1/fᵃ"], ...Object.keys(measured).map((k) => [k, measured[k].label])],
    }),
    slider(on, model, { name: "exponent", label: "Exponent a of the power law", min: 0, max: 4, step: 0.05, format: two }),
    slider(on, model, { name: "lam1", label: "λ₁, beyond r₁", min: 0.3, max: 1.5, step: 0.01, format: two }),
    slider(on, model, { name: "lam2", label: "λ₂, beyond r₂", min: 0.3, max: 1.5, step: 0.01, format: two }),
    slider(on, model, { name: "r1", label: "r₁ (heights)", min: 0, max: 1, step: 0.01, format: two }),
    slider(on, model, { name: "r2", label: "r₂ (heights)", min: 0, max: 1, step: 0.01, format: two }),
    choice(on, model, { name: "amplitude", label: "The rule’s λ", options: [[false, "as printed"], [true, "its root (γ is a power)"]] }),
    slider(on, model, { name: "seed", label: "Seed of the noise", min: 1, max: 50, step: 1, format: (v) => String(v) }),
    element("div", { class: "fs-actions" }, automatic, resetButton(model, TRAITS)),
  ];
  const pictures = noisePictures(size);
  const lines = [
    { key: "plain", name: "white noise", style: "fs-b" },
    { key: "filtered", name: "filtered noise (TDAS)", style: "fs-a" },
    { key: "ancestral", name: "VE ancestral, equal NFE", style: "fs-c" },
    { key: "multistep", name: "DPM-Solver++(2M), equal NFE", style: "fs-d" },
  ];
  const ratio = plot(on, {
    title: "Power of the output over power of the data, γ",
    x: { label: "frequency (cycles per pixel)", domain: [1 / (2 * size), 0.71], log: true },
    y: { label: "γ (1 is right)", domain: [0, 2] }, series: lines,
  });
  const mean = plot(on, {
    title: "Mean of γ beyond a radius, κ, and the quantiles of the rule",
    x: { label: "radius r (heights)", domain: [0, 1] }, y: { label: "κ(r)", domain: [0.5, 2] },
    series: [
      ...lines.slice(0, 2),
      { key: "q1", name: "first quantile of γ (white noise)", style: "fs-e" },
      { key: "q2", name: "second quantile", style: "fs-f" },
      { key: "r1", name: "r₁ and r₂", style: "fs-faint" },
      { key: "r2", style: "fs-faint" },
    ],
  });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-controls" }, ...controls),
    element("div", { class: "fs-pictures" }, ...pictures.nodes),
    ...summary.nodes,
    element("div", { class: "fs-plots" }, ratio.node, mean.node),
  );
  el.append(root);

  const known = laws(setting, measured);
  let rule = null;

  function apply() {
    if (!rule || rule.some((zone) => zone.r === null)) return;
    const within = (v, low, high) => Math.min(Math.max(v, low), high);
    rule.forEach(({ lam, r }, k) => {
      model.set(`lam${k + 1}`, within(lam, 0.3, 1.5));
      model.set(`r${k + 1}`, within(r, 0, 1));
    });
    model.save_changes();
  }

  function draw() {
    const [sampler, T, basis, which, exponent, lam1, lam2, r1, r2, amplitude, seed] = TRAITS.map((n) => model.get(n));
    const grid = known.grid(basis);
    const { squared, count } = grid;
    const v = known.data(basis, which, exponent);
    const steps = sampler === "langevin" ? stepsFor("langevin", T) : T;
    const nfe = callsOf(sampler, steps);
    const gains = zoneGains(squared, size, [lam1, lam2], [r1, r2]);
    const out = {
      plain: known.plain(sampler, basis, v, steps),
      filtered: known.run(sampler, basis, v, steps, gains, EVERYWHERE, false),
      ancestral: sampler === "ancestral" ? null : known.plain("ancestral", basis, v, nfe),
      multistep: known.plain("dpmpp_2m", basis, v, nfe),
    };
    const over = (p) => Float64Array.from(p, (x, i) => x / v[i]);
    const gamma = { plain: over(out.plain), filtered: over(out.filtered) };
    ratio.update(Object.fromEntries(Object.entries(out).map(([k, p]) => [k, p && ratioByRing(grid, p, v)])));
    const end = basis === "dct" ? 1 : 0.5;
    const rising = SAMPLERS[sampler].family === "ve";
    rule = automaticZones(gamma.plain, squared, count, size, rising ? [0.75, 0.9] : [0.25, 0.1], amplitude, end);
    const radii = Float64Array.from(squared, (d) => Math.sqrt(d / 2) / size);
    const curve = (g) => [[...radii], [...kappaAt(g, squared, count)]];
    const level = (k) => [[0, 1], [rule[k].level, rule[k].level]];
    mean.update({ plain: curve(gamma.plain), filtered: curve(gamma.filtered), q1: level(0), q2: level(1), r1: [[r1, r1], [0.5, 2]], r2: [[r2, r2], [0.5, 2]] }, null);
    pictures.update(gains, grid.places, basis, seed, "The same noise through the mask, M z.");

    const undefinedRule = rule.some((zone) => zone.r === null);
    automatic.setAttribute("aria-disabled", String(undefinedRule)); // still in reach of the keyboard
    const w2 = (p) => relativeW2(p, v, count);
    const said = undefinedRule
      ? `κ never ${rising ? "rises" : "falls"} to a quantile that the rule asks for, so it gives no radius here: set λ and r by hand, or take other iterations.`
      : `TDAS’ rule gives λ₁ ${rule[0].lam.toFixed(3)}, λ₂ ${rule[1].lam.toFixed(3)}, r₁ ${rule[0].r.toFixed(3)}, r₂ ${rule[1].r.toFixed(3)}.`;
    const others = [out.ancestral && `ancestral ${readable(w2(out.ancestral))}`, `2M ${readable(w2(out.multistep))}`].filter(Boolean);
    summary.say(
      `${SAMPLERS[sampler].name}, T = ${T}, ${nfe} network calls. W₂ over the data’s rms: white noise ${readable(w2(out.plain))}, ` +
        `filtered ${readable(w2(out.filtered))}; at equal network calls: ${others.join(", ")}. ${said}`,
    );
    root.dataset.w2 = w2(out.filtered).toPrecision(10);
    root.dataset.rule = JSON.stringify(rule);
  }

  on.paint();
  return on.leave;
}

export default { render };
