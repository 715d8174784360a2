// fewsteps.theory in the reader's browser: what each sampler does to the variance at every frequency of Gaussian data.
// Python finds the same numbers by running the samplers themselves; the tests hold one against the other.

/** Where a sampler draws noise after its start, whether it has a score for a filter's drift, and its calls per step. */
export const SAMPLERS = {
  reverse: { name: "VE reverse diffusion", family: "ve", places: ["predictor"], drift: true },
  ancestral: { name: "VE ancestral = DDPM, small variance", family: "ve", places: ["predictor"], drift: true },
  pc: { name: "NCSN++ predictor-corrector", family: "ve", places: ["predictor", "corrector"], drift: true },
  langevin: { name: "annealed Langevin, 5 moves per level", family: "ve", places: ["corrector"], drift: true },
  ddpm_large: { name: "DDPM, large variance", family: "vp", places: ["predictor"], drift: false },
  analytic: { name: "Analytic-DDPM", family: "vp", places: ["predictor"], drift: false },
  spectral: { name: "Analytic-DDPM by frequency", family: "vp", places: ["predictor"], drift: false },
  ddim: { name: "DDIM", family: "vp", places: [], drift: false },
  heun: { name: "Heun (EDM)", family: "ve", places: [], drift: false },
  dpmpp_2m: { name: "DPM-Solver++(2M)", family: "vp", places: [], drift: false },
};
export const MOVES = 5; // Langevin moves per level
export const MOVE_RATIO = 0.5; // step of a Langevin move over sigma squared
export const SNR = 0.16; // of the corrector

/** Iterations (Langevin: levels) that `nfe` network calls pay for; at least one. */
export function stepsFor(sampler, nfe) {
  const spent = { pc: nfe / 2, heun: (nfe + 1) / 2, langevin: (nfe - 1) / MOVES }[sampler] ?? nfe;
  return Math.max(1, Math.floor(spent + 1e-9));
}

/** Network calls of that many iterations (Langevin: levels). */
export function callsOf(sampler, steps) {
  return { pc: 2 * steps, heun: 2 * steps - 1, langevin: MOVES * steps + 1 }[sampler] ?? steps;
}

/** alpha and sigma on a geometric grid of noise-to-signal ratios and at clean data, for alpha = 1 or alpha^2 + sigma^2 = 1. */
export function scales(family, highest, lowest, steps) {
  const levels = Array.from({ length: steps }, (_, k) => {
    const share = steps > 1 ? k / (steps - 1) : 0;
    return Math.exp(Math.log(highest) + share * (Math.log(lowest) - Math.log(highest)));
  });
  levels.push(0);
  const alphas = levels.map((l) => (family === "ve" ? 1 : 1 / Math.sqrt(1 + l * l)));
  return { alphas, sigmas: levels.map((l, k) => l * alphas[k]) };
}

/** Where a filter acts: null means the start and whatever the sampler injects. A sentence says what cannot be done. */
export function placement(sampler, where, drift) {
  const { places, drift: canDrift } = SAMPLERS[sampler];
  const name = SAMPLERS[sampler].name;
  if (drift && !canDrift) return { refused: `${name} has no score term for M Mᵀ to multiply.` };
  if (drift && where === "prior") return { refused: "At the start there is no score for M Mᵀ to multiply." };
  if (where === "all" && !places.length) return { refused: `${name} injects no noise: only its start can be filtered.` };
  if (where !== "all" && where !== "prior" && !places.includes(where)) {
    return { refused: `${name} has no ${where} whose noise could be filtered.` };
  }
  const acts = (place) => where === place || (where === "all" && (place === "prior" || places.includes(place)));
  return { prior: acts("prior"), predictor: acts("predictor"), corrector: acts("corrector") };
}

/**
 * Variance of the output at every frequency.
 * v: variances of the data, count: how many coefficients each stands for, m: the filter's gains,
 * at: {prior, predictor, corrector} truths, drift: whether m^2 multiplies the score beside filtered noise.
 */
export function propagate(sampler, v, count, alphas, sigmas, m, at, drift) {
  const n = v.length;
  const steps = alphas.length - 1;
  const none = new Float64Array(n).fill(1);
  const gain = (place) => (at[place] ? m : none);
  const pull = (place) => (drift && at[place] ? Float64Array.from(m, (g) => g * g) : none);
  const [atStart, injected, moved] = ["prior", "predictor", "corrector"].map(gain);
  const [pushed, dragged] = ["predictor", "corrector"].map(pull);
  const variance = Float64Array.from(atStart, (g) => (sigmas[0] * g) ** 2);

  if (sampler === "dpmpp_2m") return multistep(v, alphas, sigmas, variance);
  for (let k = 0; k < steps; k++) {
    const [at_, st, as, ss] = [alphas[k], sigmas[k], alphas[k + 1], sigmas[k + 1]];
    const shrink = (at_ * ss) / (as * st);
    const part = 1 - shrink * shrink;
    if (sampler === "pc") correct(variance, v, count, at_, st, moved, dragged);
    if (sampler === "langevin") {
      const a = MOVE_RATIO * st * st;
      for (let i = 0; i < n; i++) {
        const keep = 1 - ((a / 2) * dragged[i]) / (at_ * at_ * v[i] + st * st);
        for (let j = 0; j < MOVES; j++) variance[i] = keep * keep * variance[i] + a * moved[i] * moved[i];
      }
      if (ss > 0) continue;
    }
    let unknown = 0;
    if (sampler === "analytic") {
      let [sum, all] = [0, 0];
      for (let i = 0; i < n; i++) {
        sum += (count[i] * st * st) / (at_ * at_ * v[i] + st * st);
        all += count[i];
      }
      unknown = (st / at_) ** 2 * (1 - sum / all);
    }
    // All but Heun and the moves by the score keep base + slope * G of the state; what is added is the same at all
    // frequencies, but for "spectral".
    let [base, slope, added] = [ss / st, as - (ss / st) * at_, 0]; // DDIM
    const moves = ["reverse", "ancestral", "pc"].includes(sampler); // by the score, whose push a filter may weigh
    if (sampler === "langevin") [base, slope] = [0, 1]; // the last call denoises
    else if (moves) {
      [slope, added] = [part, part * (sampler === "ancestral" ? ss * ss : st * st)];
    } else if (sampler !== "ddim" && sampler !== "heun") {
      base = (ss * shrink) / st;
      slope = as - base * at_;
      added = sampler === "ddpm_large" ? st * st * part : ss * ss * part + slope * slope * unknown;
    }
    const least = sampler === "spectral" && ss > 0 ? slope * slope * st * st : 0; // times v / power: what is unknown of x0 there
    if (!(ss > 0)) added = 0;
    for (let i = 0; i < n; i++) {
      const power = at_ * at_ * v[i] + st * st;
      const G = (at_ * v[i]) / power;
      const keep = sampler === "heun" ? heunFactor(v[i], at_, st, as, ss, G) : moves ? 1 + slope * pushed[i] * (G - 1) : base + slope * G;
      variance[i] = keep * keep * variance[i] + (added + (least * v[i]) / power) * injected[i] * injected[i];
    }
  }
  return variance;
}

/** One Langevin move of NCSN++'s corrector, its norms replaced by their root mean squares. */
function correct(variance, v, count, alpha, sigma, gains, pulls) {
  let [noise, gradient] = [0, 0];
  for (let i = 0; i < v.length; i++) {
    const slope = pulls[i] / (alpha * alpha * v[i] + sigma * sigma);
    noise += count[i] * gains[i] * gains[i];
    gradient += count[i] * slope * slope * variance[i];
  }
  const size = (2 * SNR * SNR * noise) / gradient;
  for (let i = 0; i < v.length; i++) {
    const keep = 1 - (size * pulls[i]) / (alpha * alpha * v[i] + sigma * sigma);
    variance[i] = keep * keep * variance[i] + 2 * size * gains[i] * gains[i];
  }
}

function heunFactor(v, at, st, as, ss, G) {
  const [lt, ls] = [st / at, ss / as];
  const first = 1 / st - G / lt;
  let ahead = 1 / at + (ls - lt) * first;
  if (ss > 0) {
    const next = ((as * v) / (as * as * v + ss * ss)) * as * ahead;
    ahead = 1 / at + ((ls - lt) * (first + (ahead - next) / ls)) / 2;
  }
  return as * ahead;
}

/** The two states of 2M, both multiples of the start. */
function multistep(v, alphas, sigmas, start) {
  let widthBefore = 0;
  const steps = sigmas.slice(1).map((ss, k) => {
    const [at, st, as] = [alphas[k], sigmas[k], alphas[k + 1]];
    const shrink = (at * ss) / (as * st);
    const width = -Math.log(shrink);
    const lean = k && ss > 0 ? width / (2 * widthBefore) : 0;
    widthBefore = width;
    return [at, st * st, ss / st, as * (1 - shrink), lean];
  });
  const before = new Float64Array(v.length);
  const x = start.map(Math.sqrt);
  for (const [at, noise, kept, weight, lean] of steps) {
    for (let i = 0; i < v.length; i++) {
      const x0 = ((at * v[i]) / (at * at * v[i] + noise)) * x[i];
      x[i] = kept * x[i] + weight * (x0 + lean * (x0 - before[i]));
      before[i] = x0;
    }
  }
  return x.map((value) => value * value);
}

/** Variances A / f^exponent with a given mean over all coefficients; the zero frequency as its neighbour. */
export function powerLaw(frequency, count, exponent, mean) {
  const shape = frequency.map((f, i) => (i ? f : frequency[1]) ** -exponent);
  let [sum, all] = [0, 0];
  for (let i = 0; i < shape.length; i++) {
    sum += shape[i] * count[i];
    all += count[i];
  }
  return Float64Array.from(shape, (s) => (mean * s * all) / sum);
}

/** 2-Wasserstein distance of two centred Gaussians over the root of the second one's power. */
export function relativeW2(p, q, count) {
  let [distance, power] = [0, 0];
  for (let i = 0; i < p.length; i++) {
    distance += count[i] * (Math.sqrt(p[i]) - Math.sqrt(q[i])) ** 2;
    power += count[i] * q[i];
  }
  return Math.sqrt(distance / power);
}

/** Divergence of p from q in nats per coefficient, both centred. */
export function meanKl(p, q, count) {
  let [sum, all] = [0, 0];
  for (let i = 0; i < p.length; i++) {
    const off = p[i] / q[i] - 1;
    sum += (count[i] * (off - Math.log1p(off))) / 2;
    all += count[i];
  }
  return sum / all;
}

/** Mean of gamma over all frequencies from each ring on: TDAS' kappa at the rings' own radii. */
export function kappa(gamma, count) {
  const out = new Float64Array(gamma.length);
  let [sum, all] = [0, 0];
  for (let i = gamma.length - 1; i >= 0; i--) {
    sum += gamma[i] * count[i];
    all += count[i];
    out[i] = sum / all;
  }
  return out;
}

/** TDAS' one-zone mask on rings of squared index distance. */
export function zoneMask(squared, size, lam, r) {
  return Float64Array.from(squared, (d) => (d <= 2 * (r * size) ** 2 * (1 + 1e-12) ? 1 : lam));
}
