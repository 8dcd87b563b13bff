"use strict";
// Draws every figure with the template of the reader's colour scheme; paper is always light.
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
const paint = (chosen) => pictures.forEach((place) => Plotly.relayout(place, { template: chosen }));
dark.addEventListener("change", () => paint(template()));
let closed = [];
window.addEventListener("beforeprint", () => {
  paint(templates.light);
  closed = [...document.querySelectorAll("details:not([open])")];
  closed.forEach((part) => { part.open = true; });
});
window.addEventListener("afterprint", () => {
  paint(template());
  closed.forEach((part) => { part.open = false; });
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
