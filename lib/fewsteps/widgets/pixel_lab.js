// Chapter 09: PixelAware's forward process on a picture and its way back with the true noises, step by step, beside
// DDPM's with the same noises and as many steps.
import { bytes, choice, element, gaussians, picture, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import { backStates, ddpmLaw, distances, forwardStates, grownErrors, pixelLaw } from "./pixel.js";
import { LEVELS, greyScale, histogram, moments } from "./snr.js";

const TRAITS = ["t", "gamma", "T", "form", "error", "photo", "seed"];
const TICK = 66; // ms between two steps of the player: more would only flood a kernel
const BROKEN = 0.1; // root mean square over pixels
const MAP = [-3, 2]; // powers of ten of the signal-to-noise ratio, from black to white
const LEAST = -6; // power of ten of the smallest error; below it stands none
const SIDES = [["pixel", "PixelAware"], ["ddpm", "DDPM"]];
const READINGS = { exact: ["increment", "printed"], printed: ["marginal", "printed"], corrected: ["marginal", "posterior"] };

/** The first step, on the way down from T, at which a trajectory is further away than BROKEN; -1 if none is. */
export function brokenAt(errors) {
  for (let i = errors.length - 1; i >= 0; i--) if (!(errors[i] <= BROKEN)) return i;
  return -1;
}

function render({ model, el }) {
  const size = model.get("size");
  const names = model.get("names");
  const photos = bytes(model.get("photos"));
  const count = size * size;
  const root = element("div", { class: "fs-lab", "data-lab": "pixel" });
  const on = stage(model, root, TRAITS, draw);

  let playing = 0; // the timer
  let towards = 1; // there, or back
  const button = element("button", { type: "button", class: "fs-go", onclick: () => (playing ? pause() : play()) });
  const note = element("span", { class: "fs-note" });
  const scrub = slider(on, model, {
    name: "t", label: "Step i", min: 0, max: 1, step: 0.005, alsoOn: ["T"],
    format: (v) => `${Math.round(v * model.get("T"))} of ${model.get("T")}`,
  });
  const fit = () => (scrub.querySelector("input").step = String(1 / model.get("T"))); // an arrow key is a step
  on.listen("T", fit);
  fit();
  const controls = [
    slider(on, model, { name: "gamma", label: "γ of PixelAware", min: 1, max: 40, step: 0.5, format: (v) => readable(v, 3) }),
    slider(on, model, {
      name: "error", label: "Error of every noise Zʲ", min: LEAST, max: -1, step: 0.05,
      toTrait: (v) => (v <= LEAST ? 0 : Number((10 ** v).toPrecision(3))), toSlider: (v) => (v ? Math.log10(v) : LEAST),
      format: (v) => (v ? readable(v, 2) : "none"),
    }),
    slider(on, model, { name: "seed", label: "Seed of the noise", min: 1, max: 50, step: 1, toTrait: Math.round, format: String }),
    choice(on, model, { name: "T", label: "Steps T", options: [50, 100, 200].map((T) => [T, String(T)]) }),
    choice(on, model, { name: "photo", label: "Picture", options: names.map((name, k) => [k, name]) }),
    choice(on, model, {
      name: "form", label: "Zʲ and the factor before it",
      options: [
        ["exact", "noise of each step, √(1 − αⱼ)"],
        ["printed", "noise of each state, √(1 − αⱼ): index as printed"],
        ["corrected", "noise of each state, √(1 − ᾱⱼ): index corrected"],
      ],
    }),
    resetButton(model, TRAITS),
  ];
  const pictures = SIDES.flatMap(([, name]) => ["going there", "coming back", "its signal-to-noise ratio"].map((words) => picture({ size, caption: "", alt: `The picture under ${name}, ${words}` })));
  const time = { label: "step i / T", domain: [0, 1] };
  const both = [{ key: "pixel", name: "PixelAware", style: "fs-a" }, { key: "ddpm", name: "DDPM in T steps", style: "fs-b" }];
  const ratio = plot(on, {
    title: "Signal-to-noise ratio of three pixels of the picture",
    x: time,
    y: { label: "SNR (power ratio)", domain: [1e-6, 1e6], log: true },
    series: [
      { key: "dark", name: "dark", style: "fs-c" },
      { key: "middle", name: "middling", style: "fs-d" },
      { key: "bright", name: "bright", style: "fs-a" },
      { key: "ddpm", name: "middling, under DDPM", style: "fs-b" },
    ],
  });
  const away = plot(on, {
    title: "How far the way back is from the way there",
    x: time,
    y: { label: "rms over the picture", domain: [1e-15, 1e6], log: true },
    series: [...both, { key: "grown", name: "√(ᾱᵢ / ᾱ_T − 1) times the error", style: "fs-faint" }],
  });
  const mean = plot(on, { title: "Mean of the picture", x: time, y: { label: "mean of x_i", domain: [0, 1] }, series: both });
  const variance = plot(on, { title: "Variance of the picture", x: time, y: { label: "variance of x_i", domain: [0, 1.2] }, series: both });
  const summary = summaryLine(on);
  root.append(
    element("div", { class: "fs-actions" }, button, note),
    element("div", { class: "fs-controls" }, scrub, ...controls),
    element("div", { class: "fs-pictures" }, ...pictures.map((p) => p.node)),
    ...summary.nodes,
    element("div", { class: "fs-plots" }, ratio.node, away.node, mean.node, variance.node),
  );
  el.append(root);
  on.onLeave(() => clearInterval(playing));

  /** There to x_T, back to x_0 and there again, until the reader has seen enough. */
  function play() {
    if (model.get("t") >= 1) towards = -1;
    playing = setInterval(() => {
      const T = model.get("T");
      const next = Math.round(model.get("t") * T) + towards * Math.ceil(T / 100);
      if (next >= T || next <= 0) towards = next >= T ? -1 : 1;
      model.set("t", Math.min(Math.max(next / T, 0), 1));
      model.save_changes();
    }, TICK);
    on.paint();
  }

  function pause() {
    clearInterval(playing);
    playing = 0;
    on.paint();
  }

  // What takes time is made once for what it depends on: the last of each kind is kept.
  const kept = new Map();
  const once = (kind, depends, make) => {
    const key = JSON.stringify(depends);
    if (kept.get(kind)?.key !== key) kept.set(kind, { key, value: make() });
    return kept.get(kind).value;
  };

  function draw() {
    const [t, gamma, T, form, error, photo, seed] = TRAITS.map((name) => model.get(name));
    const which = once("which", [photo], () => photos.slice(photo * count, (photo + 1) * count));
    const shares = once("shares", [photo], () => histogram(which));
    const noise = once("noise", [T, seed], () => gaussians(T * count, seed));
    const errors = error ? once("errors", [T], () => gaussians(T * count, 0)) : null; // the same for every seed of the noise
    const walks = Object.fromEntries(SIDES.map(([side]) => {
      const own = side === "pixel" ? [T, gamma] : [T];
      const law = once(`${side} law`, own, () => (side === "pixel" ? pixelLaw(LEVELS, gamma, T) : ddpmLaw(LEVELS, T)));
      const there = once(`${side} there`, [own, photo, seed], () => forwardStates(which, LEVELS, noise, law, T));
      const depends = [own, photo, seed, form, error];
      const back = once(`${side} back`, depends, () => backStates(which, LEVELS, there, noise, law, T, ...READINGS[form], error, errors));
      const apart = once(`${side} apart`, depends, () => distances(there, back, count));
      return [side, { law, there, back, apart, bar: (v, i) => Math.exp(law[256 * i + v]) }];
    }));
    const i = Math.round(t * T);
    drawPictures(walks, which, shares, i);
    const times = Array.from({ length: T + 1 }, (_, j) => j / T);
    const three = levelsOf(shares);
    drawRatios(walks, three, times, t);
    const grown = form === "exact" && error ? grownErrors(shares, walks.pixel.law, T).map((v) => v * error) : null;
    away.update({ pixel: [times, walks.pixel.apart], ddpm: [times, walks.ddpm.apart], grown: grown && [times, grown] }, t);
    const found = Object.fromEntries(SIDES.map(([side]) => [side, once(`${side} moments`, [T, photo, side === "pixel" && gamma], () => times.map((_, j) => moments(shares, (_, v) => walks[side].bar(v, j))))]));
    for (const [figure, field] of [[mean, "mean"], [variance, "variance"]]) {
      figure.update(Object.fromEntries(SIDES.map(([side]) => [side, [times, found[side].map((own) => own[field])]])), t);
    }
    say(walks, LEVELS[three.bright], { gamma, T, i, form, error });
    button.textContent = playing ? "Pause" : "Play";
    note.textContent = `there to step ${T} and back`;
    Object.assign(root.dataset, { i, pixel: walks.pixel.apart[0].toPrecision(9), ddpm: walks.ddpm.apart[0].toPrecision(9), playing: Boolean(playing) });
  }

  /** Both states of step i on one grey scale, so that a way back that went astray is seen as such; and the SNR. */
  function drawPictures(walks, which, shares, i) {
    SIDES.forEach(([side, name], row) => {
      const { there, back, apart, bar } = walks[side];
      const bars = Float64Array.from(LEVELS, (_, v) => bar(v, i));
      const spread = Math.sqrt(shares.reduce((sum, share, v) => sum + share * (1 - bars[v]), 0));
      const [low, high] = greyScale(spread);
      const ratios = bars.map((b, v) => (Math.log10((LEVELS[v] ** 2 * b) / (1 - b)) - MAP[0]) / (MAP[1] - MAP[0]));
      const [first, second, third] = pictures.slice(3 * row, 3 * row + 3);
      const shade = (data, p, v) => (data[4 * p] = data[4 * p + 1] = data[4 * p + 2] = 255 * v); // clamped by the array
      for (let p = 0; p < count; p++) {
        shade(first.data, p, (there[i * count + p] - low) / (high - low));
        shade(second.data, p, (back[i * count + p] - low) / (high - low));
        shade(third.data, p, ratios[which[p]]);
      }
      first.flush(`${name}, there: x_i at step ${i}, noise level ${spread.toFixed(2)}`);
      second.flush(`${name}, back: away by ${readable(apart[i])}`);
      third.flush(i ? "SNR of each pixel: 10⁻³ black, 100 white" : "SNR of each pixel: infinite");
    });
  }

  function drawRatios(walks, three, times, t) {
    const curve = (side, v) => [times, times.map((_, j) => (j ? (LEVELS[v] ** 2 * walks[side].bar(v, j)) / (1 - walks[side].bar(v, j)) : NaN))];
    const lines = Object.fromEntries(Object.entries(three).map(([key, v]) => [key, curve("pixel", v)]));
    const said = Object.entries(three).map(([key, v]) => `${key} ${readable(LEVELS[v])}`);
    ratio.update({ ...lines, ddpm: curve("ddpm", three.middle) }, t, `Pixels: ${said.join(", ")}.`);
  }

  function say(walks, bright, { gamma, T, i, form, error }) {
    const ends = SIDES.map(([side, name]) => {
      const at = brokenAt(walks[side].apart);
      const where = at < 0 ? "and stays near all the way" : `and is further than ${BROKEN} away from step ${at} on`;
      return `${name}’s way back ends ${readable(walks[side].apart[0])} from the picture, ${where}`;
    });
    const way = { exact: "The noise of each step undoes Eq. 2.", printed: "Eq. 15’s noises do not go with the printed factor.", corrected: "The corrected factor asks for noises of the state that was reached, and these are fixed." }[form];
    const grows = `an error in x_T is multiplied by exp(γx₀/2) = ${readable(Math.exp((gamma * bright) / 2), 3)} in a pixel of ${readable(bright)}, by ${readable(Math.exp(-walks.ddpm.law[256 * T] / 2), 3)} under DDPM`;
    summary.say(`Step ${i} of ${T}. ${way} Noises ${error ? `wrong by ${readable(error)}` : "without error"}: ${ends.join("; ")}. On the way back ${grows}.`);
  }

  on.paint();
  return on.leave;
}

/** Levels below which a twentieth, a half and nineteen twentieths of the pixels lie. */
export function levelsOf(shares) {
  const at = (share) => {
    let sum = 0;
    return shares.findIndex((own) => (sum += own) >= share - 1e-9);
  };
  return { dark: at(0.05), middle: at(0.5), bright: at(0.95) };
}

export default { render };
