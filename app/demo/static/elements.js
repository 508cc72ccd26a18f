/* Elements made by script. Texts are set as text, never parsed as HTML. */

const SVG = "http://www.w3.org/2000/svg";

export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(one, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value != null) one.setAttribute(name, value === true ? "" : value);
  }
  one.append(...children);
  return one;
}

const SPOKEN = { won: "won", lost: "lost", differs: "differs" };

/** A reading with its marked words and its confidence. */
export function reading({ text, confidence, parts }) {
  if (!text) return element("span", { class: "nothing" }, "nothing");
  const words = parts.map(([part, mark]) =>
    mark ? element("mark", { class: mark }, part, element("span", { class: "visually-hidden" }, ` (${SPOKEN[mark]})`)) : part,
  );
  return element("span", { class: "reading" }, ...words, " ", element("small", {}, `${Math.round(100 * confidence)} %`));
}
