// What every laboratory is made of: sliders, choices, line plots in SVG and pictures on canvas.
// Drawn by hand because a laboratory is one self-contained file: it lives inside the page's widget state, where a
// plotting library of megabytes would be stored once per figure. SVG takes its colours from the page's style sheet,
// so light and dark need no redraw.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes, properties for what is not an attribute, and children. */
export function element(tag, attributes = {}, ...children) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "text") node.textContent = value;
    else if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** An id that no other control of the page has. Each laboratory is a module of its own, so the page keeps count. */
function uniqueId(stem) {
  globalThis.fewstepsSerial = (globalThis.fewstepsSerial ?? 0) + 1;
  return `fs-${stem}-${globalThis.fewstepsSerial}`;
}

/** Calls `draw` at most once per animation frame after one of `traits` has changed, and tidies up in the end. */
export function stage(model, root, traits, draw) {
  const undo = [];
  let waiting = 0;
  const paint = () => {
    cancelAnimationFrame(waiting); // one that was asked for, where this is painted at once
    waiting = 0;
    const begin = performance.now();
    draw();
    // The browser tests read these: they wait for a redraw, report what it took, and hold it against Python.
    root.dataset.ms = (performance.now() - begin).toFixed(2);
    root.dataset.traits = JSON.stringify(Object.fromEntries(traits.map((name) => [name, model.get(name)])));
    root.dataset.draws = String(Number(root.dataset.draws ?? 0) + 1);
  };
  const request = () => {
    if (!waiting) waiting = requestAnimationFrame(paint);
  };
  const listen = (name, callback) => {
    model.on(`change:${name}`, callback);
    undo.push(() => model.off(`change:${name}`, callback));
  };
  for (const name of traits) listen(name, request);
  return {
    paint,
    listen,
    onLeave: (callback) => undo.push(callback),
    leave() {
      cancelAnimationFrame(waiting);
      for (const callback of undo.splice(0)) callback();
    },
  };
}

/**
 * A labelled range input bound to a trait; `toTrait` and `toSlider` bend its scale, `format` is what it reads, which
 * may hang on other traits: `alsoOn`.
 */
export function slider(
  stageOf,
  model,
  { name, label, min, max, step, format, toTrait = (v) => v, toSlider = (v) => v, alsoOn = [] },
) {
  const id = uniqueId(name);
  // A browser stops at the last whole step: on a bent scale both ends have to be one.
  const parts = (max - min) / step;
  const whole = Math.abs(parts - Math.round(parts)) < 1e-6;
  if (!whole) step = (max - min) / Math.round(parts);
  const most = whole ? max : max + step * 1e-6;
  const input = element("input", { type: "range", id, min, max: most, step, "data-name": name });
  // What it reads is said with the slider itself, and not once more on its own.
  const output = element("output", { for: id, "aria-live": "off" });
  let leading = false; // while it is dragged; it is moved only when the value came from somewhere else
  const show = () => {
    const value = model.get(name);
    const position = toSlider(value);
    if (!leading && Math.abs(Number(input.value) - position) > step / 2) input.value = String(position);
    output.textContent = format(value);
    input.setAttribute("aria-valuetext", output.textContent);
  };
  input.addEventListener("input", () => {
    leading = true;
    model.set(name, toTrait(Number(input.value)));
    leading = false;
    model.save_changes();
  });
  for (const trait of [name, ...alsoOn]) stageOf.listen(trait, show);
  input.value = String(toSlider(model.get(name)));
  show();
  return element("div", { class: "fs-control" }, element("label", { for: id, text: label }), input, output);
}

/** A small set of named values, one of which holds: radio buttons, so that all of them can be read at once. */
export function choice(stageOf, model, { name, label, options }) {
  const group = uniqueId(name);
  const inputs = options.map(([value, text]) => {
    const id = uniqueId(name);
    const input = element("input", { type: "radio", id, name: group, "data-name": name, "data-value": String(value) });
    input.addEventListener("change", () => {
      model.set(name, value);
      model.save_changes();
    });
    return { value, input, item: element("span", { class: "fs-option" }, input, element("label", { for: id, text })) };
  });
  const show = () => {
    for (const { value, input } of inputs) input.checked = model.get(name) === value;
  };
  stageOf.listen(name, show);
  show();
  const legend = element("legend", { text: label });
  return element("fieldset", { class: "fs-choice" }, legend, ...inputs.map((entry) => entry.item));
}

/** Puts the traits back to what they were when the figure was first drawn. */
export function resetButton(model, names) {
  const first = Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const reset = () => {
    for (const name of names) model.set(name, first[name]);
    model.save_changes();
  };
  return element("button", { type: "button", class: "fs-reset", text: "Reset", onclick: reset });
}

/** A number as a reader wants it: two digits, powers of ten written as such, a real minus sign. */
export function readable(v, digits = 2) {
  if (v !== 0 && (Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3)) {
    const [mantissa, exponent] = v.toExponential(digits - 1).split("e");
    return `${mantissa.replace("-", "−")}·10${superscript(Number(exponent))}`;
  }
  return String(Number(v.toPrecision(digits))).replace("-", "−");
}

const superscript = (e) => [...String(e)].map((c) => SUPERSCRIPT[c]).join("");

const linear = ([low, high]) => ({ at: (v) => (v - low) / (high - low), ticks: niceTicks(low, high) });

function niceTicks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const ticks = [];
  // Multiples, not a running sum, so that 0.3 is not 0.30000000000000004.
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(k * step);
  return ticks.map((v) => ({ v, text: String(Number(v.toPrecision(6))).replace("-", "−") }));
}

const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

function logarithmic([low, high]) {
  const [a, b] = [Math.log10(low), Math.log10(high)];
  const every = Math.max(1, Math.ceil((Math.floor(b + 1e-9) - Math.ceil(a - 1e-9)) / 7));
  const ticks = [];
  for (let e = Math.ceil(a - 1e-9); e <= b + 1e-9; e++) {
    if (e % every) continue;
    const text = e >= -3 && e <= 3 ? String(Number((10 ** e).toPrecision(2))) : `10${superscript(e)}`;
    ticks.push({ v: 10 ** e, text });
  }
  return { at: (v) => (Math.log10(Math.max(v, 1e-300)) - a) / (b - a), ticks };
}

/**
 * A line plot whose axes are drawn once per size and whose lines move.
 * x, y: {label, domain, log}; series: [{key, name, style}], style one of the style sheet's classes.
 * Returns {node, update(data, mark)}: data maps a key to [xs, ys] (or null to hide it), mark is an x or null.
 */
export function plot(stageOf, { title, x, y, series, height = 250 }) {
  const margin = { left: 64, right: 12, top: 8, bottom: 42 };
  const svg = element("svg:svg", { class: "fs-plot", role: "img", height });
  const clip = uniqueId("clip");
  const frame = element("svg:rect", { y: 0 });
  const axes = element("svg:g");
  const marker = element("svg:line", { class: "fs-mark" });
  const paths = Object.fromEntries(series.map((s) => [s.key, element("svg:path", { class: `fs-line ${s.style}` })]));
  const lines = element("svg:g", { "clip-path": `url(#${clip})` }, ...Object.values(paths), marker);
  svg.append(element("svg:defs", {}, element("svg:clipPath", { id: clip }, frame)), axes, lines);

  const scales = { x: (x.log ? logarithmic : linear)(x.domain), y: (y.log ? logarithmic : linear)(y.domain) };
  let width = 0;
  let last = null;
  const toX = (v) => margin.left + scales.x.at(v) * (width - margin.left - margin.right);
  const toY = (v) => height - margin.bottom - scales.y.at(v) * (height - margin.top - margin.bottom);

  function drawAxes() {
    const [left, right, bottom] = [margin.left, width - margin.right, height - margin.bottom];
    svg.setAttribute("width", width);
    for (const [key, v] of Object.entries({ x: left, y: margin.top, width: right - left, height: bottom - margin.top })) {
      frame.setAttribute(key, Math.max(v, 0));
    }
    axes.replaceChildren(element("svg:path", { class: "fs-axis", d: `M${left},${margin.top}V${bottom}H${right}` }));
    // A narrow screen has no room for every label: keep each second one.
    const keep = (right - left) / scales.x.ticks.length < 44 ? 2 : 1;
    scales.x.ticks.forEach(({ v, text }, k) => {
      axes.append(element("svg:path", { class: "fs-grid", d: `M${toX(v)},${margin.top}V${bottom}` }));
      if (k % keep === 0) axes.append(element("svg:text", { x: toX(v), y: bottom + 16, "text-anchor": "middle", text }));
    });
    for (const { v, text } of scales.y.ticks) {
      axes.append(element("svg:path", { class: "fs-grid", d: `M${left},${toY(v)}H${right}` }));
      axes.append(element("svg:text", { x: left - 6, y: toY(v) + 4, "text-anchor": "end", text }));
    }
    const middle = (margin.top + bottom) / 2;
    axes.append(
      element("svg:text", { class: "fs-axis-label", x: (left + right) / 2, y: height - 6, "text-anchor": "middle", text: x.label }),
      element("svg:text", { class: "fs-axis-label", transform: `translate(13,${middle})rotate(-90)`, "text-anchor": "middle", text: y.label }),
    );
  }

  function trace([xs, ys]) {
    let d = "";
    let pen = "M";
    for (let i = 0; i < xs.length; i++) {
      if (!Number.isFinite(ys[i]) || (y.log && ys[i] <= 0)) {
        pen = "M";
        continue;
      }
      // Far outside the frame a renderer may lose precision; the clip hides what is cut here.
      const v = Math.min(Math.max(toY(ys[i]), -height), 2 * height);
      d += `${pen}${toX(xs[i]).toFixed(1)},${v.toFixed(1)}`;
      pen = "L";
    }
    return d;
  }

  function update(data, mark = null, description = "") {
    last = [data, mark, description];
    svg.setAttribute("aria-label", `${title}. ${y.label} against ${x.label}. ${description}`);
    if (!width) return; // it is drawn as soon as the page knows how wide it is; its words do not wait for that
    for (const { key } of series) {
      paths[key].setAttribute("d", data[key] ? trace(data[key]) : "");
      if (keyOf[key]) keyOf[key].hidden = !data[key];
    }
    marker.style.display = mark === null ? "none" : "";
    if (mark !== null) {
      const at = toX(mark);
      for (const [key, v] of Object.entries({ x1: at, x2: at, y1: margin.top, y2: height - margin.bottom })) marker.setAttribute(key, v);
    }
  }

  const keyOf = {};
  const keys = series.filter((s) => s.name).map((s) => {
    const sample = element("svg:svg", { width: 26, height: 10, "aria-hidden": "true" });
    sample.append(element("svg:path", { class: `fs-line ${s.style}`, d: "M1,5H25" }));
    keyOf[s.key] = element("li", {}, sample, element("span", { text: s.name }));
    return keyOf[s.key];
  });
  const box = element("div", { class: "fs-plot-box" });
  box.append(svg);
  const node = element("figure", { class: "fs-figure" }, element("figcaption", { text: title }), element("ul", { class: "fs-legend" }, ...keys), box);
  const observer = new ResizeObserver(([entry]) => {
    const wide = Math.round(entry.contentRect.width);
    if (!wide || wide === width) return;
    width = wide;
    drawAxes();
    if (last) update(...last);
  });
  observer.observe(box);
  stageOf.onLeave(() => observer.disconnect());
  return { node, update };
}

/** A square RGB picture with a caption; `show` takes the pixels as a function of (index, channel) -> 0..255. */
export function picture({ size, caption, alt }) {
  const canvas = element("canvas", { width: size, height: size, role: "img", "aria-label": alt, class: "fs-picture" });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(size, size);
  pixels.data.fill(255);
  const words = element("figcaption", { text: caption });
  return {
    node: element("figure", { class: "fs-figure fs-picture-box" }, canvas, words),
    data: pixels.data,
    flush(text) {
      context.putImageData(pixels, 0, 0);
      words.textContent = text;
      canvas.setAttribute("aria-label", `${alt}. ${text}`);
    },
  };
}

/**
 * The sentence that sums a figure up. It is rewritten with every frame of a drag; a screen reader is told once the
 * hand rests.
 */
export function summaryLine(stageOf) {
  const shown = element("p", { class: "fs-summary" });
  const spoken = element("p", { class: "fs-spoken", role: "status" });
  let timer = 0;
  let last = null;
  stageOf.onLeave(() => clearTimeout(timer));
  return {
    nodes: [shown, spoken],
    say(text) {
      if (text === last) return;
      const first = last === null; // a page that has just been opened has not been asked
      last = text;
      shown.textContent = text;
      clearTimeout(timer);
      if (!first) timer = setTimeout(() => (spoken.textContent = text), 800);
    },
  };
}

/** The bytes of a binary trait, which a kernel and a static page hand over in different clothes. */
export function bytes(view) {
  if (view instanceof Uint8Array) return view;
  if (view instanceof ArrayBuffer) return new Uint8Array(view);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/**
 * Standard normal numbers from a seed: mulberry32 and Box-Muller, the same in every browser. The generator counts, so
 * the numbers after the first `skip` (even) can be had without them.
 */
export function gaussians(count, seed, skip = 0) {
  let state = (seed + Math.imul(skip, 0x6d2b79f5)) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const out = new Float64Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[i] = radius * Math.cos(angle);
    if (i + 1 < count) out[i + 1] = radius * Math.sin(angle);
  }
  return out;
}

/** `count` numbers from `low` to `high`, evenly or in geometric progression. */
export function spaced(low, high, count, log = false) {
  const [a, b] = log ? [Math.log(low), Math.log(high)] : [low, high];
  return Array.from({ length: count }, (_, i) => {
    const v = a + ((b - a) * i) / (count - 1);
    return log ? Math.exp(v) : v;
  });
}
