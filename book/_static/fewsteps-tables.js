/* Tables that can be sorted by any column and, where they are long, filtered by any word. Without this script they are
   plain tables. A heading becomes a button: once for rising, twice for falling, three times for the order as printed. */
(function () {
  "use strict";

  const SORTED = 6; // rows from which on an order is worth choosing
  const FILTERED = 12;
  const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

  /* The first number in a text as these pages write them, or NaN: "−1.5·10⁻³ ± 0.2" is −0.0015. */
  function numberIn(text) {
    const found = text.match(/[−-]?\d[\d,]*(?:\.\d+)?(?:·10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+))?/);
    // A name with a number in it is no number, and PX-12 is no negative one.
    if (!found || found.index > 2 || /\p{L}$/u.test(text.slice(0, found.index))) return NaN;
    const plain = Number(found[0].replace(/·.*/, "").replace("−", "-").replaceAll(",", ""));
    if (!found[2]) return plain;
    const power = Number([...found[2]].map((digit) => SUPERSCRIPTS.indexOf(digit)).join(""));
    return plain * 10 ** (found[1] ? -power : power);
  }

  function comparison(rows, column) {
    const texts = new Map(rows.map((row) => [row, row.cells[column]?.textContent.trim() ?? ""]));
    const filled = rows.filter((row) => !["", "–", "—"].includes(texts.get(row)));
    const numeric = filled.length > 0 && filled.every((row) => !Number.isNaN(numberIn(texts.get(row))));
    const empty = (row) => Number(!filled.includes(row)); // at the end in either direction
    return (sign) => (a, b) => {
      const [x, y] = [texts.get(a), texts.get(b)];
      const order = numeric ? numberIn(x) - numberIn(y) : x.localeCompare(y, undefined, { numeric: true });
      return empty(a) - empty(b) || sign * order;
    };
  }

  function sortable(table, body, printed) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      if (!heading.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "fs-sort";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")] ?? "ascending";
        for (const other of headings) other.removeAttribute("aria-sort");
        const rows = [...printed];
        if (next !== "none") {
          heading.setAttribute("aria-sort", next);
          rows.sort(comparison(printed, column)(next === "ascending" ? 1 : -1));
        }
        body.append(...rows);
      });
    });
  }

  function filterable(table, printed) {
    const label = document.createElement("label");
    label.className = "fs-filter";
    const input = document.createElement("input");
    input.type = "search";
    const count = document.createElement("output");
    label.append("Rows with ", input, " ", count);
    table.before(label);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of printed) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      count.textContent = words.length ? `${shown} of ${printed.length}` : "";
    });
  }

  for (const table of document.querySelectorAll(".bd-article table")) {
    const body = table.tBodies[0];
    if (table.tBodies.length !== 1 || !table.tHead || table.tHead.rows.length !== 1 || table.closest(".fs-lab")) continue;
    const printed = [...body.rows];
    if (printed.length >= FILTERED) filterable(table, printed);
    if (printed.length >= SORTED) sortable(table, body, printed);
  }
})();
