"use strict";
// Draws every figure with the template of the reader's colour scheme; paper is light, and narrower.
const paperWidth = 670;
const templates = JSON.parse(document.getElementById("templates").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const template = () => (dark.matches ? templates.dark : templates.light);
const pictures = [...document.querySelectorAll("script.figure")].map((source) => {
  const figure = JSON.parse(source.textContent);
  const place = document.getElementById(source.id.replace(/-figure$/, "-picture"));
  const layout = { ...figure.layout, template: template() };
  Plotly.newPlot(place, figure.data, layout, { responsive: true, displaylogo: false });
  return place;
});
const paint = (chosen, width = null) => pictures.forEach((place) => {
  Plotly.relayout(place, { template: chosen, width, autosize: width === null });
});
dark.addEventListener("change", () => paint(template()));
let closed = [];
window.addEventListener("beforeprint", () => {
  paint(templates.light, paperWidth);
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((part) => { part.open = true; });
});
window.addEventListener("afterprint", () => {
  paint(template());
  closed.forEach((part) => { part.open = false; });
});
// Pictures with views: a list chooses whose traces are shown, buttons zoom and move along the x axis.
document.querySelectorAll(".views").forEach((controls) => {
  const place = document.getElementById(controls.dataset.picture);
  controls.querySelector("select").addEventListener("change", ({ target }) => {
    const visible = place.data.map((trace) => trace.meta === target.value);
    Plotly.update(place, { visible }, { "xaxis.autorange": true });
  });
  controls.querySelectorAll("button").forEach((button) => {
    button.addEventListener("click", () => {
      const [from, to] = place.layout.xaxis.range;
      const width = to - from;
      const middle = (from + to) / 2 + Number(button.dataset.move) * width;
      const half = (Number(button.dataset.by) * width) / 2;
      Plotly.relayout(place, { "xaxis.range": [middle - half, middle + half] });
    });
  });
});
// Commands to copy: a button, or a click on a point. A page opened from disk may have no clipboard.
const status = document.getElementById("status");
const say = (text) => {
  status.textContent = text;
  setTimeout(() => { status.textContent = ""; }, 4000);
};
const copyOld = (text) => {
  const field = document.createElement("textarea");
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
};
const copy = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say(copyOld(text) ? "Copied" : "Your browser does not allow copying: mark the command instead");
  }
};
document.querySelectorAll("button.copy").forEach((button) => {
  button.addEventListener("click", () => copy(button.dataset.text));
});
pictures.forEach((place) => {
  place.on("plotly_click", ({ points }) => {
    if (typeof points[0].customdata === "string") copy(points[0].customdata);
  });
});
