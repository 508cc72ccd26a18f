/* Requests to the service, and the commands that repeat them. */

export const { ocr, ocrSetting, key: keys, operations } = document.documentElement.dataset; // ocr: empty if the service cannot read
export const NO_OCR =
  ocrSetting === "off"
    ? "TELESCOPE_OCR is off: this service does not read text, so the demo shows pictures alone, and takes each for one line."
    : "This service cannot read text, so the demo shows pictures alone, and takes each for one line. To compare readings, install the extra ocr: pip install 'text-telescope[ocr]', and start the service again.";

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
  const typed = response.status === 401 ? " On this page, type it in the field API key under Options." : "";
  throw new Problem(
    reply?.title ?? "The service sent an unexpected response",
    (reply?.detail ?? `Status ${response.status} ${response.statusText}.`) + typed,
  );
}

/** The served models; none if the service does not tell, as without a key. */
export async function models() {
  const response = await fetch("v1/models", { headers: authorization() || {} }).catch(() => null);
  return response?.ok ? (await response.json()).models : [];
}

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const base = () => document.baseURI.replace(/[?#].*$/, "").replace(/\/$/, "");

/** Shell lines that repeat these requests. sample: the picture's address on the service. */
export function curl(names, choices, sample) {
  const bearer = keys && ' -H "Authorization: Bearer $TELESCOPE_API_KEY"';
  const lines = names.flatMap((name) => choices.map((choice) => {
    const image = /[",;\\]/.test(name) ? `image=@"${name.replace(/["\\]/g, "\\$&")}"` : `image=@${name}`;
    return `curl${bearer} -H 'Accept: application/json' -F ${quoted(image)} ${quoted(`${base()}/${address(choice)}`)}`;
  }));
  return [...(sample ? [`curl -O ${base()}/${sample}`] : []), ...lines].join("\n");
}

/** Lines of Python that repeat these requests with the client. */
export function python(names, choices) {
  const key = keys && ', api_key=os.environ["TELESCOPE_API_KEY"]';
  const several = names.length > 1;
  const [picture, indent] = several ? ["page", " ".repeat(8)] : [JSON.stringify(names[0]), " ".repeat(4)];
  return [
    ...(keys ? ["import os", ""] : []),
    "from text_telescope import TelescopeClient",
    "",
    `with TelescopeClient("${base()}"${key}) as telescope:`,
    ...(several ? [`    for page in ${JSON.stringify(names).replaceAll('","', '", "')}:`] : []),
    ...choices.flatMap((choice) => call(choice, picture).map((line) => indent + line)),
  ].join("\n");
}

function call({ recogniser, mode, model }, picture) {
  const options = { recogniser, mode: mode === "auto" ? "" : mode, model };
  const given = Object.entries(options).filter(([, value]) => value).map(([option, value]) => `, ${option}="${value}"`).join("");
  if (!ocr) return [`telescope.super_resolve(${picture}${given}).save("sr.png")`];
  if (!recogniser) return [`print(telescope.page(${picture}${given}).text)`];
  return [`for line in telescope.page(${picture}, read=False${given}).lines:`, "    print(line.box, line.method)"];
}
