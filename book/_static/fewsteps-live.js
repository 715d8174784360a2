/* Draws the live figures: saved anywidgets, no kernel, and no widget manager, whose 3.6 MB every page would load and
   compile before its figure. A chapter holds the state of its widgets as an executed notebook saves it, a page of prose
   the traits of one (lib/fewsteps/book/live.py). The figure's own module does the rest, as it does in a notebook. No
   module itself, so that a page that was opened as a file is drawn as well. */
(function () {
  "use strict";

  function modelOf(traits) {
    const handlers = {};
    return {
      get: (name) => traits[name],
      set(name, value) {
        if (traits[name] === value) return;
        traits[name] = value;
        for (const handler of [...(handlers[`change:${name}`] ?? [])]) handler();
      },
      save_changes() {},
      send() {},
      on: (event, handler) => (handlers[event] ??= []).push(handler),
      off: (event, handler) => (handlers[event] = (handlers[event] ?? []).filter((other) => other !== handler)),
    };
  }

  async function draw(place, traits) {
    const style = document.createElement("style");
    style.textContent = traits._css ?? "";
    document.head.append(style);
    const address = URL.createObjectURL(new Blob([traits._esm], { type: "text/javascript" }));
    const { default: figure } = await import(address);
    URL.revokeObjectURL(address);
    const el = document.createElement("div");
    place.append(el);
    figure.render({ model: modelOf(traits), el });
  }

  /** The traits of a saved widget, its bytes put where they belong. */
  function restored({ state, buffers = [] }) {
    for (const { path, data } of buffers) {
      const owner = path.slice(0, -1).reduce((inner, key) => inner[key], state);
      owner[path.at(-1)] = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    }
    return state;
  }

  const parsed = (script) => JSON.parse(script.textContent);
  const SAVED = "script[type='application/vnd.jupyter.widget-state+json']";
  const VIEW = "script[type='application/vnd.jupyter.widget-view+json']";
  let models = null;

  /** The traits of the widget that a script of a page names or holds. */
  function traitsOf(script) {
    if (!script.matches(VIEW)) return parsed(script);
    models ??= parsed(document.querySelector(SAVED)).state;
    const model = models[parsed(script).model_id];
    if (!model?.state._esm) throw new Error("it is a widget that needs a kernel, so open the notebook");
    return restored(model);
  }

  // A page with two figures may have this script twice.
  for (const script of document.querySelectorAll(`${VIEW}:not([data-drawn]), .fs-live > script:not([data-drawn])`)) {
    script.dataset.drawn = "";
    const place = document.createElement("div");
    script.after(place);
    (async () => draw(place, traitsOf(script)))().catch((error) => {
      const words = document.createElement("p");
      words.textContent = `This figure could not be drawn: ${error.message}.`;
      place.append(words);
    });
  }
})();
