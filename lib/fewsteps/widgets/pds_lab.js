// Chapter 06: PDS' operator in both directions and with its middle at either end, where it acts, and how well conditioned it leaves things.
import { choice, element, plot, readable, resetButton, slider, spaced, stage, summaryLine } from "./kit.js";
import { conditionNumber, pdsGains, zoneGains } from "./lattice.js";
import { SAMPLERS, callsOf, placement, relativeW2, stepsFor } from "./law.js";
import { laws, noisePictures, ratioByRing } from "./filter_view.js";

const TRAITS = ["sampler", "T", "r", "lam", "alpha", "direction", "centre", "where", "drift", "spectrum", "exponent", "seed", "mask"];
const WHERE = [["all", "all noise"], ["prior", "start"], ["predictor", "predictor"], ["corrector", "corrector"]];

function render({ model, el }) {
  const setting = model.get("setting");
  const measured = model.get("spectra");
  const { size, samplers } = setting;
  const root = element("div", { class: "fs-lab", "data-lab": "pds" });
  const on = stage(model, root, TRAITS, draw);
  const two = (v) => v.toFixed(2);
  // Whoever moves a slider wants to see the mask that it belongs to.
  const showing = (mask) => (v) => {
    model.set("mask", mask);
    return v;
  };
  const controls = [
    choice(on, model, { name: "sampler", label: "Sampler", options: samplers.map((key) => [key, SAMPLERS[key].name]) }),
    slider(on, model, {
      name: "T", label: "Iterations T", min: Math.log10(2), max: Math.log10(400), step: 0.01,
      toTrait: (v) => Math.round(10 ** v), toSlider: Math.log10, format: (v) => String(v),
    }),
    choice(on, model, { name: "mask", label: "Mask", options: [["radial", "two zones (Eq. 20)"], ["data", "from the data (Eq. 22)"]] }),
    choice(on, model, { name: "direction", label: "Operator", options: [["M", "M (theorems)"], ["M_inv", "M⁻¹ (Eq. 23, code)"]] }),
    slider(on, model, { name: "lam", label: "λ, beyond r (two zones)", min: 0.3, max: 2, step: 0.01, format: two, toTrait: showing("radial") }),
    slider(on, model, { name: "r", label: "r (heights, two zones)", min: 0, max: 0.5, step: 0.01, format: two, toTrait: showing("radial") }),
    slider(on, model, { name: "alpha", label: "α (from the data)", min: 1.1, max: 20, step: 0.1, format: (v) => v.toFixed(1), toTrait: showing("data") }),
    choice(on, model, { name: "centre", label: "Centre of the two zones", options: [["zero", "zero frequency"], ["highest", "highest (as coded)"]] }),
    choice(on, model, { name: "where", label: "Filtered noise", options: WHERE }),
    choice(on, model, { name: "drift", label: "Score beside it", options: [[true, "times M Mᵀ"], [false, "as it is"]] }),
    choice(on, model, {
      name: "spectrum", label: "Data", options: [["law", "power law 1/fᵃ"], ...Object.keys(measured).map((k) => [k, measured[k].label])],
    }),
    slider(on, model, { name: "exponent", label: "Exponent a of the power law", min: 0, max: 4, step: 0.05, format: two }),
    slider(on, model, { name: "seed", label: "Seed of the noise", min: 1, max: 50, step: 1, format: (v) => String(v) }),
    resetButton(model, TRAITS),
  ];
  const pictures = noisePictures(size);
  const lines = [
    { key: "plain", name: "no preconditioner", style: "fs-b" },
    { key: "filtered", name: "preconditioned (PDS)", style: "fs-a" },
    { key: "ancestral", name: "VE ancestral, equal NFE", style: "fs-c" },
    { key: "multistep", name: "DPM-Solver++(2M), equal NFE", style: "fs-d" },
  ];
  const ratio = plot(on, {
    title: "Power of the output over power of the data, γ",
    x: { label: "frequency (cycles per pixel)", domain: [1 / size, 0.71], log: true },
    y: { label: "γ (1 is right)", domain: [0, 2] }, series: lines,
  });
  const condition = plot(on, {
    title: "Condition number of the noisy data, seen through the operator",
    x: { label: "noise σ", domain: [0.01, 100], log: true }, y: { label: "largest over smallest variance", domain: [1, 1e5], log: true },
    series: lines.slice(0, 2),
  });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-controls" }, ...controls),
    element("div", { class: "fs-pictures" }, ...pictures.nodes),
    ...summary.nodes,
    element("div", { class: "fs-plots" }, ratio.node, condition.node),
  );
  el.append(root);

  const known = laws(setting, measured);
  const sigmas = spaced(0.01, 100, 40, true);

  function draw() {
    const [sampler, T, r, lam, alpha, direction, centre, where, drift, which, exponent, seed, mask] = TRAITS.map((n) => model.get(n));
    const grid = known.grid("dft");
    const v = known.data("dft", which, exponent);
    const steps = sampler === "langevin" ? stepsFor("langevin", T) : T;
    const nfe = callsOf(sampler, steps);
    const forward = mask === "data" ? pdsGains(v, size, alpha) : zoneGains(centre === "zero" ? grid.squared : grid.unshifted, size, [lam], [r]);
    const gains = direction === "M" ? forward : forward.map((g) => 1 / g);
    const at = placement(sampler, where, drift);
    const out = {
      plain: known.plain(sampler, "dft", v, steps),
      filtered: at.refused ? null : known.run(sampler, "dft", v, steps, gains, at, drift),
      ancestral: known.plain("ancestral", "dft", v, nfe),
      multistep: known.plain("dpmpp_2m", "dft", v, nfe),
    };
    ratio.update(Object.fromEntries(Object.entries(out).map(([k, p]) => [k, p && ratioByRing(grid, p, v)])));
    condition.update({
      plain: [sigmas, sigmas.map((s) => conditionNumber(v, s, grid.ones))],
      filtered: [sigmas, sigmas.map((s) => conditionNumber(v, s, gains))],
    });
    pictures.update(gains, grid.places, "dft", seed, `The same noise through ${direction === "M" ? "M" : "M⁻¹"}.`);
    const w2 = (p) => relativeW2(p, v, grid.count);
    const filtered = at.refused ? `${at.refused}` : `preconditioned ${readable(w2(out.filtered))}.`;
    const number = (m) => readable(conditionNumber(v, 0.02, m));
    summary.say(
      `${SAMPLERS[sampler].name}, T = ${T}, ${nfe} network calls. W₂ over the data’s rms: plain ${readable(w2(out.plain))}, ` +
        `at equal network calls ancestral ${readable(w2(out.ancestral))} and 2M ${readable(w2(out.multistep))}; ${filtered} ` +
        `Condition number at σ = 0.02: ${number(grid.ones)} without, ${number(gains)} with the operator.`,
    );
    root.dataset.w2 = w2(out.filtered ?? out.plain).toPrecision(10);
    root.dataset.condition = conditionNumber(v, 0.02, gains).toPrecision(10);
  }

  on.paint();
  return on.leave;
}

export default { render };
