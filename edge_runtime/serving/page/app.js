"use strict";

// The page of edge-serve. Images go to this device alone; names of files stay in this browser unless the server keeps them.

const MOST_SHOWN = 500; // rows of one answer of the server
const AGAIN_MS = 10000; // between two looks at what came in by DICOM or the folder
const AT_ONCE = 2; // images on their way: one is sent while the other is judged
const byId = (id) => document.getElementById(id);
const visit = []; // {file, name, state, result, row}
let shown = null; // the entry in the viewer
let pixels = null; // ImageData of it, as decoded
let heat = null; // {values, rows, columns, region} of it, or null
let running = 0;

class Refused extends Error {}

async function ask(path, options = {}) {
  const token = sessionStorage.getItem("token");
  const headers = { "X-Edge-Page": "1", ...(token ? { Authorization: `Bearer ${token}` } : {}), ...options.headers };
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) {
    byId("unlock").hidden = false;
    byId("token-problem").textContent = token ? "This token is not right." : "";
    byId("token").focus();
    throw new Refused("a token is needed");
  }
  return response;
}

const delay = (ms) => new Promise((done) => setTimeout(done, ms));

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const percent = (value) => `${(100 * value).toFixed(1)}\u00a0%`;

function wording(result) {
  if (!result) return ["waiting", ""];
  if (result.error) return [`cannot be judged: ${result.error.code}`, "error"];
  return [result.decision, result.decision.replace(" ", "-")];
}

// ---- the network

async function tellModel() {
  const model = await (await ask("v1/model")).json();
  const domain = model.domain === "phantom" ? "; it learnt from synthetic images only" : "";
  const network = `${model.model}, ${model.model_sha256.slice(0, 12)}; ${model.engine}`;
  byId("model").textContent = `${network}; fractured from ${percent(model.threshold)} on${domain}`;
}

// ---- sending

function add(files) {
  for (const file of files) {
    const entry = { file, name: file.webkitRelativePath || file.name, state: "waiting", result: null };
    const item = document.createElement("li");
    entry.row = document.createElement("button");
    entry.row.type = "button";
    entry.row.addEventListener("click", () => {
      show(entry);
      byId("viewer").scrollIntoView({ block: "nearest" }); // below the list on a phone
    });
    item.append(entry.row);
    byId("queue").append(item);
    visit.push(entry);
    tell(entry);
  }
  pump();
}

function tell(entry) {
  const [words, kind] = wording(entry.result);
  const judged = entry.result && !entry.result.error;
  const answer = element("span", judged ? `${words} ${percent(entry.result.probability)}` : words, kind);
  entry.row.replaceChildren(element("span", entry.name, "name"), answer);
  const waiting = visit.filter((one) => one.state !== "done").length;
  const count = `${visit.length} ${visit.length === 1 ? "image" : "images"}`;
  byId("progress").textContent = waiting ? `${visit.length - waiting} of ${count} answered` : `${count} answered`;
}

function pump() {
  while (running < AT_ONCE) {
    const entry = visit.find((one) => one.state === "waiting");
    if (!entry) return;
    entry.state = "sent";
    running += 1;
    judge(entry).finally(() => {
      running -= 1;
      pump();
    });
  }
}

async function judge(entry) {
  try {
    entry.result = await send(entry.file);
  } catch (problem) {
    if (problem instanceof Refused) {
      entry.state = "without a token";
      return;
    }
    entry.result = { error: { code: "unreachable", message: "the device does not answer" } };
  }
  entry.state = "done";
  tell(entry);
  if (!shown || shown === entry) await show(entry);
  if (!visit.some((one) => one.state === "waiting" || one.state === "sent")) refresh();
}

async function send(file) {
  const form = new FormData();
  form.append("image", file);
  for (;;) {
    const response = await ask("v1/predict?heatmap=1", { method: "POST", body: form });
    if (response.status !== 429) return response.json();
    await delay(500); // the queue is full: others are served, then this one
  }
}

// ---- the viewer

async function show(entry) {
  shown = entry;
  byId("viewer").hidden = false;
  byId("viewer-title").textContent = entry.name;
  for (const one of visit) one.row.setAttribute("aria-current", String(one === entry));
  const result = entry.result;
  const [words, kind] = wording(result);
  byId("answer").replaceChildren(element("span", words, kind));
  if (result && !result.error) byId("answer").append(` ${percent(result.probability)}`);
  const doubts = result ? (result.error ? [result.error.message] : [...(result.warnings || [])]) : [];
  if (result && result.decision === "abstain") doubts.unshift(result.reason);
  byId("warnings").replaceChildren(...doubts.map((doubt) => element("li", doubt)));
  byId("facts").replaceChildren(...facts(result));
  heat = result && result.heatmap ? result.heatmap : null;
  byId("heatmap").parentElement.hidden = !heat;
  pixels = null;
  for (const id of ["stage", "controls", "hint"]) byId(id).hidden = !result || Boolean(result.error);
  byId("facts").parentElement.hidden = !result || Boolean(result.error);
  paint();
  if (!result || result.error) return;
  const decoded = await decode(entry.file);
  if (shown === entry) {
    pixels = decoded;
    paint();
  }
}

function facts(result) {
  if (!result || result.error) return [];
  const times = Object.entries(result.milliseconds).map(([part, value]) => `${part} ${value.toFixed(1)}`);
  const rows = [
    ["Operating point", `fractured from ${percent(result.threshold)} on`],
    ["Network", `${result.model}, ${result.model_sha256.slice(0, 12)}`],
    ["Engine", result.engine],
    ["Milliseconds", times.join(", ")],
    ["Number", String(result.id)],
  ];
  return rows.map(([name, value]) => {
    const row = document.createElement("tr");
    const head = element("th", name);
    head.scope = "row";
    row.append(head, element("td", value));
    return row;
  });
}

async function decode(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    // TIFF, DICOM and the like: the device shows what it read.
    const response = await ask("v1/picture", { method: "POST", body: file });
    if (!response.ok) return null;
    bitmap = await createImageBitmap(await response.blob());
  }
  const scale = Math.min(1, 2048 / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function paint() {
  const canvas = byId("picture");
  const context = canvas.getContext("2d");
  if (!pixels) {
    canvas.width = canvas.height = 1;
    return;
  }
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  const width = Number(byId("window").value);
  const level = 127.5 - Number(byId("level").value) / 2;
  const curve = new Uint8ClampedArray(256);
  for (let grey = 0; grey < 256; grey += 1) curve[grey] = ((grey - level) / width) * 255 + 127.5;
  const out = new ImageData(pixels.width, pixels.height);
  const from = pixels.data;
  for (let at = 0; at < out.data.length; at += 4) {
    const grey = curve[Math.round(0.299 * from[at] + 0.587 * from[at + 1] + 0.114 * from[at + 2])];
    out.data[at] = out.data[at + 1] = out.data[at + 2] = grey;
    out.data[at + 3] = 255;
  }
  context.putImageData(out, 0, 0);
  if (heat && byId("heatmap").checked) paintHeat(context, canvas);
}

// Orange over grey: told apart with any colour vision, and stronger where the network looked more.
function paintHeat(context, canvas) {
  const map = new OffscreenCanvas(heat.columns, heat.rows);
  const image = new ImageData(heat.columns, heat.rows);
  heat.values.forEach((value, at) => image.data.set([230, 120, 0, 170 * value], 4 * at));
  map.getContext("2d").putImageData(image, 0, 0);
  const [left, top, right, bottom] = heat.region;
  const size = [(right - left) * canvas.width, (bottom - top) * canvas.height];
  context.drawImage(map, left * canvas.width, top * canvas.height, ...size);
}

function adjust(brightness, contrast) {
  byId("level").value = Number(byId("level").value) + brightness;
  byId("window").value = Number(byId("window").value) - contrast;
  requestAnimationFrame(paint);
}

// ---- today's list

async function refresh() {
  const search = byId("search").value;
  const { items } = await (await ask(`v1/results?search=${encodeURIComponent(search)}`)).json();
  const names = items.some((item) => item.identifiers); // kept only where the server was started so
  byId("table").classList.toggle("nameless", !names);
  byId("empty").hidden = items.length > 0;
  byId("empty").textContent = search ? "Nothing found." : "Nothing yet.";
  byId("more").hidden = items.length < MOST_SHOWN;
  byId("items").replaceChildren(...items.map(rowOf));
  await tellDrift();
}

function rowOf(item) {
  const row = document.createElement("tr");
  const [words, kind] = wording(item.result);
  const known = item.identifiers || {};
  const probability = item.result && !item.result.error ? percent(item.result.probability) : "";
  const time = (known.time || "").slice(11, 16);
  const answer = element("td", item.kept ? "" : words, kind);
  if (item.kept) {
    const look = element("button", words, `look ${kind}`);
    look.type = "button";
    look.addEventListener("click", () => showKept(item, known.name || `No. ${item.id}`));
    answer.append(look);
  }
  row.append(element("td", String(item.id)), answer, element("td", probability));
  row.append(element("td", item.source), element("td", time, "known"), element("td", known.name || "", "known name"));
  return row;
}

// An image that the device keeps, as it was answered.
async function showKept(item, name) {
  const response = await ask(`v1/picture?number=${item.id}`);
  const file = response.ok ? await response.blob() : new Blob([]);
  await show({ file, name, result: { ...item.result, id: item.id } });
  byId("viewer").scrollIntoView({ block: "nearest" });
}

// Only where today's answers part from the usual: a figure that is always there is never read.
async function tellDrift() {
  const report = await (await ask("v1/drift")).json();
  const names = {
    probability: "probabilities", abstained: "images without a decision",
    brightness: "brightness of images", contrast: "contrast of images",
  };
  const usual = report.reference === "bundle" ? "those the network came with" : "the first on this device";
  const what = report.parted.map((name) => names[name]).join(" and ");
  byId("drift").hidden = report.parted.length === 0;
  byId("drift").textContent = `Drift: ${what} of today's ${report.answers} answers differ from ${usual}.`;
}

async function saveCsv() {
  const response = await ask("v1/results.csv");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = (response.headers.get("content-disposition") || "").split('"')[1] || "results.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000); // at once, it may be gone before the browser has saved it
}

// ---- folders that are dropped

async function filesOf(entry) {
  if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed))];
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return found; // a reader gives its entries in portions
    for (const inner of some) found.push(...(await filesOf(inner)));
  }
}

function listen() {
  const drop = byId("drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    for (const entry of entries) add(await filesOf(entry));
  });
  for (const id of ["files", "folder"]) {
    byId(id).addEventListener("change", (event) => {
      add([...event.target.files]);
      event.target.value = "";
    });
  }
  for (const id of ["level", "window", "heatmap"]) byId(id).addEventListener("input", paint);
  byId("reset").addEventListener("click", () => {
    byId("level").value = 0;
    byId("window").value = 255;
    paint();
  });
  const picture = byId("picture");
  picture.addEventListener("pointerdown", (event) => picture.setPointerCapture(event.pointerId));
  picture.addEventListener("pointermove", (event) => {
    if (event.buttons) adjust(-event.movementY, event.movementX);
  });
  picture.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [8, 0], ArrowDown: [-8, 0], ArrowRight: [0, 8], ArrowLeft: [0, -8] }[event.key];
    if (!steps) return;
    event.preventDefault();
    adjust(...steps);
  });
  byId("refresh").addEventListener("click", refresh);
  byId("search").addEventListener("input", refresh);
  byId("csv").addEventListener("click", saveCsv);
  byId("token-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    sessionStorage.setItem("token", byId("token").value.trim());
    await begin();
    byId("unlock").hidden = true;
    for (const entry of visit) if (entry.state === "without a token") entry.state = "waiting";
    pump();
  });
}

async function begin() {
  await tellModel();
  await refresh();
}

// What X-ray machines and the folder bring is shown by itself; a page that nobody looks at does not ask.
setInterval(() => {
  if (document.visibilityState === "visible" && byId("unlock").hidden) refresh().catch(() => {});
}, AGAIN_MS);

listen();
begin().catch((problem) => {
  if (!(problem instanceof Refused)) byId("model").textContent = "The device does not answer.";
});
