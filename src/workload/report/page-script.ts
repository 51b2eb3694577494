/**
 * The page's own script: the curves are drawn already, this only follows the pointer and switches the theme. Plain ES2020 in one
 * string, because the page must work from a file with no network and no build.
 */
export const pageScript = String.raw`
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { geometry, seconds, charts } = data;
  const svgName = "http://www.w3.org/2000/svg";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const bytes = (value) => {
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit++; }
    return (unit === 0 ? Math.round(value) : value.toFixed(value < 10 ? 2 : 1)) + " " + units[unit];
  };
  const format = {
    "percent": (value) => (100 * value).toFixed(2) + "%",
    "bytes": bytes,
    "bytes-per-second": (value) => bytes(value) + "/s",
    "count": (value) => Math.round(value).toLocaleString("en"),
  };
  const duration = seconds[seconds.length - 1] || 0.001;
  const nearest = (second) => {
    let low = 0, high = seconds.length - 1;
    while (low < high) { const middle = (low + high) >> 1; if (seconds[middle] < second) low = middle + 1; else high = middle; }
    return low > 0 && second - seconds[low - 1] < seconds[low] - second ? low - 1 : low;
  };
  const views = charts.map((chart) => {
    const figure = document.getElementById(chart.id);
    return { chart, svg: figure.querySelector("svg"), layer: figure.querySelector(".pointer"), labels: [...figure.querySelectorAll(".legend b")], at: figure.querySelector(".at") };
  });
  const show = (index) => {
    for (const { chart, layer, labels, at } of views) {
      const shown = index === undefined ? seconds.length - 1 : index;
      chart.series.forEach((series, row) => { labels[row].textContent = format[chart.unit](series.values[shown] || 0); });
      at.textContent = index === undefined ? "" : "at " + seconds[shown].toFixed(2) + " s";
      layer.replaceChildren();
      if (index === undefined) continue;
      const x = geometry.left + (seconds[index] / duration) * geometry.plotWidth;
      const line = document.createElementNS(svgName, "line");
      line.setAttribute("x1", x); line.setAttribute("x2", x);
      line.setAttribute("y1", geometry.top); line.setAttribute("y2", geometry.top + geometry.plotHeight);
      layer.append(line);
      for (const series of chart.series) {
        const dot = document.createElementNS(svgName, "circle");
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", geometry.top + (1 - Math.min(1, series.values[index] / chart.axisMax)) * geometry.plotHeight);
        dot.setAttribute("r", 3.5); dot.setAttribute("class", series.colour);
        layer.append(dot);
      }
    }
  };
  for (const { svg } of views) {
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * geometry.width;
      show(nearest(((x - geometry.left) / geometry.plotWidth) * duration));
    });
    svg.addEventListener("pointerleave", () => show(undefined));
  }
  show(undefined);
  document.getElementById("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
})();
`;
