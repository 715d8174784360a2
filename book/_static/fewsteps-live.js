/* Draws the live figures on pages of prose (lib/fewsteps/book/live.py): one saved anywidget each, no kernel, no widget
   manager. The figure's own module does the rest, as it does in a notebook. No module itself, so that a page that was
   opened as a file is drawn as well. */
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

  async function draw(place) {
    const traits = JSON.parse(place.querySelector("script").textContent);
    const style = document.createElement("style");
    style.textContent = traits._css;
    document.head.append(style);
    const address = URL.createObjectURL(new Blob([traits._esm], { type: "text/javascript" }));
    const { default: figure } = await import(address);
    URL.revokeObjectURL(address);
    const el = document.createElement("div");
    place.append(el);
    figure.render({ model: modelOf(traits), el });
  }

  // A page with two figures has this script twice.
  for (const place of document.querySelectorAll(".fs-live:not([data-drawn])")) {
    place.dataset.drawn = "";
    draw(place).catch((error) => {
      const words = document.createElement("p");
      words.textContent = `This figure could not be drawn: ${error.message}.`;
      place.append(words);
    });
  }
})();
