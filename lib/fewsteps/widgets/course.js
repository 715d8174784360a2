// The course of a run that a reader starts and may stop, in the browser or in the kernel behind the page.
import { element } from "./kit.js";

const KEPT = 20; // runs whose end is shown again; each holds its images

/**
 * A button, what it has brought so far, and what is to be seen of it.
 *
 * chosen() says what a run depends on: when that changes the run is left behind, and one that came to its end is shown
 * again when its choice comes back. begin(now) is what is seen before the first step, took(held, step, seconds) what is
 * seen after one, open(now, complain) returns {ready, steps, end} as kernelRun() does, broken() frees what failed.
 *
 * Of the result, follow() is called first in every draw and returns what is seen; phase is idle, loading, running, done,
 * stopped or failed, and then trouble says why.
 */
export function courseOf(on, { chosen, begin, open, took, broken }) {
  const button = element("button", { type: "button", class: "fs-go", onclick: () => (running ? stop() : start()) });
  const progress = element("progress", { class: "fs-progress", "aria-label": "Progress of the sampling", max: 1, value: 0 });
  const note = element("span", { class: "fs-note" });
  const finished = new Map(); // what was seen last of every run that came to its end, so that two can be held side by side
  let key = "";
  let held = null;
  let running = null; // {ready, steps, end}
  const course = {
    node: element("div", { class: "fs-actions" }, button, progress, note),
    phase: "idle",
    trouble: "",
    follow() {
      const now = chosen();
      if (JSON.stringify(now) !== key) {
        running?.end();
        running = null;
        key = JSON.stringify(now);
        held = finished.get(key) ?? begin(now);
        course.phase = finished.has(key) ? "done" : "idle";
      }
      button.textContent = running ? "Stop" : "Sample";
      return held;
    },
    /** What stands beside the button, and a share of the way; while a network is on its way its own words stand. */
    tell(words, share) {
      if (course.phase === "loading") return;
      note.textContent = words;
      progress.value = share;
    },
    /** What has arrived of a network, with no share where that is not known. */
    arriving(words, share = null) {
      if (course.phase !== "loading") return;
      note.textContent = words;
      if (share === null) progress.removeAttribute("value");
      else progress.value = share;
    },
  };
  on.onLeave(() => running?.end());

  async function start() {
    on.paint(); // of a control that has just moved the change may not have been drawn yet
    const mine = key;
    let run = null;
    const left = () => run !== running; // stopped, or the controls have moved on
    try {
      const now = chosen();
      held = begin(now);
      enter("loading");
      course.arriving(note.textContent);
      run = running = open(now, (words) => (note.textContent = words));
      on.paint();
      await run.ready;
      if (left()) return;
      enter("running");
      const since = performance.now();
      for await (const step of run.steps) {
        if (left()) return;
        held = took(held, step, (performance.now() - since) / 1000);
        on.paint();
      }
      if (left()) return;
      finished.set(mine, held);
      if (finished.size > KEPT) finished.delete(finished.keys().next().value);
      running = null;
      enter("done");
    } catch (error) {
      if (left()) return;
      course.trouble = error.message;
      broken();
      running = null;
      enter("failed");
    }
  }

  function stop() {
    running.end();
    running = null;
    enter("stopped");
  }

  function enter(phase) {
    course.phase = phase;
    on.paint();
  }

  return course;
}
