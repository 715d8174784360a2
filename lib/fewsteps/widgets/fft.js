// The two-dimensional orthonormal DFT of square images whose side is a power of two: fewsteps.transforms.fft2.

const plans = new Map();

/** Bit reversal and roots of unity, made once per length. */
function planOf(n) {
  if (n < 1 || (n & (n - 1)) !== 0) throw new Error(`the side must be a power of two, not ${n}`);
  if (!plans.has(n)) {
    const reversed = new Uint32Array(n);
    for (let i = 1, half = n >> 1; i < n; i++) reversed[i] = (reversed[i >> 1] >> 1) | (i & 1 ? half : 0);
    const cos = Float64Array.from({ length: n / 2 || 1 }, (_, k) => Math.cos((2 * Math.PI * k) / n));
    const sin = Float64Array.from({ length: n / 2 || 1 }, (_, k) => Math.sin((2 * Math.PI * k) / n));
    plans.set(n, { reversed, cos, sin });
  }
  return plans.get(n);
}

/** One transform of length n in place, entries `stride` apart from `start`; sign -1 is forward. */
function line(re, im, start, stride, n, sign) {
  const { reversed, cos, sin } = planOf(n);
  for (let i = 0; i < n; i++) {
    const j = reversed[i];
    if (j <= i) continue;
    const a = start + i * stride;
    const b = start + j * stride;
    let t = re[a];
    re[a] = re[b];
    re[b] = t;
    t = im[a];
    im[a] = im[b];
    im[b] = t;
  }
  for (let half = 1; half < n; half *= 2) {
    const step = n / (2 * half);
    for (let k = 0; k < half; k++) {
      const wr = cos[k * step];
      const wi = sign * sin[k * step];
      for (let i = k; i < n; i += 2 * half) {
        const a = start + i * stride;
        const b = a + half * stride;
        const xr = re[b] * wr - im[b] * wi;
        const xi = re[b] * wi + im[b] * wr;
        re[b] = re[a] - xr;
        im[b] = im[a] - xi;
        re[a] += xr;
        im[a] += xi;
      }
    }
  }
}

/** Swap rows and columns, so that both passes walk through memory in order. */
function transpose(v, n) {
  for (let i = 0; i < n; i++) {
    for (let j = i + 1; j < n; j++) {
      const t = v[i * n + j];
      v[i * n + j] = v[j * n + i];
      v[j * n + i] = t;
    }
  }
}

/** Orthonormal DFT of an n x n complex image, in place; `inverse` undoes it. */
export function fft2(re, im, n, inverse = false) {
  const sign = inverse ? 1 : -1;
  for (let pass = 0; pass < 2; pass++) {
    for (let row = 0; row < n; row++) line(re, im, row * n, 1, n, sign);
    transpose(re, n);
    transpose(im, n);
  }
  for (let i = 0; i < n * n; i++) {
    re[i] /= n;
    im[i] /= n;
  }
}

/** Squared integer distance of every coefficient to the zero frequency on the folded grid. */
export function squaredRadius(n) {
  const out = new Uint32Array(n * n);
  for (let i = 0; i < n; i++) {
    const a = Math.min(i, n - i);
    for (let j = 0; j < n; j++) {
      const b = Math.min(j, n - j);
      out[i * n + j] = a * a + b * b;
    }
  }
  return out;
}
