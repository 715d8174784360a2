/* Runs between require.js and the Jupyter widget manager, on pages that hold widgets.

   Modules are looked up in _static/vendor: "anywidget" is vendor/anywidget.js, and nothing is asked of a content
   delivery network. The page knows its distance from the root of the book (data-content_root). */
(function () {
  "use strict";
  var root = new URL(document.documentElement.dataset.content_root || "./", document.baseURI);
  requirejs.config({ baseUrl: new URL("_static/vendor/", root).href });

  /* The widgets' labels call MathJax 2 (MathJax.Hub.Queue); the page has MathJax 3. */
  window.addEventListener("load", function () {
    var mathjax = window.MathJax;
    if (!mathjax || mathjax.Hub) return;
    mathjax.Hub = {
      Queue: function (call) {
        if (call && call[2] && mathjax.typesetPromise) mathjax.typesetPromise([call[2]]);
      },
    };
  });
})();
