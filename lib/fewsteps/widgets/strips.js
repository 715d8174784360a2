// Rows of images as a network makes them, and where the files of the book are that it needs.

const SPACE = 2; // pixels between two images
const NARROW = 520; // screen pixels below which a row of eight becomes two of four

/** Where the files of this book are, or null: a notebook in JupyterLab is no page of a book, and has a kernel. */
export function ownFiles() {
  const root = document.documentElement.dataset.content_root;
  return root === undefined ? null : new URL("_static/", new URL(root, document.baseURI));
}

/** How many of `count` images stand side by side in `root`: all, or half of them where it is narrow. Paints anew. */
export function columnsThatFit(on, root, count) {
  const held = { columns: count };
  const fit = new ResizeObserver(([{ contentRect }]) => {
    const wanted = contentRect.width < NARROW ? count / 2 : count;
    if (wanted === held.columns) return;
    held.columns = wanted;
    on.paint();
  });
  fit.observe(root);
  on.onLeave(() => fit.disconnect());
  return held;
}

/**
 * `count` images out of `values`, from the one numbered `first` on, side by side. At level 0 they are what they are;
 * noise is shrunk until three standard deviations fit.
 */
export function paintImages(canvas, values, { count, columns, channels, size, level, first = 0 }) {
  const [width, height] = [columns, count / columns].map((n) => n * (size + SPACE) - SPACE);
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let k = 0; k < count; k++) {
    const corner = (size + SPACE) * (Math.floor(k / columns) * width + (k % columns));
    for (let p = 0; p < size * size; p++) {
      const to = 4 * (corner + Math.floor(p / size) * width + (p % size));
      for (let c = 0; c < 3; c++) {
        const v = values[((first + k) * channels + (c % channels)) * size * size + p];
        pixels.data[to + c] = 255 * (0.5 + (v - 0.5) / (1 + 6 * level)); // clamped and rounded by the array
      }
      pixels.data[to + 3] = 255;
    }
  }
  context.putImageData(pixels, 0, 0);
}
