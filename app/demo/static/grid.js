/* Several pictures: a card for each, with its marks, and one ZIP of all results. */

import { element } from "./elements.js";
import { zip } from "./zip.js";

const THUMBNAIL_PX = 320;

/** items: [{name, runs, problem}], as far as they are done. open(item): shows its page. */
export function grid(items, open) {
  return element("ul", { class: "grid" }, ...items.map((item) => element("li", {}, card(item, open))));
}

function card(item, open) {
  const button = element("button", { type: "button", class: "card-button", disabled: !item.runs && !item.problem });
  const bitmap = item.runs?.[0].bitmap;
  if (bitmap) {
    const scale = Math.min(1, THUMBNAIL_PX / bitmap.width);
    const small = element("canvas", { width: Math.max(1, bitmap.width * scale), height: Math.max(1, bitmap.height * scale), "aria-hidden": "true" });
    const pen = small.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, small.width, small.height);
    button.append(element("span", { class: "thumb" }, small));
  } else {
    button.append(element("span", { class: "thumb" }, item.problem ? "no picture" : item.runs ? "no preview" : "waiting…"));
  }
  button.append(element("strong", {}, item.name));
  if (item.problem) button.append(element("span", { class: "problem-text" }, item.problem.title));
  for (const run of item.runs ?? []) {
    button.append(element("span", { class: "marks" }, ...marks(run.lines)), element("span", {}, item.runs.length > 1 ? `${run.label}: ${run.sentence}` : run.sentence));
  }
  button.addEventListener("click", () => open(item));
  return button;
}

/** One square a line, coloured as its row; the sentence below says the same. */
function marks(lines) {
  return lines.slice(0, 60).map(({ change }) => element("span", { class: `dot ${change}`, "aria-hidden": "true" }));
}

/** One ZIP: for each picture its text, its results as JSON, and the picture of each line. */
export async function archive(items) {
  const entries = {};
  const text = (value) => new TextEncoder().encode(`${value}\n`);
  for (const [name, run] of folders(items)) {
    const { timing, roundTrip, ...answer } = run.answer;
    const lines = answer.lines.map((line) => ({ ...line, data: line.data ? `lines/${line.index + 1}.png` : null }));
    entries[`${name}/results.json`] = text(JSON.stringify({ ...answer, lines }, null, 2));
    if (answer.text != null) entries[`${name}/text.txt`] = text(answer.text);
    for (const line of run.lines) {
      if (line.picture) entries[`${name}/lines/${line.index + 1}.png`] = new Uint8Array(await line.picture.arrayBuffer());
    }
  }
  return zip(entries);
}

/** A folder's name for each run of each picture, without repetitions. */
function folders(items) {
  const taken = new Set();
  return items.flatMap(({ name, runs }) =>
    (runs ?? []).map((run) => {
      const stem = name.replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_").replace(/^\.+/, "") || "picture";
      const full = runs.length > 1 ? `${stem}-${run.label.replace(/\W+/g, "-")}` : stem;
      let free = full;
      for (let n = 2; taken.has(free); n++) free = `${full}-${n}`;
      taken.add(free);
      return [free, run];
    }),
  );
}
