/* Words won and lost, and the sentence that says it. */

/** The lines with `change` ("won", "lost", "mixed", "differs", "picture", "same") and the marks of both readings.
 *
 * truth: [{text, box: [left, top, right, bottom]}] of a sample, or null. A line belongs to the true line in whose
 * box its middle lies. Each line gets: before, after: {text, confidence, parts: [[text, mark]]}; won, lost: words.
 */
export function judged(lines, truth) {
  return lines.filter(({ outcome }) => outcome === "ok").map((line) => {
    if (!line.reading) return { ...line, won: [], lost: [], change: line.method === "super_resolved" ? "picture" : "same" };
    const { plain, text, confidence } = line.reading;
    const shown = truth ? againstTruth(plain.text, text, trueText(line, truth)) : againstEachOther(plain.text, text);
    return {
      ...line,
      ...shown,
      before: { ...plain, parts: shown.beforeParts },
      after: { text, confidence, parts: shown.afterParts },
    };
  });
}

const lies = ({ box }, { box: [left, top, right, bottom] }) => {
  const [x, y] = [0, 1].map((axis) => box.reduce((sum, point) => sum + point[axis], 0) / 4);
  return left <= x && x <= right && top <= y && y <= bottom;
};

function trueText(line, truth) {
  return truth.filter((one) => lies(line, one)).map(({ text }) => text).join(" ");
}

/** Whether all words are read now, whichever lines were found for them. */
function allRead(lines, truth) {
  return truth.every((one) => {
    const found = lines.filter((line) => lies(line, one)).map(({ reading }) => reading.text).join(" ");
    return wordsRead(one.text.split(" "), found).every(Boolean);
  });
}

function againstTruth(before, after, truth) {
  const words = truth.split(/\s+/).filter(Boolean);
  const [placesBefore, placesAfter] = [before, after].map((text) => wordsRead(words, text));
  const won = words.filter((_, i) => !placesBefore[i] && placesAfter[i]);
  const lost = words.filter((_, i) => placesBefore[i] && !placesAfter[i]);
  const change = won.length && lost.length ? "mixed" : won.length ? "won" : lost.length ? "lost" : before === after ? "same" : "differs";
  return {
    truth, won, lost, change,
    beforeParts: marked(before, placesBefore, (i) => !placesAfter[i] && "lost"),
    afterParts: marked(after, placesAfter, (i) => !placesBefore[i] && "won"),
  };
}

/** The place of each word in a reading, [start, end] or null: most words, in order.
 *
 * A word need not stand between spaces, because PP-OCR often leaves them out.
 */
export function wordsRead(words, reading) {
  const known = new Map();
  const count = (places) => places.filter(Boolean).length;
  function best(index, start) {
    if (index === words.length) return [];
    const state = `${index} ${start}`;
    if (known.has(state)) return known.get(state);
    const at = reading.indexOf(words[index], start);
    const end = at + words[index].length;
    const without = [null, ...best(index + 1, start)];
    const withIt = at < 0 ? without : [[at, end], ...best(index + 1, end)];
    known.set(state, count(withIt) >= count(without) ? withIt : without);
    return known.get(state);
  }
  return best(0, 0);
}

/** Parts of a reading, [text, mark]. mark(i): of word i, or false. */
function marked(reading, places, mark) {
  const parts = [];
  let from = 0;
  places.forEach((place, i) => {
    if (!place || !mark(i)) return;
    parts.push([reading.slice(from, place[0]), ""], [reading.slice(...place), mark(i)]);
    from = place[1];
  });
  return [...parts, [reading.slice(from), ""]].filter(([text]) => text);
}

/** Without the truth: the words of each reading that the other does not have. */
function againstEachOther(before, after) {
  const parts = (text, other) => {
    const left = other.split(/\s+/);
    return text.split(/(\s+)/).filter(Boolean).map((word) => {
      const at = left.indexOf(word);
      if (at >= 0) left.splice(at, 1);
      return [word, at >= 0 || !word.trim() ? "" : "differs"];
    });
  };
  const change = before === after ? "same" : "differs";
  return { won: [], lost: [], change, beforeParts: parts(before, after), afterParts: parts(after, before) };
}

const some = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;
const leftAlone = (count) => `${some(count, "line")} left as ${count === 1 ? "it was" : "they were"}`;
const others = (count) => (count ? `, ${leftAlone(count)}` : "");
const sum = (lines, of) => lines.reduce((total, line) => total + of(line), 0);

/** One sentence on the lines of one picture or of several. truth: as for `judged`. */
export function verdict(lines, truth, failed = 0) {
  const sentence = lines.length ? onLines(lines, truth) : "No text was found.";
  return failed ? `${sentence} ${some(failed, "line")} failed.` : sentence;
}

function onLines(lines, truth) {
  if (!lines[0].reading) return onPictures(lines);
  const changed = lines.filter(({ change }) => change !== "same");
  const left = lines.length - changed.length;
  if (truth) {
    const [won, lost] = [sum(lines, ({ won }) => won.length), sum(lines, ({ lost }) => lost.length)];
    if (!changed.length && allRead(lines, truth)) return `Nothing to win: every word is read already, ${leftAlone(left)}.`;
    return `${some(won, "more word", "more words")} read, ${lost} lost${others(left)}.`;
  }
  if (!changed.length) return `It reads the same: ${leftAlone(left)}.`;
  const are = changed.length === 1 ? "is" : "are";
  return `${some(changed.length, "line")} ${are} read differently and more surely${others(left)}.`;
}

function onPictures(lines) {
  const done = lines.filter(({ change }) => change === "picture").length;
  if (lines.length === 1) return done ? "The line is super-resolved." : `The line is left as it was: ${WHY[lines[0].reason] ?? ""}`;
  return `${some(done, "line")} super-resolved, ${leftAlone(lines.length - done)}.`;
}

const WHY = {
  blurred: "its blur is in the range where the model helps.",
  always: "the mode always super-resolves every line.",
  uncalibrated: "this model has no calibration, so every line is super-resolved.",
  sharp: "it is sharp enough that recognisers read it better unchanged.",
  noisy: "it is so noisy that the model would take the noise for strokes.",
  blank: "it is a plain background without text.",
  no_gain_for_recogniser: "this model helps this recogniser with no kind of line.",
  sure: "the recogniser is sure of it as it is.",
  unsure: "the recogniser is unsure of it as it is.",
};
const METHODS = { super_resolved: "Super-resolved", enlarged: "Enlarged without the network", kept: "Left as it was" };

/** How a line was treated, and why. */
export function explanation({ method, reason, reading, blur_px: blur, working_scale: scale }) {
  const why = WHY[reason] ?? `${reason}.`;
  const parts = [`${METHODS[method] ?? method}: ${why}`];
  if (reading?.super_resolved && reading.kept === "plain") {
    const surely = Math.round(100 * reading.super_resolved.confidence);
    parts.push(`Read again as “${reading.super_resolved.text}” (${surely} %), which is not surer, so the first reading is kept.`);
  }
  if (blur != null) parts.push(`Measured blur: ${blur.toFixed(1)} px.`);
  if (scale != null) parts.push(`Working scale: ${Math.round(100 * scale)} %.`);
  return parts.join(" ");
}

/** The mark of a line for the eye, and the same in words. */
export function markOf({ change, won, lost }) {
  if (change === "won") return [`+${won.length}`, `${some(won.length, "word")} won`];
  if (change === "lost") return [`−${lost.length}`, `${some(lost.length, "word")} lost`];
  if (change === "mixed") return [`+${won.length} −${lost.length}`, `${some(won.length, "word")} won, ${lost.length} lost`];
  if (change === "differs") return ["new", "read differently"];
  return change === "picture" ? ["2×", "super-resolved"] : ["=", "left as it was"];
}
