/* The dialog of one line: before and after under one slider, and the same spot of both under a lens. */

import { cutOut, enlarged } from "./pictures.js";
import { explanation, markOf } from "./words.js";
import { element, reading } from "./elements.js";

const $ = (id) => document.getElementById(id);
let opened = null; // {run, position, before, after}: the line on show
let newest = 0; // counts openings, so that a slow picture of an earlier line is dropped

/** Show a line. run: {bitmap, lines, ...}; position: in run.lines. */
export async function openLine(run, position) {
  const turn = ++newest;
  const line = run.lines[position];
  const before = run.bitmap && enlarged(cutOut(run.bitmap, line));
  const after = line.picture && (await createImageBitmap(line.picture).catch(() => null));
  if (turn !== newest) return;
  opened = { run, position, before, after };
  describe(line, position, run.lines.length);
  draw(line);
  if (!$("line-dialog").open) $("line-dialog").showModal();
  fit();
}

function describe(line, position, count) {
  const [, mark] = markOf(line);
  $("line-title").textContent = `Line ${position + 1} of ${count}: ${mark}`;
  $("line-why").textContent = explanation(line);
  const both = () => (line.change === "same" ? [["Read as", reading(line.after)]] : [["Before", reading(line.before)], ["After", reading(line.after)]]);
  const rows = line.reading ? both() : [];
  if (line.truth) rows.push(["True text", line.truth]);
  $("line-texts").replaceChildren(...rows.map(([name, shown]) => element("div", {}, element("dt", {}, name), element("dd", {}, shown))));
  $("line-previous").disabled = position === 0;
  $("line-next").disabled = position === count - 1;
}

function draw(line) {
  const { before, after } = opened;
  const compared = Boolean(before && after && line.method !== "kept");
  $("comparison").classList.toggle("one-picture", !compared);
  $("line-captions").hidden = $("lenses").hidden = !compared;
  for (const [id, picture] of [["before", before ?? after], ["after", after ?? before]]) {
    const canvas = $(id);
    [canvas.width, canvas.height] = picture ? [2 * line.input.width, 2 * line.input.height] : [1, 1];
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    if (picture) pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  }
  $("slider").value = 50;
  slide();
}

/** Fill the dialog's width, enlarging by at most four. */
function fit() {
  const { width } = $("before");
  $("comparison").style.width = `${Math.min($("scroller").clientWidth, 4 * width)}px`;
}

function slide() {
  const percent = Number($("slider").value);
  $("comparison").style.setProperty("--divider", `${percent}%`);
  $("slider").setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
  look(percent / 100);
}

/** Point the lens, which shows the line's whole height, at a share x of its width. */
function look(x) {
  for (const id of ["before", "after"]) {
    const from = $(id), to = $(`lens-${id}`);
    const pen = to.getContext("2d");
    const width = (from.height * to.width) / to.height;
    pen.imageSmoothingEnabled = false;
    pen.clearRect(0, 0, to.width, to.height);
    pen.drawImage(from, x * from.width - width / 2, 0, width, from.height, 0, 0, to.width, to.height);
  }
}

$("slider").addEventListener("input", slide);
$("comparison").addEventListener("pointermove", ({ clientX }) => {
  const { left, width } = $("comparison").getBoundingClientRect();
  look((clientX - left) / width);
});
$("line-previous").addEventListener("click", () => openLine(opened.run, opened.position - 1));
$("line-next").addEventListener("click", () => openLine(opened.run, opened.position + 1));
$("line-close").addEventListener("click", () => $("line-dialog").close());
$("line-dialog").addEventListener("click", ({ target }) => target === $("line-dialog") && target.close()); // outside of it
new ResizeObserver(fit).observe($("scroller"));
