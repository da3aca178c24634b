// Draws the last hour with uPlot, in the colours of the admin's theme.
(() => {
  "use strict";

  if (!window.uPlot) return;
  const HEIGHT = 170; // px
  const language = document.documentElement.lang || undefined;
  const boxes = [...document.querySelectorAll(".ro-chart")];
  const LINES = { commands: ["sent", "avoided"], ratio: ["ratio"], batch: ["batch"] };
  let last = null; // what was drawn
  let plots = [];
  let tell; // tells the time

  function colour(name) {
    return getComputedStyle(boxes[0]).getPropertyValue(name).trim();
  }

  function time(at) {
    return tell(at, { hour: "2-digit", minute: "2-digit" });
  }

  function number(value) {
    return value == null ? "-" : value.toLocaleString(language, { maximumFractionDigits: 1 });
  }

  function options(box, names) {
    const axis = { stroke: colour("--ro-axis"), grid: { stroke: colour("--ro-grid"), width: 1 }, ticks: { show: false } };
    return {
      width: box.clientWidth,
      height: HEIGHT,
      scales: { y: { range: (plot, low, high) => [0, box.dataset.chart === "ratio" ? 100 : Math.max(high, 1) * 1.05] } },
      cursor: { y: false, drag: { x: false, y: false } },
      legend: { markers: { width: 2 } },
      axes: [
        { ...axis, size: 28, space: 60, values: (plot, ticks) => ticks.map(time) },
        { ...axis, size: 46, space: 36, values: (plot, ticks) => ticks.map(number) },
      ],
      series: [
        { label: box.dataset.wordTime, value: (plot, at) => (at == null ? "-" : tell(at)) },
        ...names.map((name) => ({
          label: box.getAttribute(`data-word-${name}`),
          stroke: colour(`--ro-${name}`),
          fill: name === "sent" ? undefined : colour(`--ro-${name}-fill`),
          dash: name === "sent" ? [6, 3] : undefined, // told apart without colours, too
          width: 1.5,
          spanGaps: false,
          // A step alone is no line.
          points: { show: names.length === 1, size: 3, width: 0, fill: colour(`--ro-${name}`) },
          value: (plot, value) => number(value),
        })),
      ],
    };
  }

  function data(found, names) {
    const at = found[names[0]].map((_, place) => found.begins + place * found.step);
    return [at, ...names.map((name) => found[name])];
  }

  // All anew where lines or colours are others; otherwise what is there gets new data.
  function draw(found, telling, anew = false) {
    last = found;
    tell = telling;
    boxes[0].closest(".ro-charts").hidden = false; // it has no width before
    boxes.forEach((box, place) => {
      const names = LINES[box.dataset.chart].filter((name) => found[name]);
      const before = plots[place];
      if (before && !anew && before.series.length === names.length + 1) {
        before.setData(data(found, names));
        return;
      }
      before?.destroy();
      plots[place] = new uPlot(options(box, names), data(found, names), box);
    });
  }

  function redraw() {
    if (last) draw(last, tell, true);
  }

  new ResizeObserver(() => {
    plots.forEach((plot, place) => {
      const width = boxes[place].clientWidth;
      if (width && plot.width !== width) plot.setSize({ width, height: HEIGHT });
    });
  }).observe(boxes[0]);
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

  window.redisOptimizerCharts = { draw };
})();
