// A run computed by the kernel behind the page: its steps arrive as messages.
import { bytes } from "./kit.js";

const PATIENCE = 10_000; // ms of silence before the page says so

/**
 * Ask the kernel for a run with the traits as they are, which travel with the question: a change of one may be on its
 * way still. Returns {ready, steps, end}: a promise, an iterator over the same steps that walk() yields, and what stops
 * it. complain(words) is called if no answer comes.
 */
export function kernelRun(model, complain, chosen) {
  const run = `${Date.now()}-${Math.random()}`;
  const heard = [];
  let over = false;
  let wake = () => {};
  const hear = (content, buffers) => {
    if (content.run !== run) return;
    heard.push([content, buffers]);
    wake();
  };
  const silence = setTimeout(
    () => complain("The kernel has not answered yet: it is busy, or there is none, and then the cell has to be run again. "),
    PATIENCE,
  );
  const close = () => {
    over = true;
    clearTimeout(silence);
    model.off("msg:custom", hear);
    wake();
  };
  async function* steps() {
    for (;;) {
      while (!heard.length && !over) await new Promise((resolve) => (wake = resolve));
      if (over) return;
      clearTimeout(silence);
      const [content, buffers] = heard.shift();
      if (content.failed || content.done) close();
      if (content.failed) throw new Error(content.failed);
      if (content.done) return;
      const [x, mean] = buffers.map((view) => new Float32Array(bytes(view).slice().buffer));
      yield { ...content, x, mean };
    }
  }
  model.on("msg:custom", hear);
  model.send({ do: "sample", run, chosen });
  return {
    ready: Promise.resolve(),
    steps: steps(),
    end() {
      close();
      model.send({ do: "stop", run });
    },
  };
}
