// The frequencies of a square image as a list, each pair of indices once with its count, and the papers' masks on them:
// fewsteps.widgets.filtering.lattice, fewsteps.filters and fewsteps.spectra, which the tests hold these against.

/** Every frequency once, by increasing distance: squared index distances to the zero frequency and to the middle. */
export function lattice(size, basis) {
  const last = basis === "dct" ? size - 1 : size / 2;
  const times = (k) => (basis === "dct" || k === 0 || k === size / 2 ? 1 : 2);
  const pairs = [];
  for (let a = 0; a <= last; a++) for (let b = a; b <= last; b++) pairs.push([a, b]);
  pairs.sort(([a, b], [c, d]) => a * a + b * b - c * c - d * d || a - c);
  const of = (make) => Float64Array.from(pairs, ([a, b]) => make(a, b));
  const squared = of((a, b) => a * a + b * b);
  return {
    pairs,
    squared,
    count: of((a, b) => times(a) * times(b) * (a === b ? 1 : 2)),
    unshifted: of((a, b) => (size / 2 - a) ** 2 + (size / 2 - b) ** 2),
    frequency: Float64Array.from(squared, (d) => Math.sqrt(d) / (basis === "dct" ? 2 * size : size)),
  };
}

/** For every pixel of a mask as the transforms lay it out, zero frequency first, the entry of the list. */
export function places(size, basis, pairs) {
  const entry = new Map(pairs.map(([a, b], i) => [a * size + b, i]));
  const fold = (k) => (basis === "dct" ? k : Math.min(k, size - k));
  const out = new Int32Array(size * size);
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      const [a, b] = [fold(i), fold(j)];
      out[i * size + j] = entry.get(Math.min(a, b) * size + Math.max(a, b));
    }
  }
  return out;
}

/** Gains of zones read from the inside out: the first radius that holds a frequency decides. */
export function zoneGains(squared, size, lams, radii) {
  const gains = [1, ...lams];
  return Float64Array.from(squared, (d) => {
    const zone = radii.findIndex((r) => d <= 2 * (r * size) ** 2 * (1 + 1e-12));
    return gains[zone < 0 ? lams.length : zone];
  });
}

/** PDS' data-driven mask for data in [-1, 1]: images in [0, 1], plain DFT, the mean grey of 1/2 as its maximum. */
export function pdsGains(variance, size, alpha) {
  const response = Float64Array.from(variance, (v, i) => Math.log1p(i ? (v * size * size) / 4 : (size * size * 0.5) ** 2));
  const most = response.reduce((a, b) => Math.max(a, b));
  return response.map((R) => (R / most + alpha - 1) / alpha);
}

/** Mean of gamma over all frequencies at least as far as each entry. */
export function kappaAt(gamma, squared, count) {
  const out = new Float64Array(gamma.length);
  let [sum, all] = [0, 0];
  for (let i = gamma.length - 1; i >= 0; i--) {
    sum += gamma[i] * count[i];
    all += count[i];
    out[i] = sum / all;
  }
  for (let i = 1; i < gamma.length; i++) if (squared[i] === squared[i - 1]) out[i] = out[i - 1];
  return out;
}

/** The least value that a share `a` of all frequencies does not exceed. */
export function quantileOf(values, count, a) {
  const order = Array.from(values.keys()).sort((i, j) => values[i] - values[j]);
  const all = count.reduce((x, y) => x + y);
  let seen = 0;
  for (const i of order) {
    seen += count[i];
    if (seen >= a * all * (1 - 1e-12)) return values[i];
  }
  return values[order.at(-1)];
}

/** TDAS' own lambda and r for each quantile, with null for an r that kappa never gives. */
export function automaticZones(gamma, squared, count, size, quantiles, amplitude, end) {
  const along = kappaAt(gamma, squared, count);
  const mean = gamma.reduce((sum, g, i) => sum + g * count[i], 0) / count.reduce((x, y) => x + y);
  return quantiles.map((a) => {
    const level = quantileOf(gamma, count, a);
    const first = squared.findIndex((d, i) => d > 0 && (a > 0.5 ? along[i] >= level : along[i] <= level));
    const lam = amplitude ? Math.sqrt(mean / level) : mean / level;
    return { level, lam, r: first < 0 ? null : Math.min(Math.sqrt(squared[first] / 2) / size, end) };
  });
}

/** Averages over rings one index wide, for curves: what is summed over what it is a share of. */
export function byRing(values, count, squared, weights = null) {
  const rings = new Map();
  for (let i = 0; i < values.length; i++) {
    const key = Math.round(Math.sqrt(squared[i]));
    const ring = rings.get(key) ?? [0, 0];
    ring[0] += count[i] * values[i];
    ring[1] += count[i] * (weights ? weights[i] : 1);
    rings.set(key, ring);
  }
  return [...rings.keys()].sort((a, b) => a - b).map((k) => rings.get(k)[0] / rings.get(k)[1]);
}

/** Largest over smallest of (v + sigma^2) / m^2: what a preconditioner is to bring down. */
export function conditionNumber(variance, sigma, gains) {
  let [least, most] = [Infinity, 0];
  for (let i = 0; i < variance.length; i++) {
    const value = (variance[i] + sigma * sigma) / (gains[i] * gains[i]);
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return most / least;
}

/** An orthonormal DCT-II of a square image, or back: rows and columns with one matrix. */
export function dctImage(image, n, inverse = false) {
  const matrix = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++) matrix[k * n + i] = Math.sqrt((k ? 2 : 1) / n) * Math.cos((Math.PI * k * (i + 0.5)) / n);
  }
  const along = (source) => {
    const out = new Float64Array(n * n);
    for (let a = 0; a < n; a++) {
      for (let i = 0; i < n; i++) {
        const weight = inverse ? matrix[i * n + a] : matrix[a * n + i];
        for (let to = a * n, from = i * n; to < (a + 1) * n; to++, from++) out[to] += weight * source[from];
      }
    }
    return out;
  };
  return transposed(along(transposed(along(image), n)), n);
}

function transposed(image, n) {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) out[j * n + i] = image[i * n + j];
  return out;
}
