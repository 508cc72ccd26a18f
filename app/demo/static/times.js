/* Where the server's time went, from its header Server-Timing. */

import { element } from "./elements.js";

const PHASES = ["decode", "detect", "queue", "inference", "read", "encode"];

/** runs: of the picture on the page; none hides the times. */
export function showTimes(runs) {
  document.getElementById("times").hidden = !runs.length;
  document.getElementById("times-table").replaceChildren(head(runs), ...rows(runs));
}

function head(runs) {
  return element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Phase"), ...runs.map(({ label }) => element("th", { scope: "col" }, label))));
}

function rows(runs) {
  const spent = runs.map(({ answer }) => ({ ...phases(answer.timing), "round trip": answer.roundTrip }));
  const known = [...PHASES, "total", "round trip"].filter((phase) => spent.some((one) => phase in one));
  return known.map((phase) => element("tr", {}, element("th", { scope: "row" }, phase), ...spent.map((one) => element("td", {}, milliseconds(one[phase])))));
}

function phases(header) {
  return Object.fromEntries([...header.matchAll(/(\w+);dur=([\d.]+)/g)].map(([, phase, duration]) => [phase, Number(duration)]));
}

const milliseconds = (value) => (value === undefined ? "–" : `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`);
