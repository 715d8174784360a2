// fewsteps.samplers in the reader's browser: five samplers of the variance exploding process, where alpha is 1 and time
// is the noise level itself, and TDAS' filter. Python runs the samplers themselves; the tests hold one against the
// other over whole trajectories. States are in single precision as in torch, the arithmetic of a step is in double.
import { gaussians } from "./kit.js";

/**
 * What a step does to the state x, given the network's `mean` of clean images at noise level t, on the way to level s;
 * s = 0 is clean. `call(x, level)` asks the network again, `noise()` draws, `memory` lasts for the whole run.
 */
export const WALKS = {
  reverse: {
    name: "VE reverse diffusion",
    injects: true,
    step: ({ x, mean, t, s, noise }) => stirred(towards(x, mean, t, s), s && t * Math.sqrt(1 - (s / t) ** 2), noise),
  },
  ancestral: {
    name: "VE ancestral",
    injects: true,
    step: ({ x, mean, t, s, noise }) => stirred(towards(x, mean, t, s), s * Math.sqrt(1 - (s / t) ** 2), noise),
  },
  ddim: {
    name: "DDIM",
    step: ({ x, mean, t, s }) => mixed(s / t, x, 1 - s / t, mean),
  },
  dpmpp_2m: {
    name: "DPM-Solver++(2M)",
    step: ({ x, mean, t, s, memory }) => {
      const width = s ? -Math.log(s / t) : 1; // growth of log(1 / sigma)
      const lean = s && memory.mean ? width / (2 * memory.width) : 0;
      const direction = lean ? mixed(1 + lean, mean, -lean, memory.mean) : mean;
      Object.assign(memory, { mean, width });
      return mixed(s / t, x, 1 - s / t, direction);
    },
  },
  heun: {
    name: "Heun (EDM)",
    twice: true, // a second call at the lower level, unless that is clean data
    step: async ({ x, mean, t, s, call }) => {
      const slope = mixed(1 / t, x, -1 / t, mean);
      const ahead = mixed(1, x, s - t, slope);
      if (!s) return ahead;
      const there = mixed(1 / s, ahead, -1 / s, await call(ahead, s));
      return mixed(1, x, s - t, mixed(0.5, slope, 0.5, there));
    },
  },
};

/** Network calls of that many steps: not the same number. */
export const callsFor = (name, steps) => (WALKS[name].twice ? 2 * steps - 1 : steps);

/** EDM's grid: noise levels evenly spaced in their 1/rho-th power, then 0. */
export function karras(highest, lowest, steps, rho = 7) {
  const [first, last] = [highest ** (1 / rho), lowest ** (1 / rho)];
  const levels = Array.from({ length: steps }, (_, k) => (first + (k / Math.max(steps - 1, 1)) * (last - first)) ** rho);
  levels[0] = highest;
  return [...levels, 0];
}

/**
 * One run: yields {i, level, x, mean, nfe} after every step, i from 1, `level` the one that x has reached.
 * denoise(x, level) -> promise of the clean images that the network expects; noise() -> white noise of the state's size.
 */
export async function* walk(name, levels, denoise, noise) {
  const memory = {};
  let nfe = 0;
  let mean;
  const call = async (x, level) => {
    nfe += 1;
    return (mean = await denoise(x, level));
  };
  let x = Float32Array.from(noise(), (z) => levels[0] * z);
  for (let i = 1; i < levels.length; i++) {
    const [t, s] = [levels[i - 1], levels[i]];
    await call(x, t);
    x = await WALKS[name].step({ x, mean, t, s, call, noise, memory });
    yield { i, level: s, x, mean, nfe };
  }
}

/** a x + b y. */
function mixed(a, x, b, y) {
  const out = new Float32Array(x.length);
  for (let k = 0; k < out.length; k++) out[k] = a * x[k] + b * y[k];
  return out;
}

/** The mean of a stochastic step, x + (t^2 - s^2) score. */
function towards(x, mean, t, s) {
  const part = 1 - (s / t) ** 2;
  return mixed(1 - part, x, part, mean);
}

function stirred(x, spread, noise) {
  return spread ? mixed(1, x, spread, noise()) : x;
}

/**
 * Noise for two rows of `count` numbers each, the second M times the first: the same draw without and with the filter.
 * Returns a function of no arguments, every call of which draws further numbers; the first is call 0.
 */
export function twins(seed, count, size, gains) {
  let call = 0;
  return () => {
    const z = gaussians(count, seed, call++ * count);
    const out = new Float32Array(2 * count);
    out.set(z);
    out.set(filtered(z, size, gains), count);
    return out;
  };
}

/** TDAS' mask of one zone over DCT coefficients: 1 up to the radius r, in units of the height, and lam beyond. */
export function zoneGains(size, lam, r) {
  const inside = 2 * (r * size) ** 2 * (1 + 1e-12);
  return Float64Array.from({ length: size * size }, (_, k) =>
    Math.floor(k / size) ** 2 + (k % size) ** 2 <= inside ? 1 : lam,
  );
}

/** M z = D^-1[m . D z] for every image of `size` pixels squared that z holds, D the orthonormal DCT-II. */
export function filtered(z, size, gains) {
  const matrix = cosines(size);
  const out = new Float64Array(z.length);
  for (let at = 0; at < z.length; at += size * size) {
    const spectrum = bothAxes(z.subarray(at, at + size * size), size, matrix, false);
    for (let k = 0; k < spectrum.length; k++) spectrum[k] *= gains[k];
    out.set(bothAxes(spectrum, size, matrix, true), at);
  }
  return out;
}

const FLOOR = 0.03; // of the data's power: where both predictions hold less, nothing is known yet and the gain goes to 1
const MOST = 2;

/**
 * What the power of predictions should be: one or two tables of levels by rings, without the class and told it, the
 * power of the data by ring, and its mean image, all in one array of `powers`.
 */
export function idealsOf(powers, levels, tables, pixels) {
  const rings = (powers.length - pixels) / (tables * levels.length + 1);
  const long = levels.length * rings;
  const data = powers.subarray(tables * long, tables * long + rings);
  const around = powers.subarray(tables * long + rings);
  return Array.from({ length: tables }, (_, k) => ({ levels, table: powers.subarray(k * long, (k + 1) * long), data, around }));
}

/** The power that predictions should have at a noise level, by ring; logarithms are interpolated. */
export function wantedAt({ levels, table }, level) {
  const rings = table.length / levels.length;
  const at = Math.log(Math.min(Math.max(level, levels[0]), levels.at(-1)));
  let k = 1;
  while (k < levels.length - 1 && Math.log(levels[k]) < at) k++;
  const share = (at - Math.log(levels[k - 1])) / Math.log(levels[k] / levels[k - 1]);
  return Float64Array.from({ length: rings }, (_, ring) => {
    const [low, high] = [table[(k - 1) * rings + ring], table[k * rings + ring]].map((v) => Math.log(Math.max(v, 1e-30)));
    return Math.exp(low + share * (high - low));
  });
}

/**
 * Predictions with the power, ring by ring, that they should have at a noise level: {mean, gains}. The gains come from
 * these images themselves; `Corrected` and `Matching` in Python, where tables are made with gains of other images.
 */
export function putRight(mean, size, ideal, level) {
  const matrix = cosines(size);
  const [area, around] = [size * size, ideal.around];
  const rings = ideal.data.length;
  const ring = Int32Array.from({ length: area }, (_, k) => Math.round(Math.hypot(Math.floor(k / size), k % size)));
  const [sums, counts] = [new Float64Array(rings), new Float64Array(rings)];
  const spectra = [];
  for (let at = 0; at < mean.length; at += area) {
    const part = Float64Array.from({ length: area }, (_, p) => mean[at + p] - around[(at + p) % around.length]);
    const spectrum = bothAxes(part, size, matrix, false);
    for (let k = 0; k < area; k++) {
      sums[ring[k]] += spectrum[k] ** 2;
      counts[ring[k]] += 1;
    }
    spectra.push(spectrum);
  }
  const gains = wantedAt(ideal, level).map((wanted, k) => {
    const least = FLOOR * ideal.data[k] + Number.MIN_VALUE;
    return Math.min(Math.max(Math.sqrt((wanted + least) / (sums[k] / counts[k] + least)), 1 / MOST), MOST);
  });
  const out = new Float32Array(mean.length);
  spectra.forEach((spectrum, part) => {
    const at = part * area;
    const back = bothAxes(spectrum.map((value, k) => gains[ring[k]] * value), size, matrix, true);
    for (let p = 0; p < area; p++) out[at + p] = back[p] + around[(at + p) % around.length];
  });
  return { mean: out, gains };
}

/** A denoiser whose predictions from the number `half` on are put right, and heard(gains) after every call. */
export function secondRow(denoise, half, size, ideal, heard = () => {}) {
  return async (x, level) => {
    const said = Float32Array.from(await denoise(x, level));
    const { mean, gains } = putRight(said.subarray(half), size, ideal, level);
    said.set(mean, half);
    heard(Array.from(gains));
    return said;
  };
}

/** Mean power of all images of `size` pixels squared that x holds, by ring of DCT frequencies, from the zero frequency on. */
export function ringPower(x, size) {
  const matrix = cosines(size);
  const [sums, counts] = [new Float64Array(size + 1), new Float64Array(size + 1)];
  for (let at = 0; at < x.length; at += size * size) {
    const spectrum = bothAxes(x.subarray(at, at + size * size), size, matrix, false);
    for (let k = 0; k < spectrum.length; k++) {
      const ring = Math.round(Math.hypot(Math.floor(k / size), k % size));
      if (ring > size) continue;
      sums[ring] += spectrum[k] ** 2;
      counts[ring] += 1;
    }
  }
  return Array.from(sums, (sum, ring) => sum / counts[ring]);
}

/** The transform along both axes, or back. */
const bothAxes = (x, size, matrix, back) => along(along(x, size, matrix, back), size, matrix, back);

/** The transform along rows, written as columns, so that a second pass goes along the other axis. */
function along(x, size, matrix, back) {
  const out = new Float64Array(size * size);
  for (let row = 0; row < size; row++) {
    for (let k = 0; k < size; k++) {
      let sum = 0;
      for (let j = 0; j < size; j++) sum += x[row * size + j] * (back ? matrix[j * size + k] : matrix[k * size + j]);
      out[k * size + row] = sum;
    }
  }
  return out;
}

const known = new Map();

function cosines(size) {
  if (!known.has(size)) {
    const entry = (k, j) => Math.cos((Math.PI / size) * (j + 0.5) * k) * Math.sqrt((k ? 2 : 1) / size);
    known.set(size, Float64Array.from({ length: size * size }, (_, i) => entry(Math.floor(i / size), i % size)));
  }
  return known.get(size);
}
