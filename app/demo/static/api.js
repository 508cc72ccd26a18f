/* Requests to the service, and the commands that repeat them. */

export const { ocr, ocrSetting, key: keys, operations } = document.documentElement.dataset; // ocr: empty if the service cannot read
export const NO_OCR =
  ocrSetting === "off"
    ? "This service does not read text, so the demo shows pictures alone: TELESCOPE_OCR is off."
    : "This service cannot read text, so the demo shows pictures alone. To compare readings, install the extra ocr: pip install 'text-telescope[ocr]', and start the service again.";

/** An error of the service or of the connection to it. */
export class Problem extends Error {
  constructor(title, detail) {
    super(detail);
    this.title = title;
  }
}

/** The API key; only its input field holds it. */
export function authorization() {
  const typed = document.getElementById("key").value.trim();
  return typed && { Authorization: `Bearer ${typed}` };
}

/** Path and query of a request. choice: {model, recogniser, mode}, each may be empty. */
export function address({ model, recogniser, mode }) {
  const query = new URLSearchParams();
  if (ocr && !recogniser) query.set("read", "true");
  if (recogniser) query.set("recogniser", recogniser);
  if (mode && mode !== "auto") query.set("mode", mode);
  if (model) query.set("model", model);
  const asked = decodeURIComponent(query.toString());
  return `v1/super-resolve${ocr ? "/page" : ""}${asked && `?${asked}`}`;
}

/** Send one picture -> {model, recogniser_version, input, text, lines, timing, roundTrip}. Throws Problem. */
export async function superResolve(file, name, choice, signal) {
  const body = new FormData();
  body.append("image", file, name);
  const started = performance.now();
  const { reply, headers } = await post(address(choice), body, signal);
  const answer = { ...reply, timing: headers.get("Server-Timing") ?? "", roundTrip: performance.now() - started };
  return reply.lines ? answer : asPage(answer);
}

/** One crop's answer in the form of a page's: its only line is the whole picture. */
function asPage({ images: [image], ...answer }) {
  if (image.outcome !== "ok") throw new Problem(image.problem.title, image.problem.detail);
  const { width, height } = image.input;
  const box = [[0, 0], [width, 0], [width, height], [0, height]];
  return { ...answer, input: image.input, text: null, lines: [{ ...image, box, reading: null }] };
}

async function post(path, body, signal) {
  let response;
  try {
    const headers = { Accept: "application/json", ...authorization() };
    response = await fetch(path, { method: "POST", body, signal, headers });
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

/** The served models; none if the service does not tell, as without a key. */
export async function models() {
  const response = await fetch("v1/models", { headers: authorization() || {} }).catch(() => null);
  return response?.ok ? (await response.json()).models : [];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const base = () => document.baseURI.replace(/[?#].*$/, "").replace(/\/$/, "");

/** Shell lines that repeat these requests. sample: the picture can be fetched from the service. */
export function curl(name, choices, sample) {
  const bearer = keys && ' -H "Authorization: Bearer $TELESCOPE_API_KEY"';
  const image = /[",;\\]/.test(name) ? `image=@"${name.replace(/["\\]/g, "\\$&")}"` : `image=@${name}`;
  const lines = choices.map(
    (choice) => `curl${bearer} -H 'Accept: application/json' -F ${quoted(image)} ${quoted(`${base()}/${address(choice)}`)}`,
  );
  return [...(sample ? [`curl -O ${base()}/${sample}`] : []), ...lines].join("\n");
}

/** Lines of Python that repeat these requests with the client. */
export function python(name, choices) {
  const key = keys && ', api_key=os.environ["TELESCOPE_API_KEY"]';
  const calls = choices.map((choice) => {
    const mode = choice.mode === "auto" ? "" : choice.mode;
    const options = { recogniser: choice.recogniser, mode, model: choice.model };
    const given = Object.entries(options).filter(([, value]) => value).map(([option, value]) => `, ${option}="${value}"`);
    const read = ocr && choice.recogniser ? ", read=False, pictures=True" : "";
    const picture = `${JSON.stringify(name)}${read}${given.join("")}`;
    if (!ocr) return `    telescope.super_resolve(${picture}).save("sr.png")`;
    return choice.recogniser
      ? `    for line in telescope.page(${picture}).lines:\n        print(line.box, line.method)`
      : `    print(telescope.page(${picture}).text)`;
  });
  return [
    ...(keys ? ["import os", ""] : []),
    "from text_telescope import TelescopeClient",
    "",
    `with TelescopeClient("${base()}"${key}) as telescope:`,
    ...calls,
  ].join("\n");
}
