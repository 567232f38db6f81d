"use strict";
// The page of `synood serve`: images go to POST /v1/score of the same server, verdicts come back.

const MOST = 2000; // images kept on the page, the oldest leave first
const WAITS = 8; // times a busy server is asked again

const $ = (id) => document.getElementById(id);
const state = { models: [], limits: {}, items: [], chosen: null, queue: [], busy: false, key: sessionStorage.getItem("key") || "" };

/* Requests */

async function ask(path, options = {}) {
  const headers = state.key ? { Authorization: `Bearer ${state.key}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (answer.ok) return answer.json();
  const told = await answer.json().catch(() => ({}));
  const fault = new Error(typeof told.detail === "string" ? told.detail : `the server answers ${answer.status}`);
  fault.status = answer.status;
  fault.wait = Number(answer.headers.get("Retry-After")) || 1;
  throw fault;
}

async function start() {
  try {
    const { models, limits } = await ask("v1/models");
    Object.assign(state, { models, limits });
  } catch (fault) {
    if (fault.status === 401) return askForKey(state.key ? "The server refuses this key." : "");
    $("about").textContent = `The server does not say which detectors it has: ${fault.message}`;
    return;
  }
  $("key-form").hidden = true;
  $("detector").replaceChildren(...state.models.map(({ name }) => new Option(name, name)));
  $("choice").hidden = state.models.length < 2;
  describe();
  send();
}

function askForKey(fault) {
  $("about").textContent = "Scores images by a detector of this server.";
  $("key-form").hidden = false;
  $("key-fault").textContent = fault;
  $("key").focus();
}

const model = () => state.models.find(({ name }) => name === $("detector").value) || state.models[0];

function describe() {
  const it = model();
  const rule = it.threshold === null ? "It has no threshold yet, so there are scores but no verdicts."
    : `Images that score below ${number(it.threshold)} are called OOD${it.tpr ? `; ${percent(it.tpr)} of new in-distribution images are kept on average` : ""}.`;
  $("about").textContent = `${it.name}: ${count(it.classes, "class", "classes")} against ${count(it.negative_labels, "negative label", "negative labels")}, encoder ${it.encoder}. ${rule}`;
}

/* What is dropped, pasted or chosen */

function add(files) {
  for (const file of files) {
    const item = { name: file.name || "pasted.png", file, url: URL.createObjectURL(file), row: null, model: null };
    state.items.push(item);
    state.queue.push(item);
    $("rows").append(rowOf(item));
  }
  while (state.items.length > MOST) forget(state.items.shift());
  $("batch").hidden = !state.items.length;
  send();
}

function forget(item) {
  URL.revokeObjectURL(item.url);
  item.line.remove();
  item.gone = true;
  if (state.chosen === item) state.chosen = null;
}

function nextGroup() {
  const { files = 16, body_bytes: most = Infinity } = state.limits;
  const group = [];
  let bytes = 4096;
  while (state.queue.length && group.length < Math.min(files, 16)) {
    const size = state.queue[0].file.size + 1024;
    if (group.length && bytes + size > most) break;
    bytes += size;
    group.push(state.queue.shift());
  }
  return group.filter((item) => !item.gone);
}

async function send() {
  if (state.busy || !state.models.length) return;
  state.busy = true;
  let done = 0;
  while (state.queue.length) {
    tell(`Scoring ${done + 1} of ${done + state.queue.length} …`);
    const group = nextGroup();
    if (!group.length) continue;
    if (!(await scored(group))) { state.queue.unshift(...group); break; }
    done += group.length;
  }
  state.busy = false;
  if (!state.queue.length) tell(summary());
}

/** Scores a group of images; false where a key is needed first. */
async function scored(group) {
  const { name } = model();
  const body = new FormData();
  for (const item of group) body.append("files", item.file, item.name);
  const path = `v1/score?explain=true&model=${encodeURIComponent(name)}`;
  for (let tries = 0; ; tries += 1) {
    try {
      const { results } = await ask(path, { method: "POST", body });
      group.forEach((item, place) => finish(item, name, results[place]));
      return true;
    } catch (fault) {
      if (fault.status === 401) { askForKey("The server refuses this key."); return false; }
      if ((fault.status === 429 || fault.status === 503) && tries < WAITS) {
        tell(`The server is busy; asking again in ${count(fault.wait, "second", "seconds")} …`);
        await new Promise((go) => setTimeout(go, 1000 * fault.wait));
        continue;
      }
      const error = fault instanceof TypeError ? "the server could not be reached, or a file has changed since it was chosen" : fault.message;
      group.forEach((item) => finish(item, name, { name: item.name, error }));
      return true;
    }
  }
}

function finish(item, name, row) {
  if (item.gone) return;
  Object.assign(item, { row: { ...row, name: item.name }, model: name }); // browsers send '"' in a name as %22
  fill(item);
  if (!state.chosen || !state.chosen.row || state.items.length === 1) show(item);
}

/* The table */

function rowOf(item) {
  const line = document.createElement("tr");
  const pick = element("button", { type: "button", className: "pick" });
  pick.append(element("img", { src: item.url, alt: "", loading: "lazy" }), element("span", { textContent: item.name, title: item.name }));
  pick.addEventListener("click", () => { show(item); $("one").scrollIntoView({ block: "nearest" }); });
  const first = document.createElement("td");
  first.append(pick);
  line.append(first, element("td", { textContent: "…", colSpan: 4 }));
  item.line = line;
  item.pick = pick;
  return line;
}

function fill(item) {
  const { row, line } = item;
  const cells = row.error ? [element("td", { className: "fault", textContent: row.error, colSpan: 4 })]
    : [
      element("td", { className: verdictClass(row), textContent: verdict(row) }),
      element("td", { textContent: row.p_value === null ? "–" : row.p_value.toFixed(4) }),
      element("td", { textContent: number(row.score) }),
      element("td", { textContent: row.label }),
    ];
  line.replaceChildren(line.firstChild, ...cells);
}

$("rows").addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const place = state.items.findIndex(({ pick }) => pick === event.target);
  const next = step && place >= 0 && state.items[place + step];
  if (!next) return;
  event.preventDefault();
  next.pick.focus();
  show(next);
});

/* One image */

function show(item) {
  for (const { line } of state.items) line.removeAttribute("aria-current");
  item.line.setAttribute("aria-current", "true");
  state.chosen = item;
  const { row } = item;
  if (!row) return;
  $("one").hidden = false;
  $("picture").src = item.url;
  $("picture").alt = item.name;
  $("verdict").className = row.error ? "out" : verdictClass(row);
  $("verdict").textContent = row.error ? "Not scored" : sayVerdict(row);
  $("sentence").textContent = row.error || sayWhy(row);
  const known = state.models.find(({ name }) => name === item.model);
  const drawn = !row.error && known && known.calibration;
  $("chart").hidden = !drawn;
  if (drawn) draw(known.calibration, row);
  $("nearest").replaceChildren(...(row.error ? [] : nearest(row)));
}

const verdict = ({ is_ood: ood }) => (ood === null ? "–" : ood ? "OOD" : "in");
const verdictClass = ({ is_ood: ood }) => (ood === null ? "" : ood ? "out" : "in");
const sayVerdict = (row) => (row.is_ood === null ? `Nearest class: ${row.label}` : row.is_ood ? "Out-of-distribution: none of the classes" : `In-distribution: ${row.label}`);

function sayWhy(row) {
  const parts = [`Score ${number(row.score)}`];
  if (row.threshold !== null && row.threshold !== undefined) parts.push(`threshold ${number(row.threshold)}`);
  if (row.p_value !== null) parts.push(`p-value ${row.p_value.toFixed(4)}`);
  if (row.is_ood) parts.push(`nearest class ${row.label}`);
  return `${parts.join(", ")}.`;
}

function nearest(row) {
  const list = (title, kind) => {
    const entries = [1, 2, 3].filter((place) => row[`${kind}_${place}`]).map((place) => {
      const entry = element("li", { textContent: row[`${kind}_${place}`] });
      entry.append(element("span", { textContent: row[`${kind}_${place}_cosine`].toFixed(3) }));
      return entry;
    });
    if (!entries.length) return [];
    const part = document.createElement("div");
    const names = document.createElement("ol");
    names.append(...entries);
    part.append(element("h3", { textContent: title }), names);
    return [part];
  };
  const byImages = row.image_class ? [element("p", { className: "by-images", textContent: `Nearest class by what images look like: ${row.image_class}` })] : [];
  return [...list("Nearest class names (cosine)", "class"), ...list("Nearest negative labels (cosine)", "negative"), ...byImages];
}

function draw({ edges, counts, images }, row) {
  const [width, left, right, top, base] = [560, 8, 8, 40, 160];
  const low = Math.min(edges[0], row.score), high = Math.max(edges[edges.length - 1], row.score);
  const x = (value) => left + ((value - low) / (high - low || 1)) * (width - left - right);
  const tallest = Math.max(...counts, 1);
  const threshold = row.threshold ?? null;
  const parts = counts.map((size, place) => {
    const height = (size / tallest) * (base - top);
    const kept = threshold === null || (edges[place] + edges[place + 1]) / 2 >= threshold;
    return shape("rect", { class: kept ? "kept" : "lost", x: x(edges[place]), y: base - height, width: Math.max(x(edges[place + 1]) - x(edges[place]) - 1, 0.5), height });
  });
  parts.push(shape("line", { class: "axis", x1: left, x2: width - right, y1: base, y2: base }));
  if (threshold !== null) {
    parts.push(shape("line", { class: "threshold", x1: x(threshold), x2: x(threshold), y1: top - 8, y2: base }));
    parts.push(text(x(threshold), base + 18, `threshold ${number(threshold)}`, ""));
  }
  parts.push(shape("line", { class: "marker", x1: x(row.score), x2: x(row.score), y1: 22, y2: base }));
  parts.push(shape("circle", { class: "head", cx: x(row.score), cy: 22, r: 5 }));
  parts.push(text(x(row.score), 13, `this image ${number(row.score)}`, "mine"));
  $("histogram").replaceChildren($("histogram-text"), ...parts);
  $("histogram-text").textContent = `Scores of ${count(images, "calibration image", "calibration images")} between ${number(edges[0])} and ${number(edges[edges.length - 1])}; this image scores ${number(row.score)}${threshold === null ? "" : `, the threshold is ${number(threshold)}`}.`;
}

function text(x, y, words, kind) {
  const anchor = x < 110 ? "start" : x > 450 ? "end" : "middle";
  const node = shape("text", { x, y, "text-anchor": anchor, class: kind });
  node.textContent = words;
  return node;
}

function shape(kind, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", kind);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/* Downloads: the rows as the server gave them, in the order of the table */

const done = () => state.items.filter(({ row }) => row).map(({ row, model: name }) => ({ ...row, model: name }));

function csv(rows) {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (value) => {
    const words = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
  };
  return [columns, ...rows.map((row) => columns.map((column) => row[column]))].map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

function download(name, kind, words) {
  const url = URL.createObjectURL(new Blob([words], { type: kind }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/* Words */

const element = (kind, values) => Object.assign(document.createElement(kind), values);
const number = (value) => value.toFixed(2);
const percent = (value) => `${+(100 * value).toFixed(1)} %`;
const count = (size, one, more) => `${size.toLocaleString("en")} ${size === 1 ? one : more}`;
const tell = (words) => { $("status").textContent = words; };

function summary() {
  const rows = done();
  if (!rows.length) return "";
  const faults = rows.filter(({ error }) => error).length;
  const ood = rows.filter(({ is_ood: is }) => is).length;
  const parts = [`${count(rows.length - faults, "image", "images")} scored`];
  if (rows.some(({ is_ood: is }) => typeof is === "boolean")) parts.push(`${ood} OOD`);
  if (faults) parts.push(`${faults} not scored`);
  return `${parts.join(", ")}.`;
}

/* Events */

$("files").addEventListener("change", (event) => { add([...event.target.files]); event.target.value = ""; });
$("detector").addEventListener("change", () => {
  describe();
  const again = state.items.filter(({ row }) => row);
  state.queue.push(...again);
  for (const item of again) { item.row = null; item.line.replaceChildren(item.line.firstChild, element("td", { textContent: "…", colSpan: 4 })); }
  send();
});
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = $("key").value.trim();
  sessionStorage.setItem("key", state.key);
  $("key").value = "";
  start();
});
$("csv").addEventListener("click", () => download("scores.csv", "text/csv", csv(done())));
$("jsonl").addEventListener("click", () => download("scores.jsonl", "application/jsonl", done().map((row) => `${JSON.stringify(row)}\n`).join("")));
$("clear").addEventListener("click", () => {
  state.items.splice(0).forEach(forget);
  state.queue.length = 0;
  $("one").hidden = $("batch").hidden = true;
  tell("");
  $("files").focus();
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") add([...event.dataTransfer.files]);
  });
}
document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files || [])];
  if (files.length) { event.preventDefault(); add(files); }
});

start();
