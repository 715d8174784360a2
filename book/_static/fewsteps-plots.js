/* Figures that answer to the pointer: plotly's, of plain JSON in the page (fewsteps.figures.Curves). The library is a
   megabyte, so it is loaded when the first of them comes near, from this site. Colours follow the theme. In place of
   plotly's legend there is a box to tick for every curve, by mouse and by keyboard. Without this script the numbers are
   in the table that a figure names. */
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
    const grid = colour("--pst-color-border", "#c9ccd1");
    const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid };
    const back = colour("--pst-color-surface", "#f3f4f5");
    return {
      font: { color: colour("--pst-color-text-base", style.color), family: style.fontFamily },
      hoverlabel: { bgcolor: back, bordercolor: grid, font: { color: colour("--pst-color-text-base", style.color) } },
      axis,
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

  /** A box for every curve, beside the colour that it is drawn in. */
  function chooser(curves, again) {
    const field = document.createElement("fieldset");
    field.className = "fs-curves-chosen";
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
      const swatch = document.createElement("span");
      swatch.style.borderTopColor = curve.line.color;
      swatch.style.borderTopStyle = { solid: "solid", dot: "dotted" }[curve.line.dash] ?? "dashed";
      label.append(box, swatch, curve.name);
      field.append(label);
    }
    return field;
  }

  async function draw(place, saved) {
    const plotly = await loaded();
    const config = { displayModeBar: false, responsive: true };
    await plotly.newPlot(place, saved.data, layoutOf(saved.layout), config);
    const again = () => plotly.react(place, saved.data, layoutOf(saved.layout), config);
    place.after(chooser(saved.data, again));
    new MutationObserver(again).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      const place = document.createElement("div");
      place.className = "fs-curves-drawn";
      target.append(place);
      draw(place, JSON.parse(target.querySelector("script").textContent)).catch((error) => {
        place.textContent = `This figure could not be drawn: ${error.message}.`;
      });
    }
  }, { rootMargin: "400px" });
  for (const figure of document.querySelectorAll(".fs-curves")) near.observe(figure);
})();
