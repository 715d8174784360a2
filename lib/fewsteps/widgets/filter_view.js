// What the laboratories of chapters 05 and 06 share: data on a lattice of frequencies, pictures of a mask and of noise
// that went through it, and the law of a sampler's output with and without.
import { fft2 } from "./fft.js";
import { gaussians, picture } from "./kit.js";
import { byRing, dctImage, lattice, places } from "./lattice.js";
import { SAMPLERS, powerLaw, propagate, scales } from "./law.js";

const NOWHERE = { prior: false, predictor: false, corrector: false };

/** Lattices, spectra and laws by name, each made once. */
export function laws(setting, measured) {
  const known = new Map();
  const once = (key, make) => {
    if (!known.has(key)) known.set(key, make());
    return known.get(key);
  };
  const grid = (basis) =>
    once(`grid ${basis}`, () => {
      if (setting.rings) {
        // Joined to few rings: enough where nothing is drawn over the plane of frequencies.
        const { squared, count, frequency } = setting.rings;
        return { squared, count, frequency, ones: new Float64Array(count.length).fill(1) };
      }
      const made = lattice(setting.size, basis);
      return { ...made, places: places(setting.size, basis, made.pairs), ones: new Float64Array(made.count.length).fill(1) };
    });
  const data = (basis, which, exponent) =>
    once(`data ${basis} ${which} ${which === "law" ? exponent : ""}`, () => {
      const { frequency, count } = grid(basis);
      return which === "law" ? powerLaw([...frequency], count, exponent, setting.variance) : Float64Array.from(measured[which].variance[basis]);
    });
  const run = (sampler, basis, v, steps, gains, at, drift) => {
    const { alphas, sigmas } = scales(SAMPLERS[sampler].family, setting.levels[0], setting.levels[1], steps);
    return propagate(sampler, v, grid(basis).count, alphas, sigmas, gains, at, drift);
  };
  let [of, kept] = [null, new Map()]; // unfiltered laws of the data at hand
  const plain = (sampler, basis, v, steps) => {
    if (of !== v) [of, kept] = [v, new Map()];
    const key = `${sampler} ${steps}`;
    if (!kept.has(key)) kept.set(key, run(sampler, basis, v, steps, grid(basis).ones, NOWHERE, false));
    return kept.get(key);
  };
  return { grid, data, run, plain };
}

/** Frequencies and the ratio of two laws by ring, the zero frequency left out. */
export function ratioByRing({ count, squared, frequency }, out, v) {
  return [byRing(frequency, count, squared).slice(1), byRing(out, count, squared, v).slice(1)];
}

/** Three pictures: the mask, white noise, and the same noise through the mask. */
export function noisePictures(size) {
  const shown = [
    picture({ size, caption: "", alt: "The mask over frequencies" }),
    picture({ size, caption: "", alt: "White noise" }),
    picture({ size, caption: "", alt: "The same noise, filtered" }),
  ];
  let [seed, white] = [null, null];
  const paint = (view, values, low, high) => {
    for (let i = 0; i < values.length; i++) {
      const grey = (255 * (values[i] - low)) / (high - low);
      for (let c = 0; c < 3; c++) view.data[4 * i + c] = grey;
    }
  };
  function filtered(mask, basis) {
    if (basis === "dct") return dctImage(dctImage(white, size).map((c, i) => c * mask[i]), size, true);
    const [re, im] = [Float64Array.from(white), new Float64Array(size * size)];
    fft2(re, im, size);
    for (let i = 0; i < mask.length; i++) {
      re[i] *= mask[i];
      im[i] *= mask[i];
    }
    fft2(re, im, size, true);
    return re;
  }
  /** gains: one per entry of the lattice; places: the entry of every pixel. Returns the noise that went through. */
  function update(gains, placed, basis, newSeed, words) {
    if (newSeed !== seed) [seed, white] = [newSeed, gaussians(size * size, newSeed)];
    const mask = Float64Array.from(placed, (k) => gains[k]);
    const half = size / 2;
    const view = basis === "dct" ? mask : mask.map((_, i) => mask[((Math.floor(i / size) + half) % size) * size + (((i % size) + half) % size)]);
    const made = filtered(mask, basis);
    paint(shown[0], view, 0.3, 1.7);
    paint(shown[1], white, -3, 3);
    paint(shown[2], made, -3, 3);
    const corner = basis === "dct" ? "zero frequency in the upper left corner" : "zero frequency in the middle";
    shown[0].flush(`Gain of every frequency, ${corner}; mid-grey is 1.`);
    shown[1].flush("White noise z.");
    shown[2].flush(words);
    return made;
  }
  return { nodes: shown.map((view) => view.node), update };
}
