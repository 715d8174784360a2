// fewsteps.samplers.parallel in the reader's browser: a forward trajectory, and the way back with every noise given in
// advance. A law is a table of log alpha_bar, one row of all grey levels for every step 0 ... T, so that one pair of
// functions walks PixelAware, which has a schedule for every level, and DDPM, which has one. Tested against Python.
import { vpLinearAlphaBar } from "./snr.js";

/** PixelAware's: -gamma x i / T. Source: PX-1, Eq. 9. */
export function pixelLaw(levels, gamma, steps) {
  const out = new Float64Array((steps + 1) * levels.length);
  for (let i = 0; i <= steps; i++) levels.forEach((x, v) => (out[i * levels.length + v] = (-gamma * x * i) / steps));
  return out;
}

/** DDPM's, stretched to T steps: the same for every level. Source: PX-2. */
export function ddpmLaw(levels, steps) {
  const out = new Float64Array((steps + 1) * levels.length);
  for (let i = 0; i <= steps; i++) out.fill(Math.log(vpLinearAlphaBar(i / steps)), i * levels.length, (i + 1) * levels.length);
  return out;
}

/** A row of a table that has one for every step. */
const rowOf = (table, width, i) => table.subarray(i * width, (i + 1) * width);

const factors = new WeakMap(); // of a law, kept as long as the law itself

/** What every step multiplies, sqrt(alpha_j), and adds, sqrt(1 - alpha_j), by level; a row of each for j = 1 ... T. */
function factorsOf(law, width) {
  if (factors.has(law)) return factors.get(law);
  const kept = new Float64Array(law.length - width);
  const spread = new Float64Array(kept.length);
  for (let k = 0; k < kept.length; k++) {
    const rate = law[k + width] - law[k];
    kept[k] = Math.exp(rate / 2);
    spread[k] = Math.sqrt(-Math.expm1(rate));
  }
  factors.set(law, { kept, spread });
  return { kept, spread };
}

/**
 * x_0 ... x_T, one after the other. `which` says the level of every pixel; `noise` holds eps_1 ... eps_T (Eq. 2).
 */
export function forwardStates(which, levels, noise, law, steps) {
  const [count, width] = [which.length, levels.length];
  const { kept, spread } = factorsOf(law, width);
  const out = new Float64Array((steps + 1) * count);
  for (let p = 0; p < count; p++) out[p] = levels[which[p]];
  for (let j = 0; j < steps; j++) {
    const [row, from] = [j * width, j * count];
    for (let p = 0; p < count; p++) {
      const v = row + which[p];
      out[from + count + p] = kept[v] * out[from + p] + spread[v] * noise[from + p];
    }
  }
  return out;
}

/**
 * The way back from x_T with the noises of the trajectory, wrong by `size` times `errors`: states x_0 ... x_T.
 * reading: "increment", the noise of every step (Eq. 2), or "marginal", that of every state (Eq. 3);
 * factor: "printed", sqrt(1 - alpha_j), or "posterior", (1 - alpha_j) / sqrt(1 - alpha_bar_j). Source: PX-7, PX-8.
 */
export function backStates(which, levels, states, noise, law, steps, reading, factor, size, errors) {
  const [count, width] = [which.length, levels.length];
  const { kept, spread } = factorsOf(law, width);
  const known = reading === "increment"; // no other noise has to be worked out
  const barred = known && factor === "printed" ? null : law.map((b) => Math.sqrt(-Math.expm1(b))); // sqrt(1 - alpha_bar)
  const signal = known ? null : law.map((b, k) => Math.exp(b / 2) * levels[k % width]);
  const before = factor === "printed" ? spread : spread.map((s, k) => (s * s) / barred[k + width]);
  const out = new Float64Array(states.length);
  out.set(rowOf(states, count, steps), steps * count);
  for (let j = steps - 1; j >= 0; j--) {
    const [row, to, from] = [j * width, j * count, (j + 1) * count];
    for (let p = 0; p < count; p++) {
      const v = row + which[p];
      let given = known ? noise[to + p] : (states[from + p] - signal[v + width]) / barred[v + width];
      if (size) given += size * errors[to + p];
      out[to + p] = (out[from + p] - before[v] * given) / kept[v];
    }
  }
  return out;
}

/** Root mean square difference of two trajectories, by step. */
export function distances(first, second, count) {
  return Array.from({ length: first.length / count }, (_, i) => {
    let sum = 0;
    for (let k = i * count; k < (i + 1) * count; k++) {
      const off = first[k] - second[k];
      sum += off * off;
    }
    return Math.sqrt(sum / count);
  });
}

/**
 * What independent errors of 1 in all of Z^1 ... Z^T have become at every step, by root mean square over a picture with
 * these shares of the levels: sqrt(alpha_bar_i / alpha_bar_T - 1), the sum of the squares of what each has grown to, with
 * the printed factor. Source: PX-8.
 */
export function grownErrors(shares, law, steps) {
  const width = shares.length;
  const last = rowOf(law, width, steps);
  return Array.from({ length: steps + 1 }, (_, i) => {
    const bar = rowOf(law, width, i);
    return Math.sqrt(shares.reduce((sum, share, v) => (share ? sum + share * Math.expm1(bar[v] - last[v]) : sum), 0));
  });
}
