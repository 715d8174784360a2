// The errata page: every misprint in two forms. Curves come from the library; the page chooses among them.
import { choice, element, plot, readable, resetButton, slider, stage, summaryLine } from "./kit.js";

const ERRATA_TRAITS = ["row", "form", "position"];
const FORM_NAMES = { printed: "as printed", used: "as used here" };

/** The greatest distance between two lists of ordinates wherever both have a value. */
export function greatestGap(first, second) {
  let gap = 0;
  for (let i = 0; i < Math.min(first.length, second.length); i++) {
    if (first[i] !== null && second[i] !== null) gap = Math.max(gap, Math.abs(first[i] - second[i]));
  }
  return gap;
}

function render({ model, el }) {
  const entries = new Map(model.get("entries").map((entry) => [entry.row, entry]));
  const root = element("div", { class: "fs-lab", "data-lab": "errata" });
  const on = stage(model, root, ERRATA_TRAITS, draw);
  const knob = (position) => {
    const entry = entries.get(model.get("row"));
    return `${entry.knob} = ${readable(entry.values[position], 3)}`;
  };
  const controls = [
    choice(on, model, { name: "row", label: "Misprint", options: [...entries.keys()].map((row) => [row, row]) }),
    choice(on, model, { name: "form", label: "Formula", options: Object.entries(FORM_NAMES) }),
    slider(on, model, {
      name: "position", label: "With", min: 0, max: entries.get(model.get("row")).values.length - 1, step: 1,
      format: knob, alsoOn: ["row"],
    }),
    resetButton(model, ERRATA_TRAITS),
  ];
  const summary = summaryLine(on);
  const place = element("div", { class: "fs-plots" });
  root.append(element("div", { class: "fs-controls" }, ...controls), ...summary.nodes, place);
  el.append(root);

  const figures = new Map();
  function figureOf(entry) {
    if (!figures.has(entry.row)) {
      const series = [
        { key: "other", name: "the other form", style: "fs-faint" },
        { key: "chosen", name: "the form chosen", style: "fs-a" },
      ];
      figures.set(entry.row, plot(on, { title: entry.title, ...entry.axes, series, height: 300 }));
    }
    return figures.get(entry.row);
  }

  /** Abscissas and ordinates; null where a curve has no value, and where a plot interrupts its line. */
  function line(entry, form) {
    const found = entry.lines[form][model.get("position")];
    return entry.x ? [entry.x, found] : found;
  }

  function draw() {
    const entry = entries.get(model.get("row"));
    const form = model.get("form");
    const figure = figureOf(entry);
    if (place.firstChild !== figure.node) place.replaceChildren(figure.node);
    const [chosen, other] = [line(entry, form), line(entry, form === "used" ? "printed" : "used")];
    const gap = greatestGap(chosen[1], other[1]);
    const words =
      `${entry.row} ${FORM_NAMES[form]}: ${entry.says[form]}. With ${knob(model.get("position"))} the two forms lie ` +
      `${readable(gap)} apart at most.`;
    figure.update({ chosen, other }, null, words);
    summary.say(words);
  }

  // The entries below lead here: <a href="#draw-PX-2">. Clicks, since a hash that stays the same is no event.
  const lead = (hash) => {
    const row = (hash ?? "").replace("#draw-", "");
    if (!entries.has(row)) return;
    model.set("row", row);
    model.save_changes();
    root.scrollIntoView();
  };
  const follow = (event) => lead(event.target.closest?.('a[href^="#draw-"]')?.hash);
  document.addEventListener("click", follow);
  on.onLeave(() => document.removeEventListener("click", follow));
  lead(globalThis.location?.hash);
  on.paint();
  return on.leave;
}

export default { render };
