/* Figures that answer to the pointer: plotly's, of plain JSON in the page (fewsteps.figures.Curves). The library is a
   megabyte, so it is loaded when the first of them comes near, from this site. Colours follow the theme. In place of
   plotly's legend there is a box to tick for every curve, by mouse and by keyboard; what is said at the pointer is in
   the table that a figure names. */
(function () {
  "use strict";

  const own = document.currentScript.src;
  let library = null;

  function loaded() {
    library ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = new URL("vendor/plotly.min.js", own);
      script.onload = () => done(window.Plotly);
      script.onerror = () => failed(new Error("plotly.min.js is not there"));
      document.head.append(script);
    });
    return library;
  }

  /** What the theme decides: ink, grid, and what lies under the words at the pointer. */
  function themed() {
    const style = getComputedStyle(document.body);
    const colour = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    const [ink, grid] = [colour("--pst-color-text-base", style.color), colour("--pst-color-border", "#c9ccd1")];
    const back = colour("--pst-color-surface", "#f3f4f5");
    return {
      font: { color: ink, family: style.fontFamily },
      hoverlabel: { bgcolor: back, bordercolor: grid, font: { color: ink } },
      axis: { gridcolor: grid, zerolinecolor: grid, linecolor: grid },
    };
  }

  function layoutOf(saved) {
    const { axis, ...look } = themed();
    return {
      ...saved, ...look, paper_bgcolor: "transparent", plot_bgcolor: "transparent", autosize: true, dragmode: false,
      showlegend: false,
      xaxis: { ...saved.xaxis, ...axis }, yaxis: { ...saved.yaxis, ...axis },
    };
  }

  const DASHES = { solid: "", dash: "6 3", dot: "2 2", dashdot: "6 2 2 2", longdash: "10 3", longdashdot: "10 2 2 2" };

  function swatch({ color, dash }) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 28 4");
    svg.setAttribute("aria-hidden", "true");
    const line = document.createElementNS(svg.namespaceURI, "path");
    line.setAttribute("d", "M0 2H28");
    line.setAttribute("stroke", color);
    line.setAttribute("stroke-width", "2.5");
    line.setAttribute("stroke-dasharray", DASHES[dash]);
    svg.append(line);
    return svg;
  }

  /** A box for every curve, beside the colour that it is drawn in. */
  function chooser(curves, again) {
    const field = document.createElement("fieldset");
    field.className = "fs-curves-chosen";
    field.setAttribute("aria-label", "Curves");
    for (const curve of curves) {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = curve.visible === true;
      box.style.accentColor = curve.line.color;
      box.addEventListener("change", () => {
        curve.visible = box.checked;
        again();
      });
      label.append(box, swatch(curve.line), curve.name);
      field.append(label);
    }
    return field;
  }

  async function draw(place, script) {
    const saved = JSON.parse(script.textContent);
    const plotly = await loaded();
    const config = { displayModeBar: false, responsive: true };
    await plotly.newPlot(place, saved.data, layoutOf(saved.layout), config);
    const again = () => plotly.react(place, saved.data, layoutOf(saved.layout), config);
    place.setAttribute("aria-hidden", "true"); // loose words and numbers: the boxes and the table say it better
    place.after(chooser(saved.data, again));
    new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      const place = document.createElement("div");
      place.className = "fs-curves-drawn";
      const script = target.querySelector("script");
      script.after(place);
      draw(place, script).catch((error) => {
        place.textContent = `This figure could not be drawn: ${error.message}.`;
      });
    }
  }, { rootMargin: "400px" });
  for (const figure of document.querySelectorAll(".fs-curves")) near.observe(figure);
})();
