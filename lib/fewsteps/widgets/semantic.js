// The sampler of a denoising diffusion GAN in the browser, and the ways between two sets of its inputs. A step of
// the exported file draws x0 and the next state from the posterior, so nothing is left here but to walk and to mix.

/** Whether step t of T is told the semantic vector. */
export const told = (semantic, t, steps) => semantic === "every" || (semantic === "first" && t === steps);

/** The straight line from a to b. */
export const lerp = (a, b, w) => Float32Array.from(a, (v, k) => (1 - w) * v + w * b[k]);

/** The arc of a great circle from a to b, for each of `count` parts of both; a straight line where they are parallel. */
export function slerp(a, b, w, count) {
  const out = new Float32Array(a.length);
  const size = a.length / count;
  for (let part = 0; part < count; part++) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let k = part * size; k < (part + 1) * size; k++) {
      ab += a[k] * b[k];
      aa += a[k] * a[k];
      bb += b[k] * b[k];
    }
    const angle = Math.acos(Math.min(Math.max(ab / Math.max(Math.sqrt(aa * bb), 1e-12), -1), 1));
    const whole = Math.sin(angle);
    const [first, second] = whole > 1e-6 ? [Math.sin((1 - w) * angle) / whole, Math.sin(w * angle) / whole] : [1 - w, w];
    for (let k = part * size; k < (part + 1) * size; k++) out[k] = first * a[k] + second * b[k];
  }
  return out;
}

/** Numbers of one set of inputs out of a row of white noise: x_T, then z of every step, then the noise of the posteriors. */
export function cut(white, { count, pixels, latent, steps, sigma }) {
  const [first, second] = [count * pixels, count * pixels + steps * count * latent];
  return {
    start: Float32Array.from(white.subarray(0, first), (v) => sigma * v),
    latent: Float32Array.from(white.subarray(first, second)),
    posterior: Float32Array.from(white.subarray(second)),
  };
}

/** How many numbers that is. */
export const needed = ({ count, pixels, latent, steps }) => count * (pixels + steps * latent + (steps - 1) * pixels);

/**
 * The inputs between two sets a and b: each kind at its own share of the way, `mix` from 0 to 1, and z_T moved along a
 * direction by `reach`. Semantic vectors and latent noise go in straight lines, states and posterior noise along arcs.
 */
export function between(a, b, mix, { count, steps }, direction = null, reach = 0) {
  const line = a.semantic && lerp(a.semantic, b.semantic, mix.semantic);
  return {
    semantic: line && direction ? line.map((v, k) => v + reach * direction[k % direction.length]) : line,
    start: slerp(a.start, b.start, mix.start, count),
    latent: lerp(a.latent, b.latent, mix.latent),
    posterior: slerp(a.posterior, b.posterior, mix.posterior, (steps - 1) * count),
  };
}

/**
 * One walk: yields {i, level, x, mean} after every step, i from 1, `level` the t that x has reached; images are in
 * [0, 1] and x as the sampler holds it. step({x, z, noise, t}) -> promise of {x0_hat, x_s}.
 */
export async function* drawingWalk(step, inputs, { count, pixels, latent, steps, semantic }) {
  let x = inputs.start;
  for (let t = steps, i = 0; t > 0; t--, i++) {
    const own = inputs.latent.subarray(i * count * latent, (i + 1) * count * latent);
    const z = told(semantic, t, steps) ? inputs.semantic : own;
    const noise = t > 1 ? inputs.posterior.subarray(i * count * pixels, (i + 1) * count * pixels) : new Float32Array(count * pixels);
    const said = await step({ x, z, noise, t });
    x = said.x_s;
    yield { i: i + 1, level: t - 1, x, mean: Float32Array.from(said.x0_hat, (v) => (v + 1) / 2) };
  }
}
