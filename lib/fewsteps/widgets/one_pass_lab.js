// Chapter 09: a trained pair of PixelAware in one pass, in the reader's browser or by torch where a kernel stands behind
// the page.
import { courseOf } from "./course.js";
import { kernelRun } from "./kernel.js";
import { bytes, element, gaussians, readable, resetButton, slider, stage, summaryLine } from "./kit.js";
import { fetchedOnce, startNetworks } from "./network.js";
import { drawn, halves, numbersFor, startStates, threeWays } from "./one_pass.js";
import { columnsThatFit, ownFiles, paintImages } from "./strips.js";

const WAYS = ["The scale alone", "Algorithm 1 as printed", "The last noise alone"];

function render({ model, el }) {
  const { files, megabytes, shape, gamma, steps, count, components, latent, rank } = model.get("setting");
  const [channels, size] = shape;
  const long = channels * size * size;
  const root = element("div", { class: "fs-lab", "data-lab": "one-pass" });
  const on = stage(model, root, ["seed"], draw);
  const home = ownFiles();

  const both = fetchedOnce(
    () => startNetworks(home, files, (all) => course.arriving(`${(all / 1e6).toFixed(0)} MB are here`)),
    () => on.paint(),
  ); // decoder and pair
  const chosen = () => ({ seed: model.get("seed") });

  function browserRun({ seed }) {
    const { networks, ready } = both.get();
    const [decoder, pair] = networks;
    const ends = [components, components * latent, components * latent, components * latent * rank].reduce((all, n) => [...all, all.at(-1) + n], [0]);
    const all = halves(bytes(model.get("law")));
    const law = ends.slice(0, -1).map((from, k) => all.subarray(from, ends[k + 1]));
    const own = count * numbersFor(latent, rank);
    const numbers = gaussians(own + count * long, seed);
    async function* once() {
      const begin = performance.now();
      const { scale: first } = await decoder.call({ vector: ["float32", drawn(...law, count, numbers), [count, latent]] });
      const x = startStates(first, gamma, numbers.subarray(own));
      const { scale, noises } = await pair.call({
        x: ["float32", x, [count, ...shape]],
        t: ["float32", new Float32Array(count).fill(1), [count]],
      });
      yield { i: 1, x: threeWays(x, scale, noises, gamma, steps, long), ms: performance.now() - begin };
    }
    return { ready, steps: once(), end() {} };
  }

  const course = courseOf(on, {
    chosen,
    begin: () => ({ i: 0, x: new Float32Array(3 * count * long), ms: 0 }),
    open: (now, complain) => (home ? browserRun(now) : kernelRun(model, complain, now)),
    took: (_, { i, x, ms }) => ({ i, x, ms }),
    broken: both.lose,
  });
  const strips = WAYS.map((title) => {
    const canvas = element("canvas", { class: "fs-strip", role: "img" });
    const words = element("figcaption", {}, element("strong", { text: title }));
    return { title, canvas, node: element("figure", { class: "fs-figure fs-picture-box" }, canvas, words) };
  });
  const summary = summaryLine(on);
  root.append(
    course.node,
    element("div", { class: "fs-strips" }, ...strips.map(({ node }) => node)),
    ...summary.nodes,
    element(
      "div",
      { class: "fs-controls" },
      slider(on, model, { name: "seed", label: "Seed of start and noise", min: 0, max: 99, step: 1, toTrait: Math.round, format: String }),
      resetButton(model, ["seed"]),
    ),
  );
  el.append(root);
  const fitting = columnsThatFit(on, root, count);
  on.onLeave(both.lose);

  function draw() {
    const { i, x, ms } = course.follow();
    strips.forEach(({ title, canvas }, k) => {
      paintImages(canvas, x, { count, columns: fitting.columns, channels, size, level: 0, first: k * count });
      canvas.setAttribute("aria-label", `${title}: ${i ? `${count} images from one pass` : "nothing yet"}`);
    });
    const first = home ? both.told("the networks are", `fetches two networks and their runtime once, ${megabytes} MB`) : "computed by torch, in the kernel";
    course.tell(i ? "one pass" : first, i);
    const status = {
      idle: `Press Sample, and ${count} starts are drawn and made images by one pass.`,
      loading: "The networks are on their way.",
      running: "Sampling.",
      done: `Done: ${readable(ms / count, 3)} ms an image here, for all three ways together.`,
      stopped: "Stopped.",
      failed: `The networks could not be run: ${course.trouble}.`,
    }[course.phase];
    summary.say(`One pass, T = ${steps}, γ = ${readable(gamma, 3)}: half a network call for the start, one for the scale, one for ${steps} noises. ${status}`);
    Object.assign(root.dataset, { phase: course.phase, step: i });
  }

  on.paint();
  return on.leave;
}

export default { render };
