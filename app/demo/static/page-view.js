/* One picture's result: its boxes over the picture, and its lines with what was read before and after. */

import { element, reading, svg } from "./elements.js";
import { cutOut } from "./pictures.js";
import { openLine } from "./slider.js";
import { markOf } from "./words.js";

const SHOWN_AT_ONCE = 12; // unchanged lines; more are folded

/** run: {bitmap, answer, lines, sentence, label}. Its verdict stands above it if `compared`. */
export function pageView(run, { name, compared }) {
  const view = element("article", { class: "run", "aria-label": `${name}, ${run.label}` });
  if (compared) view.append(element("h3", {}, run.label), element("p", { class: "run-verdict" }, run.sentence));
  const lines = element("div", { class: "line-lists" }, ...lists(run));
  if (isCrop(run)) view.classList.add("crop");
  else view.append(picture(run, name));
  view.append(lines);
  return view;
}

/** Whether the picture is one line, which the list shows as large. */
function isCrop({ lines, answer: { input } }) {
  const wide = ({ input: { width, height } }) => width * height > 0.8 * input.width * input.height;
  return lines.length === 1 && wide(lines[0]);
}

function picture(run, name) {
  const { width, height } = run.answer.input;
  const figure = element("div", { class: "page" });
  if (run.bitmap) {
    const canvas = element("canvas", { width, height, role: "img", "aria-label": name });
    canvas.getContext("2d").drawImage(run.bitmap, 0, 0, width, height);
    figure.append(canvas);
  } else {
    figure.append(element("p", { class: "unseen" }, "This browser cannot show the picture's format; its lines are below."));
  }
  if (run.bitmap && run.lines.length) figure.append(boxes(run, width, height));
  figure.style.maxWidth = `${Math.max(3 * width, 320)}px`;
  return figure;
}

/** Boxes over the picture: one tab stop, arrow keys from box to box, Enter or a click opens the line. */
function boxes(run, width, height) {
  const letter = Math.max(6, width / 42);
  const shapes = run.lines.map((line, position) => {
    const [mark, spoken] = markOf(line);
    const shape = svg(
      "g",
      { class: `box ${line.change}`, role: "button", tabindex: position ? -1 : 0, "aria-label": `Line ${position + 1}, ${spoken}: ${line.after?.text ?? ""}` },
      svg("polygon", { points: line.box.map((point) => point.join(",")).join(" "), "vector-effect": "non-scaling-stroke" }),
    );
    if (line.change !== "same") {
      shape.append(...flag(mark, line.box[0], letter));
    }
    shape.addEventListener("click", () => openLine(run, position));
    return shape;
  });
  const layer = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Lines found; arrow keys move between them" }, ...shapes);
  layer.addEventListener("keydown", (event) => {
    const at = shapes.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: shapes.length - 1 }[event.key];
    if (event.key === "Enter" || event.key === " ") openLine(run, at);
    else if (!shapes[to]) return;
    else {
      shapes[at].setAttribute("tabindex", -1);
      shapes[to].setAttribute("tabindex", 0);
      shapes[to].focus();
    }
    event.preventDefault();
  });
  return layer;
}

/** A mark on its ground, at the box's top left. */
function flag(mark, [x, y], letter) {
  const [wide, high] = [(0.75 * mark.length + 0.5) * letter, 1.3 * letter];
  const [left, top] = x < wide ? [0, Math.max(0, y - high)] : [x - wide, Math.max(0, y)]; // above it without room at its left
  return [
    svg("rect", { x: left, y: top, width: wide, height: high, rx: 0.2 * letter }),
    svg("text", { x: left + wide / 2, y: top + letter, "font-size": letter, "text-anchor": "middle" }, mark),
  ];
}

function lists(run) {
  const numbered = run.lines.map((line, position) => [line, position]);
  const changed = numbered.filter(([{ change }]) => change !== "same");
  const left = numbered.filter(([{ change }]) => change === "same");
  const parts = [];
  if (changed.length) parts.push(list(run, changed));
  if (left.length) {
    const count = `${left.length} ${left.length === 1 ? "line" : "lines"} left as ${left.length === 1 ? "it was" : "they were"}`;
    const folded = element("details", { open: left.length <= SHOWN_AT_ONCE }, element("summary", {}, count));
    const show = () => folded.open && folded.childElementCount === 1 && folded.append(list(run, left));
    folded.addEventListener("toggle", show);
    show();
    parts.push(folded);
  }
  for (const { index, problem } of run.failed) {
    parts.push(element("p", { class: "failed-line" }, `Line ${index + 1} failed: ${problem.title}. ${problem.detail}`));
  }
  return parts;
}

function list(run, numbered) {
  return element("ol", { class: "lines" }, ...numbered.map(([line, position]) => row(run, line, position)));
}

function row(run, line, position) {
  const [mark, spoken] = markOf(line);
  const label = element("span", { class: "mark" }, element("span", { "aria-hidden": "true" }, mark), element("span", { class: "visually-hidden" }, `Line ${position + 1}, ${spoken}.`));
  const button = element("button", { type: "button", class: `line ${line.change}` }, label);
  const alike = line.change === "same";
  const plain = run.bitmap ? thumbnail(cutOut(run.bitmap, line)) : alike && line.picture && shown(line.picture);
  button.append(side(alike ? "" : "Before", plain, line.before));
  if (!alike) button.append(side("After", line.picture && shown(line.picture), line.after));
  if (line.truth && !alike) button.append(element("span", { class: "truth" }, `True text: ${line.truth}`));
  button.addEventListener("click", () => openLine(run, position));
  return element("li", {}, button);
}

function side(title, picture, text) {
  const part = element("span", { class: "side" });
  if (title) part.append(element("span", { class: "caption" }, title));
  if (picture) part.append(picture);
  if (text) part.append(reading(text));
  return part;
}

function thumbnail(picture) {
  const canvas = element("canvas", { width: picture.width, height: picture.height, "aria-hidden": "true" });
  canvas.getContext("2d").drawImage(picture, 0, 0);
  return canvas;
}

function shown(blob) {
  const image = element("img", { alt: "" });
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  image.src = URL.createObjectURL(blob);
  return image;
}
