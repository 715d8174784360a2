// PixelAware's one pass in the reader's browser: starts drawn from a mixture over the scale estimator's vectors, and
// three ways from the noises to an image. Networks are run elsewhere; tested against Python.
import { PIXEL_MIN } from "./snr.js";

/** Numbers in half precision, two bytes each, lowest first. */
export function halves(raw) {
  return Float64Array.from({ length: raw.length / 2 }, (_, k) => {
    const bits = raw[2 * k] | (raw[2 * k + 1] << 8);
    const [sign, exponent, part] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + part / 1024) : (2 ** -14 * part) / 1024);
  });
}

/** How many normal numbers a draw takes: two for its component, and one for each direction and each entry. */
export const numbersFor = (long, rank) => 2 + long + rank;

/**
 * `count` draws, one after the other, from a mixture of normal laws: weights (K), means and spreads (K, d), directions
 * (K, r, d). Of two normal numbers exp(-(a^2 + b^2) / 2) is uniform.
 */
export function drawn(weights, means, spreads, factors, count, numbers) {
  const long = means.length / weights.length;
  const rank = factors.length / means.length;
  const out = new Float32Array(count * long);
  for (let b = 0; b < count; b++) {
    const own = numbers.subarray(b * numbersFor(long, rank), (b + 1) * numbersFor(long, rank));
    const uniform = Math.exp(-(own[0] ** 2 + own[1] ** 2) / 2);
    let sum = weights[0];
    let k = 0;
    while (sum < uniform && k + 1 < weights.length) sum += weights[++k];
    for (let p = 0; p < long; p++) {
      let value = means[k * long + p] + spreads[k * long + p] * own[2 + p];
      for (let q = 0; q < rank; q++) value += factors[(k * rank + q) * long + p] * own[2 + long + q];
      out[b * long + p] = value;
    }
  }
  return out;
}

/** The images that scales stand for. Source: PX-5. */
export const scaleImages = (scale, gamma) => Float64Array.from(scale, (s) => Math.min(Math.max(-Math.log(s) / gamma, PIXEL_MIN), 1));

/** States x_T made of the images that scales stand for. Source: PX-1, Eq. 9. */
export function startStates(scale, gamma, noise) {
  const x0 = scaleImages(scale, gamma);
  return Float32Array.from(x0, (x, p) => Math.exp((-gamma * x) / 2) * x + Math.sqrt(-Math.expm1(-gamma * x)) * noise[p]);
}

/**
 * Images out of states x_T, the scale and Z^1 ... Z^T, (B, T C, H, W), one `long` numbers an image: by the scale alone, by
 * Algorithm 1 as printed without fresh noise, and by the last noise and Eq. 9; one way after the other. Source: PX-8.
 */
export function threeWays(x, scale, noises, gamma, steps, long) {
  const out = new Float32Array(3 * x.length);
  out.set(scaleImages(scale, gamma));
  for (let p = 0; p < x.length; p++) {
    const first = Math.floor(p / long) * steps * long + (p % long); // of Z^1 at this pixel
    const rate = Math.log(scale[p]) / steps;
    const [spread, grow] = [Math.sqrt(-Math.expm1(rate)), Math.exp(-rate / 2)];
    let state = x[p];
    for (let j = steps; j >= 1; j--) state = (state - spread * noises[first + (j - 1) * long]) * grow;
    out[x.length + p] = state;
    const last = (x[p] - Math.sqrt(1 - scale[p]) * noises[first + (steps - 1) * long]) / Math.sqrt(scale[p]);
    out[2 * x.length + p] = Math.min(Math.max(last, PIXEL_MIN), 1);
  }
  return out;
}
