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
