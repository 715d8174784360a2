// fewsteps.wiener in the reader's browser: the same formulas, tested against the Python ones number by number.

/** Frequency response of the filter that predicts the noise. Source: SD-1, Eq. 6. */
export function noiseResponse(power, alphaBar, form = "correct") {
  const numerator = form === "correct" || form === "squared" ? Math.sqrt(1 - alphaBar) : 1;
  return numerator / (alphaBar * power + 1 - alphaBar);
}

/** What reaches the estimate of sqrt(alphaBar) x0 from x_t. Source: SD-1, section 4.1 and Fig. 3. */
export function reconstructionResponse(power, alphaBar, form = "correct") {
  const response = noiseResponse(power, alphaBar, form);
  if (form === "caption") return 1 - (1 - alphaBar) * response * response;
  if (form === "printed") return 1 - Math.sqrt(1 - alphaBar) * response;
  const gain = (alphaBar * power) / (alphaBar * power + 1 - alphaBar);
  return form === "squared" ? gain * (2 - gain) : gain;
}

/** Amplitude A of A / f^a whose mean power over all non-zero frequencies of an n x n image is `variance`. */
export function amplitudeFor(exponent, variance, radii2, n) {
  const tally = new Uint32Array((n * n) / 2 + 1); // coefficients at every squared radius: one power serves them all
  for (let i = 1; i < radii2.length; i++) tally[radii2[i]]++;
  let sum = 0;
  for (let r2 = 1; r2 < tally.length; r2++) if (tally[r2]) sum += tally[r2] * (Math.sqrt(r2) / n) ** -exponent;
  return (variance * radii2.length) / sum;
}

/** Where the response of a power law falls to one half, cycles per pixel: alphaBar S = 1 - alphaBar. */
export function halfFrequency(amplitude, exponent, alphaBar) {
  return exponent > 0 ? ((amplitude * alphaBar) / (1 - alphaBar)) ** (1 / exponent) : NaN;
}
