// Chapter 03: how five forward processes lose their signal, on a pixel and on a photograph.
import { bytes, choice, element, gaussians, picture, plot, readable, resetButton, slider, spaced, stage, summaryLine } from "./kit.js";
import {
  LEVELS, PIXEL_MIN, cosineAlphaBar, greyScale, histogram, klToStandardNormal, linearAlphaBar, moments, pixelAlphaBar, pixelSnr,
  progressiveAlphaBar, timeToSnr, veSigma, vpLinearAlphaBar,
} from "./snr.js";

const TRAITS = ["gamma", "T", "pixel", "t", "form", "photo"];

/** Shares of the levels over all channels, and in the red one. */
const histograms = (raw) => ({ all: histogram(raw), red: histogram(raw, 3) });

const meanKl = (shares, alphaBarOf) => shares.reduce((sum, share, v) => (share ? sum + share * klToStandardNormal(LEVELS[v], alphaBarOf(LEVELS[v])) : sum), 0);

function render({ model, el }) {
  const size = model.get("size");
  const names = model.get("names");
  const photos = bytes(model.get("photos"));
  const noise = gaussians(3 * size * size, model.get("seed"));
  const root = element("div", { class: "fs-lab", "data-lab": "snr" });
  const on = stage(model, root, TRAITS, draw);

  const controls = [
    slider(on, model, { name: "t", label: "Time i/T", min: 0, max: 1, step: 0.005, format: (v) => v.toFixed(3) }),
    slider(on, model, {
      name: "gamma", label: "γ of PixelAware", min: -0.31, max: 2, step: 0.01,
      toTrait: (v) => Math.max(0.5, Number((10 ** v).toPrecision(3))), toSlider: Math.log10, format: (v) => readable(v, 3),
    }),
    slider(on, model, { name: "T", label: "Steps T", min: 1, max: 1000, step: 1, format: String }),
    slider(on, model, {
      name: "pixel", label: "Pixel value x₀", min: -2.4, max: 0, step: 0.01,
      toTrait: (v) => Math.max(PIXEL_MIN, Number((10 ** v).toPrecision(3))), toSlider: Math.log10, format: (v) => readable(v, 3),
    }),
    choice(on, model, { name: "form", label: "PixelAware’s Eq. 10", options: [["correct", "corrected"], ["printed", "as printed"]] }),
    choice(on, model, { name: "photo", label: "Photograph", options: names.map((name, k) => [k, name]) }),
    resetButton(model, TRAITS),
  ];
  const pictures = ["under DDPM", "under DDPM stretched to T steps", "under PixelAware"].map((words) => picture({ size, caption: "", alt: `The photograph ${words}` }));

  const schedules = [
    { key: "pixel", name: "PixelAware", style: "fs-a" },
    { key: "ddpm", name: "DDPM’s betas in T steps (Fig. 2)", style: "fs-b" },
    { key: "stretched", name: "DDPM stretched to T steps", style: "fs-c" },
  ];
  const time = { label: "time i/T", domain: [0, 1] };
  const ratio = plot(on, {
    title: "Signal-to-noise ratio of one pixel",
    x: time,
    y: { label: "SNR (power ratio)", domain: [1e-6, 1e4], log: true },
    series: [...schedules, { key: "cosine", name: "cosine", style: "fs-d" }, { key: "ve", name: "VE, σ .01 to 50", style: "fs-e" }, { key: "progressive", name: "ProgDDGAN, T = 4", style: "fs-f" }],
    height: 300,
  });
  const mean = plot(on, { title: "Mean of the red channel", x: time, y: { label: "mean of x_t", domain: [0, 0.8] }, series: schedules });
  const variance = plot(on, { title: "Variance of the red channel", x: time, y: { label: "variance of x_t", domain: [0, 1.2] }, series: schedules });
  const law = plot(on, {
    title: "What is left at the end: divergence from N(0, 1)",
    x: { label: "γ", domain: [0.5, 100], log: true },
    y: { label: "mean KL per pixel (nats)", domain: [1e-6, 10], log: true },
    series: [...schedules, { key: "dark", name: "a pixel of x₀ as chosen", style: "fs-faint" }],
    height: 300,
  });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-controls" }, ...controls),
    element("div", { class: "fs-pictures" }, ...pictures.map((p) => p.node)),
    ...summary.nodes,
    element("div", { class: "fs-plots" }, ratio.node, law.node, mean.node, variance.node),
  );
  el.append(root);

  const times = spaced(0, 1, 121);
  const positive = times.slice(1);
  const gammas = spaced(0.5, 100, 60, true);
  const counted = new Map();
  const raw = () => photos.subarray(3 * model.get("photo") * size * size, 3 * (model.get("photo") + 1) * size * size);
  const counts = () => {
    const k = model.get("photo");
    if (!counted.has(k)) counted.set(k, histograms(raw()));
    return counted.get(k);
  };

  /** T where Eq. 10 is taken as printed, dividing once more; 0 otherwise. */
  const printedSteps = () => (model.get("form") === "printed" ? model.get("T") : 0);

  /** alpha_bar(x, t) of the three processes that act on the photograph. */
  function processes() {
    const [T, gamma] = [model.get("T"), model.get("gamma")];
    const ddpm = linearAlphaBar(T);
    return {
      ddpm: (x, t) => ddpm[Math.round(t * T)],
      stretched: (x, t) => vpLinearAlphaBar(t),
      pixel: (x, t) => pixelAlphaBar(x, t, gamma, printedSteps()),
    };
  }

  function draw() {
    const laws = processes();
    const t = model.get("t");
    drawPhotographs(laws, t);
    drawRatios(laws, t);
    drawMoments(laws, t);
    const ends = drawTerminal(laws);
    const pixel = model.get("pixel");
    const rate = model.get("gamma") / (printedSteps() || 1);
    const reached = (x) => {
      const time = timeToSnr(x, 0.01, rate);
      return time > 1 ? "not before the end" : `at t = ${readable(time)}`;
    };
    summary.say(
      `At t = 1 the photograph is ${readable(ends.pixel)} nats per pixel from pure noise under PixelAware, ${readable(ends.ddpm)} under DDPM’s betas in T steps and ${readable(ends.stretched)} under DDPM stretched to T. ` +
      `A pixel of ${readable(pixel, 3)} falls to an SNR of 0.01 ${reached(pixel)}${pixel < 1 ? `, one of 1 ${reached(1)}` : ""}; ` +
        `at t = 1 its noise has a standard deviation of ${readable(Math.sqrt(1 - laws.pixel(pixel, 1)))}.`,
    );
    root.dataset.kl = ends.pixel.toPrecision(6);
  }

  /** The forward process on the photograph, one noise for all three; the grey scale widens as the noise grows. */
  function drawPhotographs(laws, t) {
    const source = raw();
    for (const [k, key] of ["ddpm", "stretched", "pixel"].entries()) {
      const signal = LEVELS.map((x) => Math.sqrt(laws[key](x, t)) * x);
      const grain = LEVELS.map((x) => Math.sqrt(1 - laws[key](x, t)));
      const spread = Math.sqrt(counts().all.reduce((sum, share, v) => sum + share * grain[v] ** 2, 0));
      const [low, high] = greyScale(spread);
      const { data } = pictures[k];
      for (let i = 0, j = 0; i < source.length; i++, j += (i % 3 === 0 ? 2 : 1)) {
        const v = source[i];
        data[j] = (255 * (signal[v] + grain[v] * noise[i] - low)) / (high - low);
      }
      const title = ["DDPM’s betas in T steps", "DDPM stretched to T steps", "PixelAware"][k];
      pictures[k].flush(`${title}: x_t at t = ${t.toFixed(2)}, noise level ${spread.toFixed(2)}`);
    }
  }

  function drawRatios(laws, t) {
    const x = model.get("pixel");
    const from = (alphaBar) => (x * x * alphaBar) / (1 - alphaBar);
    const steps = progressiveAlphaBar(4);
    // A process in steps holds its level until the next one.
    const held = steps.slice(1).flatMap((alphaBar, i) => [[i / 4, from(alphaBar)], [(i + 1) / 4, from(alphaBar)]]);
    ratio.update({
      pixel: [positive, positive.map((s) => pixelSnr(x, s, model.get("gamma"), printedSteps()))],
      ddpm: [positive, positive.map((s) => from(laws.ddpm(x, s)))],
      stretched: [positive, positive.map((s) => from(laws.stretched(x, s)))],
      cosine: [positive, positive.map((s) => from(cosineAlphaBar(s)))],
      ve: [positive, positive.map((s) => (x * x) / veSigma(s) ** 2)],
      progressive: [held.map((p) => p[0]), held.map((p) => p[1])],
    }, t, `For a pixel of ${readable(x, 3)}.`);
  }

  function drawMoments(laws, t) {
    const { red } = counts();
    const series = (field) => Object.fromEntries(schedules.map(({ key }) => [key, [times, times.map((s) => moments(red, (x) => laws[key](x, s))[field])]]));
    mean.update(series("mean"), t);
    variance.update(series("variance"), t);
  }

  function drawTerminal(laws) {
    const { all } = counts();
    const ends = Object.fromEntries(schedules.map(({ key }) => [key, meanKl(all, (x) => laws[key](x, 1))]));
    const flat = (v) => [gammas, gammas.map(() => v)];
    law.update({
      pixel: [gammas, gammas.map((g) => meanKl(all, (x) => pixelAlphaBar(x, 1, g, printedSteps())))],
      dark: [gammas, gammas.map((g) => klToStandardNormal(model.get("pixel"), pixelAlphaBar(model.get("pixel"), 1, g, printedSteps())))],
      ddpm: flat(ends.ddpm),
      stretched: flat(ends.stretched),
    }, model.get("gamma"), `PixelAware ends at ${readable(ends.pixel)} nats.`);
    return ends;
  }

  on.paint();
  return on.leave;
}

export default { render };
