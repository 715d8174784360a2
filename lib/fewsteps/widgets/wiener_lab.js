// Chapter 01: the Wiener filter on a photograph, at any alpha-bar.
import { bytes, choice, element, gaussians, picture, plot, readable, resetButton, slider, spaced, stage, summaryLine } from "./kit.js";
import { fft2, squaredRadius } from "./fft.js";
import { amplitudeFor, halfFrequency, reconstructionResponse } from "./wiener.js";

const FIGURE_3 = [0.01, 0.1, 0.5, 0.9, 0.99];
const TRAITS = ["alpha_bar", "exponent", "form", "prior", "photo"];
const FORMS = [
  ["correct", "corrected"],
  ["printed", "as printed, Eq. 6"],
  ["caption", "Fig. 3’s caption, H as printed"],
  ["squared", "Fig. 3’s caption, H corrected"],
];

/** Everything about one photograph that no slider changes: pixels in [-1, 1], its DFT, its radial spectrum. */
function prepare(raw, size, noise) {
  const count = size * size;
  const clean = new Float64Array(3 * count);
  for (let i = 0; i < 3 * count; i++) clean[i] = raw[i] / 127.5 - 1;
  const planes = (v) => [0, 1, 2].map((c) => Float64Array.from({ length: count }, (_, i) => v[3 * i + c]));
  // Three real planes are two complex images, (R + iG) and (B + i0): the response is even, so they do not mix.
  const transform = ([r, g, b]) => {
    const zero = new Float64Array(count);
    fft2(r, g, size);
    fft2(b, zero, size);
    return [r, g, b, zero];
  };
  const X = transform(planes(clean));
  const E = transform(planes(noise));
  const radii2 = squaredRadius(size);
  const ringPower = new Float64Array(size);
  const ringCount = new Float64Array(size);
  let total = 0;
  for (let i = 1; i < count; i++) {
    const power = (X[0][i] ** 2 + X[1][i] ** 2 + X[2][i] ** 2 + X[3][i] ** 2) / 3;
    const ring = Math.round(Math.sqrt(radii2[i]));
    ringPower[ring] += power;
    ringCount[ring] += 1;
    total += power;
  }
  return { clean, X, E, radii2, variance: total / count, ring: ringPower.map((p, k) => (ringCount[k] ? p / ringCount[k] : 0)) };
}

function render({ model, el }) {
  const size = model.get("size");
  const names = model.get("names");
  const raw = bytes(model.get("photos"));
  const spectra = model.get("spectra");
  const noise = gaussians(3 * size * size, model.get("seed"));
  const prepared = new Map();
  const photograph = () => {
    const k = model.get("photo");
    if (!prepared.has(k)) prepared.set(k, prepare(raw.subarray(3 * k * size * size, 3 * (k + 1) * size * size), size, noise));
    return prepared.get(k);
  };

  const root = element("div", { class: "fs-lab", "data-lab": "wiener" });
  const on = stage(model, root, TRAITS, draw);
  const shareOf = (level) => 1 / (1 + 10 ** -level);
  const controls = [
    slider(on, model, {
      name: "alpha_bar", label: "Signal share ᾱ", min: -4, max: 4, step: 0.02,
      toTrait: shareOf, toSlider: (v) => Math.log10(v / (1 - v)),
      format: share,
    }),
    slider(on, model, {
      name: "exponent", label: "Assumed exponent a of 1/fᵃ", min: 0, max: 4, step: 0.05, format: (v) => v.toFixed(2),
    }),
    choice(on, model, { name: "form", label: "Formula", options: FORMS }),
    choice(on, model, { name: "prior", label: "Spectrum that the filter assumes", options: [["law", "power law"], ["own", "the photograph’s own"]] }),
    choice(on, model, { name: "photo", label: "Photograph", options: names.map((name, k) => [k, name]) }),
    resetButton(model, TRAITS),
  ];

  const pictures = ["clean", "noisy", "estimate"].map((key) => picture({ size, caption: "", alt: `The photograph, ${key}` }));
  const response = plot(on, {
    title: "What the filter lets through",
    x: { label: "frequency (cycles per pixel)", domain: [1 / size, 0.7], log: true },
    y: { label: "response G (share of x_t kept)", domain: [-1, 1.2] },
    series: [
      ...FIGURE_3.map((ab, k) => ({ key: `fixed${k}`, name: k ? "" : "corrected, ᾱ = .01, .1, .5, .9, .99", style: "fs-faint" })),
      { key: "now", name: "at this ᾱ and formula", style: "fs-a" },
      { key: "correct", name: "corrected, same ᾱ", style: "fs-b" },
    ],
  });
  const spectrum = plot(on, {
    title: "Signal and noise by frequency",
    x: { label: "frequency (cycles per pixel)", domain: [1 / size, 0.7], log: true },
    y: { label: "power (pixel value²)", domain: [1e-5, 1e4], log: true },
    series: [
      { key: "measured", name: "this photograph, measured", style: "fs-c" },
      { key: "assumed", name: "assumed by the filter", style: "fs-a" },
      { key: "noise", name: "noise (1 − ᾱ)/ᾱ", style: "fs-d" },
    ],
  });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-controls" }, ...controls),
    element("div", { class: "fs-pictures" }, ...pictures.map((p) => p.node)),
    ...summary.nodes,
    element("div", { class: "fs-plots" }, response.node, spectrum.node),
  );
  el.append(root);

  const frequencies = spaced(1 / size, Math.SQRT1_2, 160, true);
  const work = Array.from({ length: 4 }, () => new Float64Array(size * size));

  function draw() {
    const photo = photograph();
    const [alphaBar, exponent, form, prior] = ["alpha_bar", "exponent", "form", "prior"].map((n) => model.get(n));
    const amplitude = amplitudeFor(exponent, photo.variance, photo.radii2, size);
    const law = (f) => amplitude * f ** -exponent;
    const own = (f) => photo.ring[Math.min(Math.round(f * size), photo.ring.length - 1)];
    const power = prior === "own" ? own : law;

    const gain = gainTable(photo, size, power, alphaBar, form);
    const error = filterPhotograph(photo, gain, alphaBar);
    drawCurves(power, law, alphaBar, form, halfOpen(amplitude, exponent, alphaBar, form, prior));
    const noisyError = (1 - alphaBar) / alphaBar;
    pictures[0].flush(`x₀, ${names[model.get("photo")]}`);
    pictures[1].flush(`x_t at ᾱ = ${share(alphaBar)} (SNR ${readable(alphaBar / (1 - alphaBar))})`);
    pictures[2].flush(`x̂₀: mean squared error ${readable(error)}`);
    const half = halfOpen(amplitude, exponent, alphaBar, form, prior);
    const band = half === null ? "" : ` The filter is half open at ${half.toFixed(3)} cycles per pixel.`;
    summary.say(
      `Mean squared error of x̂₀ ${readable(error)}; of x_t/√ᾱ without a filter ${readable(noisyError)}; of the mean colour alone, which is taken as known, ${readable(photo.variance)}.${band}` +
        ` This photograph’s own exponent, fitted from 0.02 to 0.4 cycles per pixel: ${spectra[model.get("photo")].exponent.toFixed(2)}.`,
    );
    root.dataset.error = error.toPrecision(6);
  }

  /** The frequency at which the corrected filter of a power law lets half through, if it lies inside the plot. */
  function halfOpen(amplitude, exponent, alphaBar, form, prior) {
    const half = halfFrequency(amplitude, exponent, alphaBar);
    return form === "correct" && prior === "law" && half > 1 / size && half < 0.7 ? half : null;
  }

  /** G at every squared radius that occurs, so that one division serves all coefficients on a ring. */
  function gainTable(photo, n, power, alphaBar, form) {
    const half = n / 2;
    const table = new Float64Array(2 * half * half + 1).fill(NaN);
    table[0] = 0; // the mean colour is taken as known, and put in below
    for (let i = 1; i < photo.radii2.length; i++) {
      const r2 = photo.radii2[i];
      if (Number.isNaN(table[r2])) table[r2] = reconstructionResponse(power(Math.sqrt(r2) / n), alphaBar, form);
    }
    return table;
  }

  /** Filter x_t in the frequency domain, draw the three pictures, and return the mean squared error of x0_hat. */
  function filterPhotograph({ clean, X, E, radii2 }, gain, alphaBar) {
    const count = size * size;
    const [signal, grain] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
    const [ownShare, noiseShare] = [signal, grain].map((scale) => gain.map((g) => (g * scale) / signal));
    work.forEach((plane, p) => {
      const [x, e] = [X[p], E[p]];
      for (let i = 0; i < count; i++) plane[i] = ownShare[radii2[i]] * x[i] + noiseShare[radii2[i]] * e[i];
      plane[0] = x[0];
    });
    fft2(work[0], work[1], size, true);
    fft2(work[2], work[3], size, true);
    const [first, second, third] = pictures.map((p) => p.data);
    let sum = 0;
    for (let c = 0; c < 3; c++) {
      const plane = work[c];
      for (let i = 0, from = c, to = c; i < count; i++, from += 3, to += 4) {
        const x = clean[from];
        const off = plane[i] - x;
        sum += off * off;
        first[to] = 127.5 * (x + 1);
        second[to] = 127.5 * (signal * x + grain * noise[from] + 1);
        third[to] = 127.5 * (plane[i] + 1);
      }
    }
    return sum / (3 * count);
  }

  function drawCurves(power, law, alphaBar, form, half) {
    const along = (f) => [frequencies, frequencies.map(f)];
    const curves = Object.fromEntries(FIGURE_3.map((ab, k) => [`fixed${k}`, along((f) => reconstructionResponse(law(f), ab))]));
    curves.now = along((f) => reconstructionResponse(power(f), alphaBar, form));
    curves.correct = form === "correct" ? null : along((f) => reconstructionResponse(power(f), alphaBar));
    const lowest = Math.min(...curves.now[1]);
    response.update(curves, half, `At alpha-bar ${readable(alphaBar)} the response runs from ${readable(curves.now[1][0])} to ${readable(lowest)}.`);
    const measured = spectra[model.get("photo")];
    const level = (1 - alphaBar) / alphaBar;
    spectrum.update(
      { measured: [measured.frequency, measured.power], assumed: along(power), noise: along(() => level) },
      half,
      `The noise stands at ${readable(level)}.`,
    );
  }

  on.paint();
  return on.leave;
}

/** alpha-bar near 1 by its distance from it. */
const share = (v) => (v > 0.9 ? `1 − ${readable(1 - v)}` : readable(v));

export default { render };
