/* The demo page: shows the service's result for a picture beside its bicubic enlargement. No library, no other host. */

import { bicubic } from "./bicubic.js";

const $ = (id) => document.getElementById(id);
const stage = $("stage");
const SCALE = 2; // of geometry=native, for every model
const PHASES = ["decode", "queue", "inference", "encode"];
const FACTS = ["size", "method", ...PHASES, "total", "round-trip", "text-before", "text-after"];
const METHODS = { super_resolved: "Super-resolved", enlarged: "Enlarged without the network", kept: "Returned unchanged" };
const REASONS = {
  blurred: "Its blur is in the range where the model helps.",
  uncalibrated: "The mode auto is not calibrated for this model, so it super-resolves every crop.",
  sharp: "It is sharp enough that recognisers read it better unchanged.",
  noisy: "It is so noisy that the model would take the noise for strokes.",
  blank: "It is a plain background without text.",
  no_gain_for_recogniser: "This model does not help this recogniser with any kind of crop.",
};
const { recogniser, key: keys, operations } = document.documentElement.dataset; // recogniser: empty if no text is read

let running = new AbortController(); // of the newest picture; the next picture aborts it, here and on the server
let result = null; // {width, height} of the picture on the stage
let newest = null; // the newest picture and its name, to send again in another mode

/** An error of the service or of the connection to it. */
class Problem extends Error {
  constructor(title, detail) {
    super(detail);
    this.title = title;
  }
}

// One picture: request, response, comparison

async function process(file, name) {
  running.abort();
  const { signal } = (running = new AbortController());
  newest = [file, name];
  busy(name);
  try {
    const before = enlarged(file).catch(() => null); // while the server works
    const reply = await superResolve(file, name, signal);
    const after = new Blob([fromBase64(reply.image.data)], { type: reply.image.media_type });
    const pixels = await before;
    if (signal.aborted) return;
    await compare(pixels, after, reply.image);
    if (signal.aborted) return;
    showResult(reply, name, after);
    if (recogniser) await Promise.all([read(file, "text-before", signal), read(after, "text-after", signal)]);
  } catch (problem) {
    if (!signal.aborted) fail(problem);
  }
}

async function superResolve(file, name, signal) {
  const body = new FormData();
  body.append("image", file, name);
  const started = performance.now();
  const mode = $("mode").value;
  const { reply, headers } = await post(`v1/super-resolve${mode && `?mode=${mode}`}`, body, signal);
  const roundTrip = performance.now() - started;
  const [image] = reply.images;
  if (image.outcome !== "ok") throw new Problem(image.problem.title, image.problem.detail);
  return { image, model: reply.model, timing: headers.get("Server-Timing") ?? "", roundTrip };
}

async function post(address, body, signal) {
  let response;
  try {
    response = await fetch(address, { method: "POST", body, signal, headers: { Accept: "application/json", ...key() } });
  } catch {
    throw new Problem("The service did not answer", "It cannot be reached, or it closed the connection.");
  }
  const reply = await response.json().catch(() => null);
  if (response.ok && reply) return { reply, headers: response.headers };
  throw new Problem(
    reply?.title ?? "The service sent an unexpected response",
    reply?.detail ?? `Status ${response.status} ${response.statusText}.`,
  );
}

/** The API key; only its input field holds it. */
function key() {
  const typed = $("key").value.trim();
  return typed && { Authorization: `Bearer ${typed}` };
}

/** The picture's pixels as the service sees them, enlarged. Throws if this browser cannot read the format. */
async function enlarged(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white"; // behind transparent pixels, as on the server
  pen.fillRect(0, 0, bitmap.width, bitmap.height);
  pen.drawImage(bitmap, 0, 0);
  const { data } = pen.getImageData(0, 0, bitmap.width, bitmap.height);
  return bicubic(data, bitmap.width, bitmap.height, SCALE);
}

async function read(picture, id, signal) {
  $(id).textContent = "reading…";
  const body = new FormData();
  body.append("image", picture, "crop.png");
  const text = await post("v1/recognise", body, signal).then(
    ({ reply }) => (reply.text ? `${reply.text} (${Math.round(100 * reply.confidence)} %)` : "no text"),
    (problem) => problem.message,
  );
  if (!signal.aborted) $(id).textContent = text;
}

// Output

function busy(name) {
  setStatus(`Super-resolving ${name}…`);
  $("progress").hidden = false;
  stage.setAttribute("aria-busy", "true");
}

function idle() {
  $("progress").hidden = true;
  stage.removeAttribute("aria-busy");
}

async function compare(before, after, image) {
  URL.revokeObjectURL($("after").src);
  $("after").src = URL.createObjectURL(after);
  await $("after").decode();
  result = image.output;
  const canvas = $("before");
  canvas.width = result.width;
  canvas.height = result.height;
  if (before) canvas.getContext("2d").putImageData(before, 0, 0);
  $("comparison").classList.toggle("only-after", !before);
  $("caption-before").textContent = before ? "Before: bicubic enlargement" : "This browser cannot show the original's format";
  stage.dataset.shows = "comparison";
  resize();
}

/** The reason, the measured blur, and the working scale. */
function explanation(image) {
  const blur = image.blur_px === null ? "" : `Measured blur: ${image.blur_px.toFixed(1)} px.`;
  const scale = image.working_scale === null ? "" : `Working scale: ${Math.round(100 * image.working_scale)} %.`;
  return [REASONS[image.reason], blur, scale].filter(Boolean).join(" ");
}

function showResult({ image, model, timing, roundTrip }, name, after) {
  idle();
  const size = ({ width, height }) => `${width} × ${height}`;
  $("model").textContent = `${model.name}:${model.version}`;
  $("size").textContent = `${size(image.input)} → ${size(image.output)} px`;
  $("method").textContent = METHODS[image.method] ?? (image.method ?? "super_resolved").replaceAll("_", " ");
  const total = showTiming(timing);
  $("round-trip").textContent = milliseconds(roundTrip);
  const link = $("download");
  link.href = URL.createObjectURL(after);
  link.download = `${name.replace(/\.[^.]*$/, "")}-x${SCALE}.png`;
  link.removeAttribute("aria-disabled");
  setStatus(`${name}: ${size(image.input)} to ${size(image.output)} pixels in ${milliseconds(total)}. ${explanation(image)}`);
}

function showModel() {
  fetch("v1/models", { headers: key() || {} })
    .then((response) => response.json())
    .then(({ models: [model] }) => ($("model").textContent = `${model.name}:${model.version}`))
    .catch(() => {}); // the response to a picture names it too
}

function showTiming(header) {
  const spent = {};
  for (const [, phase, duration] of header.matchAll(/(\w+);dur=([\d.]+)/g)) spent[phase] = Number(duration);
  const other = spent.total - PHASES.reduce((sum, phase) => sum + spent[phase], 0);
  for (const phase of PHASES) $(phase).textContent = milliseconds(spent[phase]);
  $("total").textContent = milliseconds(spent.total);
  showShares({ ...spent, other: Math.max(0, other) });
  return spent.total;
}

function showShares(spent) {
  for (const part of document.querySelectorAll(".bar span")) part.style.flexGrow = spent[part.className] ?? 0;
}

function fail(problem) {
  idle();
  for (const id of FACTS) $(id).textContent = "–"; // they belong to the picture before
  showShares({});
  $("download").removeAttribute("href");
  $("download").setAttribute("aria-disabled", "true");
  const title = document.createElement("strong");
  const detail = document.createElement("p");
  title.textContent = problem.title ?? "This page has an error";
  detail.textContent = problem.message;
  $("problem").replaceChildren(title, detail);
  stage.dataset.shows = "problem";
  setStatus("");
}

const setStatus = (text) => ($("status").textContent = text);
const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

/** Fit the picture to the stage; enlarge by whole factors only. */
function resize() {
  if (!result) return;
  const scroller = $("scroller");
  const fit = Math.min(scroller.clientWidth / result.width, scroller.clientHeight / result.height, 8);
  const zoom = $("zoom").value === "fit" ? (fit > 1 ? Math.floor(fit) : fit) : Number($("zoom").value);
  $("comparison").style.width = `${result.width * zoom}px`;
  stage.classList.toggle("overflows", result.width * zoom > scroller.clientWidth);
}

function slide() {
  const percent = $("slider").value;
  $("comparison").style.setProperty("--divider", `${percent}%`);
  $("slider").setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
}

/** Offer the modes of the service. */
function offerModes(parameter) {
  if (!parameter) return;
  const { enum: modes, default: usual } = parameter.schema;
  $("mode").replaceChildren(...modes.map((mode) => new Option(mode, mode, mode === usual, mode === usual)));
  $("mode-field").hidden = false;
}

// Input

function take(files) {
  if (files.length) process(files[0], files[0].name);
  else fail(new Problem("No picture was found", "Drop or paste an image file, or choose one."));
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(target.files);
  target.value = ""; // else choosing the same file again fires no event
});
document.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files));
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("dragging");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) stage.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("dragging");
  take(event.dataTransfer.files);
});
for (const button of document.querySelectorAll(".samples button")) {
  button.addEventListener("click", async () => {
    const { src } = button.querySelector("img");
    const sample = await fetch(src).catch(() => null);
    if (sample?.ok) process(await sample.blob(), src.split("/").at(-1));
    else fail(new Problem("The sample cannot be loaded", "The service cannot be reached."));
  });
}

$("slider").addEventListener("input", slide);
$("mode").addEventListener("change", () => newest && process(...newest));
$("zoom").addEventListener("change", resize);
$("pixels").addEventListener("change", ({ target }) => stage.classList.toggle("pixelated", target.checked));
new ResizeObserver(resize).observe($("scroller"));
slide();
$("recogniser").textContent = recogniser;
const bearer = keys && '-H "Authorization: Bearer $TELESCOPE_API_KEY" ';
$("shell").textContent = `curl ${bearer}-F image=@crop.png ${new URL("v1/super-resolve", document.baseURI)} -o sr.png`;
$("key-field").hidden = !keys;
$("key").addEventListener("change", () => (newest ? process(...newest) : showModel()));
document.querySelector(".top nav").hidden = operations === "elsewhere";
if (!operations)
  fetch("openapi.json")
    .then((response) => response.json())
    .then(({ paths }) => offerModes(paths["/v1/super-resolve"].post.parameters.find(({ name }) => name === "mode")))
    .catch(() => {}); // then the service uses its default mode
if (!keys) showModel();
