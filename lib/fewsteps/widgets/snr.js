// fewsteps.schedules in the reader's browser, for the curves of chapter 03; tested against Python number by number.

export const PIXEL_MIN = 4e-3;

/** DDPM's alpha_bar_0 .. alpha_bar_T for betas evenly spaced between two ends. Source: PX-2. */
export function linearAlphaBar(steps, first = 1e-4, last = 0.02) {
  const out = new Float64Array(steps + 1);
  let log = 0;
  out[0] = 1;
  for (let i = 1; i <= steps; i++) {
    const beta = steps === 1 ? first : first + ((last - first) * (i - 1)) / (steps - 1);
    log += Math.log1p(-beta);
    out[i] = Math.exp(log);
  }
  return out;
}

/** alpha_bar of the continuous schedule with rate from betaMin to betaMax, 0 <= t <= 1. */
export function vpLinearAlphaBar(t, betaMin = 0.1, betaMax = 20) {
  return Math.exp(-t * (betaMin + (t * (betaMax - betaMin)) / 2));
}

/** alpha_bar of the squared cosine, 0 <= t <= 1. */
export function cosineAlphaBar(t, s = 0.008) {
  const at = (v) => Math.cos(((v + s) / (1 + s)) * (Math.PI / 2)) ** 2;
  return at(t) / at(0);
}

/** VE's geometric noise scale at a share t of the way from sigmaMin to sigmaMax. */
export function veSigma(t, sigmaMin = 0.01, sigmaMax = 50) {
  return sigmaMin * (sigmaMax / sigmaMin) ** t;
}

/** PixelAware's alpha_bar of a pixel; `steps` > 0 divides once more, as Eq. 10 prints. Source: PX-1, Eq. 9. */
export function pixelAlphaBar(x, t, gamma, steps = 0) {
  return Math.exp((-gamma * t * x) / (steps || 1));
}

/** SNR of a pixel, its own square counted as signal. Source: PX-2, Eq. 11. */
export function pixelSnr(x, t, gamma, steps = 0) {
  return (x * x) / Math.expm1((gamma * t * x) / (steps || 1));
}

/** KL from the law of x_t given a pixel to N(0, 1), nats. Source: PX-4. */
export function klToStandardNormal(x, alphaBar) {
  const variance = 1 - alphaBar;
  return (alphaBar * x * x + variance - 1 - Math.log(variance)) / 2;
}

/** Time at which a pixel's SNR has fallen to `level`. Source: PX-11. */
export function timeToSnr(x, level, gamma) {
  return Math.log1p((x * x) / level) / (gamma * x);
}

/** alpha_bar_0 .. alpha_bar_T of ProgDDGAN's special schedule, smallest tie. Source: PD-1, Eq. 12 and 13. */
export function progressiveAlphaBar(steps, betaMin = 0.1, betaMax = 20, threshold = 0.1) {
  const integral = Math.log1p(1 / threshold);
  const slope = betaMax - betaMin;
  const crossing = (2 * integral) / (betaMin + Math.sqrt(betaMin * betaMin + 2 * slope * integral));
  let length = steps + 1;
  while (Math.floor(crossing * length) < steps) length += 1;
  const out = Array.from({ length: steps }, (_, i) => vpLinearAlphaBar(i / length, betaMin, betaMax));
  return [...out, vpLinearAlphaBar(1, betaMin, betaMax)];
}

/** The pixels that a byte may stand for. */
export const LEVELS = Float64Array.from({ length: 256 }, (_, v) => Math.max(v / 255, PIXEL_MIN));

/** Shares of the 256 levels among every `stride`-th of some bytes: all that moments need of a picture. */
export function histogram(raw, stride = 1) {
  const shares = new Float64Array(256);
  const one = stride / raw.length;
  for (let i = 0; i < raw.length; i += stride) shares[raw[i]] += one;
  return shares;
}

/** Mean and variance over the pixels of x_t, for a law alpha_bar(x, level): the empirical statistics of Fig. 2. */
export function moments(shares, alphaBarOf) {
  let [mean, square, noise] = [0, 0, 0];
  for (let v = 0; v < 256; v++) {
    if (!shares[v]) continue;
    const alphaBar = alphaBarOf(LEVELS[v], v);
    const kept = Math.sqrt(alphaBar) * LEVELS[v];
    mean += shares[v] * kept;
    square += shares[v] * kept * kept;
    noise += shares[v] * (1 - alphaBar);
  }
  return { mean, variance: square - mean * mean + noise };
}

/** What is drawn black and white where noise of this spread lies over pixels in [0, 1]: wider as the noise grows. */
export const greyScale = (spread) => [-1.8 * spread, 1 + 0.8 * spread];
