/* The demo page: takes pictures, sends them through the service, and shows what was read before and after.
 *
 *   pictures -> api -> words (won, lost) -> page-view or grid -> slider
 *
 * No library, no other host.
 */

import { curl, keys, models, NO_OCR, ocr, operations, Problem, python, superResolve } from "./api.js";
import { element } from "./elements.js";
import { archive, grid } from "./grid.js";
import { pageView } from "./page-view.js";
import { decoded, fromBase64 } from "./pictures.js";
import { showTimes } from "./times.js";
import { judged, verdict } from "./words.js";

const $ = (id) => document.getElementById(id);
let running = new AbortController(); // of the newest pictures; the next ones abort it, here and on the server
let items = []; // [{file, name, truth, runs: [run] or undefined, problem}]
let shown = null; // the item on the page, null for the grid
let served = []; // of GET /v1/models

// Work

/** Each choice is one run of each picture: two where models are compared. */
function choices() {
  const [model, other, recogniser, mode] = ["model", "other", "recogniser", "mode"].map((id) => $(id).value);
  return [model, ...(other ? [other] : [])].map((one) => ({ model: one, recogniser, mode }));
}

async function work() {
  running.abort();
  const { signal } = (running = new AbortController());
  shown = items.length === 1 ? items[0] : null;
  for (const item of items) item.runs = item.problem = undefined;
  busy();
  for (const item of items) {
    try {
      item.runs = await runs(item, signal);
    } catch (problem) {
      if (signal.aborted) return;
      item.problem = problem.title ? problem : new Problem("This page has an error", problem.message);
    }
    if (signal.aborted) return;
    if (items.length > 1) draw();
  }
  idle();
  draw();
}

async function runs({ file, name, truth }, signal) {
  const asked = choices();
  const bitmap = decoded(file); // while the server works
  const answers = await Promise.all(asked.map((choice) => superResolve(file, name, choice, signal)));
  return Promise.all(answers.map(async (answer) => run(answer, await bitmap, truth)));
}

function run(answer, bitmap, truth) {
  const failed = answer.lines.filter(({ outcome }) => outcome === "failed");
  const lines = judged(answer.lines, truth).map((line) => ({ ...line, picture: line.data && new Blob([fromBase64(line.data)], { type: line.media_type }) }));
  const label = `${answer.model.name}:${answer.model.version}`;
  return { answer, bitmap, failed, lines, label, sentence: verdict(lines, truth, failed.length) };
}

// Output

function busy() {
  $("progress").hidden = false;
  $("verdict").textContent = items.length === 1 ? `Reading ${items[0].name}…` : `Reading ${items.length} pictures…`;
  $("result").setAttribute("aria-busy", "true");
  document.body.dataset.shows = "work";
}

function idle() {
  $("progress").hidden = true;
  $("result").removeAttribute("aria-busy");
}

function draw() {
  document.body.dataset.shows = shown?.problem ? "problem" : "result";
  $("back").hidden = items.length < 2 || !shown;
  $("download").disabled = !items.some(({ runs }) => runs);
  if (shown) drawPage(shown);
  else drawGrid();
  drawCommands();
}

function drawPage({ name, runs, problem, rule }) {
  $("result-title").textContent = name;
  if (problem) return fail(problem);
  $("verdict").textContent = runs.length === 1 ? runs[0].sentence : runs.map(({ label, sentence }) => `${label}: ${sentence}`).join(" ");
  $("verdict-note").textContent = note(runs[0], rule);
  const compared = runs.length > 1;
  $("view").replaceChildren(element("div", { class: compared ? "pair" : "alone" }, ...runs.map((run) => pageView(run, { name, compared }))));
  showTimes(runs);
}

function drawGrid() {
  const done = items.filter(({ runs, problem }) => runs || problem);
  $("result-title").textContent = `${items.length} pictures`;
  $("view").replaceChildren(grid(items, open));
  showTimes([]);
  if (done.length < items.length) {
    $("verdict").textContent = `Reading picture ${done.length + 1} of ${items.length}…`;
    return;
  }
  const [read, failed] = [done.filter(({ runs }) => runs), done.filter(({ problem }) => problem)];
  const sentences = (read[0]?.runs ?? []).map(({ label }, i) => {
    const lines = read.flatMap(({ runs }) => runs[i].lines);
    const sentence = verdict(lines, null, read.reduce((sum, { runs }) => sum + runs[i].failed.length, 0));
    return read[0].runs.length > 1 ? `${label}: ${sentence}` : sentence;
  });
  $("verdict").textContent = [...sentences, failed.length ? `${failed.length} of ${items.length} pictures failed.` : ""].join(" ").trim();
  $("verdict-note").textContent = read.length ? note(read[0].runs[0]) : "";
}

/** The recogniser, and for a sample the rule by which it was chosen. */
function note({ answer }, rule) {
  const by = answer.recogniser_version ? `Read by ${answer.recogniser} (${answer.recogniser_version}), which is not always right. ` : "";
  return by && rule ? `${by}${rule}` : by; // without readings no words are won
}

function open(item) {
  shown = item;
  draw();
  $("result-title").focus();
}

function fail({ title, message }) {
  $("verdict").textContent = "";
  $("verdict-note").textContent = "";
  $("view").replaceChildren();
  $("problem").replaceChildren(element("strong", {}, title), element("p", {}, message));
  document.body.dataset.shows = "problem";
  showTimes([]);
}

function drawCommands() {
  const chosen = choices();
  const compared = chosen.map(({ model }) => model).filter(Boolean).join(" against ");
  const [reader] = $("recogniser").selectedOptions;
  $("options-chosen").textContent = [compared && `model ${compared}`, reader && `recogniser ${reader.text}`, `mode ${$("mode").value}`].filter(Boolean).join("; ");
  const names = shown ? [shown.name] : items.length ? items.map(({ name }) => name) : ["page.png"];
  $("curl").textContent = curl(names, chosen, shown?.address);
  $("python").textContent = python(names, chosen);
}

// Input

function take(files) {
  if (!files.length) {
    running.abort();
    idle();
    items = [];
    fail(new Problem("No picture was found", "Drop or paste image files, or choose some."));
    return;
  }
  items = Array.from(files, (file) => ({ file, name: file.name }));
  work();
}

async function takeSample(sample) {
  const path = `web/samples/${sample.file}`;
  const answer = await fetch(path).catch(() => null);
  if (!answer?.ok) return fail(new Problem("The sample cannot be loaded", "The service cannot be reached."));
  const { tried, won, lost } = sample;
  const over = tried === 1 ? "the first random picture met it" : `in the ${tried} random pictures that were tried for this one, ${won} words were won and ${lost} lost`;
  const file = new File([await answer.blob()], sample.file, { type: "image/png" });
  items = [{ file, name: sample.file, truth: sample.lines, address: path, rule: `Samples are chosen by the rule below and are not typical: ${over}.` }];
  work();
}

async function offerSamples() {
  const answer = await fetch("web/samples/samples.json").catch(() => null);
  if (!answer?.ok) return;
  const { rule, samples } = await answer.json();
  $("rule").textContent = rule;
  const buttons = samples.map((sample) => {
    const picture = element("img", { src: `web/samples/${sample.file}`, alt: "", width: sample.width, height: sample.height });
    const button = element("button", { type: "button", class: "sample" }, element("span", { class: "sample-picture" }, picture), sample.title);
    button.addEventListener("click", () => takeSample(sample));
    return element("li", {}, button);
  });
  $("samples").replaceChildren(...buttons);
}

async function offerModels() {
  served = await models();
  const options = () => served.map(({ name, version }) => new Option(`${name}:${version}`, `${name}:${version}`));
  $("model").replaceChildren(...options());
  $("other").replaceChildren(new Option("no other model", ""), ...options());
  $("other").disabled = served.length < 2;
  $("other-hint").hidden = served.length !== 1;
  offerRecognisers();
}

function offerRecognisers() {
  for (const id of ["model", "other"]) $(id).closest(".field").hidden = !served.length;
  const rules = served.find(({ name, version }) => $("model").value === `${name}:${version}`)?.recognisers ?? {};
  const usual = new Option(ocr ? "rapidocr-v6 (reads here)" : "not named", "");
  const before = $("recogniser").value;
  const others = Object.keys(rules).filter((name) => name !== "rapidocr-v6" || !ocr);
  $("recogniser").replaceChildren(usual, ...others.map((name) => new Option(ocr ? `${name} (pictures only)` : name, name)));
  $("recogniser").value = others.includes(before) ? before : "";
  const chosen = $("recogniser").value;
  const sentence = rules[chosen || "any"];
  const asks = ocr && !chosen ? "Lines that the recogniser is unsure of are super-resolved and read again; the surer reading is kept." : "";
  $("recogniser-rule").textContent = asks || (sentence ? `${chosen || "any"}: ${sentence}.` : "");
  drawCommands();
}

async function copy({ currentTarget: button }) {
  const code = $(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch { // no clipboard without HTTPS: then the selection is copied
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  $("copied").textContent = `Copied the ${button.dataset.copies} lines.`;
}

async function download() {
  const link = element("a", { href: URL.createObjectURL(await archive(shown ? [shown] : items)), download: "text-telescope.zip" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files);
  target.value = ""; // else choosing the same file again fires no event
});
document.addEventListener("paste", (event) => {
  if (event.target.closest?.("input")) return; // an API key is pasted
  take(event.clipboardData.files);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  take(event.dataTransfer.files);
});
for (const id of ["model", "other", "recogniser", "mode"]) {
  $(id).addEventListener("change", () => {
    offerRecognisers();
    if (items.length) work();
  });
}
$("key").addEventListener("change", async () => {
  await offerModels();
  if (items.length) work();
});
for (const button of document.querySelectorAll("[data-copies]")) button.addEventListener("click", copy);
$("download").addEventListener("click", download);
$("back").addEventListener("click", () => {
  shown = null;
  draw();
  $("result-title").focus();
});

$("key-field").hidden = !keys;
$("no-ocr").hidden = Boolean(ocr);
if (!ocr) {
  $("verdict").textContent = "Does it look clearer? Take a sample, or drop your own picture.";
  [$("no-ocr").textContent, $("verdict-note").textContent] = [NO_OCR, ""];
}
document.querySelector(".top nav").hidden = operations === "elsewhere";
if (keys) {
  $("options").open = true; // the key is among them
  $("verdict-note").textContent += " This service needs your API key: type it under Options first.";
}
drawCommands();
offerSamples();
if (keys) offerRecognisers();
else offerModels();
