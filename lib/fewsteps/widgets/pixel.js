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

/**
 * x_0 ... x_T, one after the other. `which` says the level of every pixel; `noise` holds eps_1 ... eps_T (Eq. 2).
 */
export function forwardStates(which, levels, noise, law, steps) {
  const count = which.length;
  const out = new Float64Array((steps + 1) * count);
  for (let p = 0; p < count; p++) out[p] = levels[which[p]];
  for (let j = 1; j <= steps; j++) {
    const rate = ratesAt(law, levels.length, j);
    const [kept, spread] = [rate.map((r) => Math.exp(r / 2)), rate.map((r) => Math.sqrt(-Math.expm1(r)))];
    const [before, now, z] = [rowOf(out, count, j - 1), rowOf(out, count, j), rowOf(noise, count, j - 1)];
    for (let p = 0; p < count; p++) now[p] = kept[which[p]] * before[p] + spread[which[p]] * z[p];
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
  const out = new Float64Array(states.length);
  out.set(rowOf(states, count, steps), steps * count);
  for (let j = steps; j >= 1; j--) {
    const [rate, bar] = [ratesAt(law, width, j), rowOf(law, width, j)];
    const grow = rate.map((r) => Math.exp(-r / 2));
    const before = rate.map((r, v) => (factor === "printed" ? Math.sqrt(-Math.expm1(r)) : -Math.expm1(r) / Math.sqrt(-Math.expm1(bar[v]))));
    const known = reading === "increment"; // no other noise has to be worked out
    const signal = known ? null : bar.map((b, v) => Math.exp(b / 2) * levels[v]);
    const sharpen = known ? null : bar.map((b) => 1 / Math.sqrt(-Math.expm1(b)));
    const [from, to, there, z] = [rowOf(out, count, j), rowOf(out, count, j - 1), rowOf(states, count, j), rowOf(noise, count, j - 1)];
    const wrong = size ? rowOf(errors, count, j - 1) : null;
    for (let p = 0; p < count; p++) {
      const v = which[p];
      let given = known ? z[p] : (there[p] - signal[v]) * sharpen[v];
      if (wrong) given += size * wrong[p];
      to[p] = (from[p] - before[v] * given) * grow[v];
    }
  }
  return out;
}

/** log alpha_j by level. */
function ratesAt(law, width, j) {
  const [now, before] = [rowOf(law, width, j), rowOf(law, width, j - 1)];
  return now.map((value, v) => value - before[v]);
}

/** Root mean square difference of two trajectories, by step. */
export function distances(first, second, count) {
  return Array.from({ length: first.length / count }, (_, i) => {
    let sum = 0;
    for (let k = i * count; k < (i + 1) * count; k++) sum += (first[k] - second[k]) ** 2;
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
