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
