// SPDX-License-Identifier: Apache-2.0
// The list follows the API by long polling; everything is put into the page as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const exchanges = new Map();
let revision = -1; // nothing is known yet
let selected = null;
let paused = false;

function element(name, text, className) {
  const node = document.createElement(name);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function statusClass(one) {
  if (one.state === "cut" || one.status >= 500) return "bad";
  if (one.status >= 400) return "warn";
  return one.status ? "good" : "";
}

const size = (bytes) =>
  bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KiB`
    : `${(bytes / 1048576).toFixed(1)} MiB`;

function rowOf(one) {
  const row = element("tr");
  row.tabIndex = 0;
  row.dataset.id = one.id;
  row.setAttribute("aria-selected", String(one.id === selected));
  const what = one.target === undefined ? one.note : one.target;
  row.append(element("td", one.started.slice(11, 23)), element("td", one.method || one.kind),
    element("td", what + (one.replay_of ? ` (again: ${one.replay_of})` : ""), "target"),
    element("td", one.status || one.state, statusClass(one)),
    element("td", one.total_ms === undefined ? "" : one.total_ms.toFixed(1)),
    element("td", size(one.answer_bytes)));
  return row;
}

function matches(one, words) {
  const text = `${one.method || one.kind} ${one.target || ""} ${one.status || one.state} ${one.tunnel}`
    .toLowerCase();
  return words.every((word) => text.includes(word));
}

function render() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const shown = [...exchanges.values()].filter((one) => matches(one, words))
    .sort((a, b) => b.id - a.id);
  const focused = document.activeElement && document.activeElement.dataset.id;
  byId("rows").replaceChildren(...shown.map(rowOf));
  byId("empty").hidden = shown.length > 0;
  byId("empty").textContent =
    exchanges.size > 0 ? "Nothing matches the filter." : "Nothing has come through yet.";
  if (focused) {
    const row = byId("rows").querySelector(`[data-id="${focused}"]`);
    if (row) row.focus();
  }
}

// ---- One exchange

function bytesOf(message) {
  if (message.body_encoding !== "base64") return new TextEncoder().encode(message.body || "");
  return Uint8Array.from(atob(message.body), (c) => c.charCodeAt(0));
}

const field = (message, name) =>
  (message.fields.find((f) => f.name.toLowerCase() === name) || { value: "" }).value;

async function decoded(message) {
  const coding = field(message, "content-encoding").toLowerCase();
  const bytes = bytesOf(message);
  if (message.body_cut || !["gzip", "deflate"].includes(coding)) return bytes;
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(coding));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    return bytes;
  }
}

function hexOf(bytes) {
  const lines = [];
  for (let at = 0; at < Math.min(bytes.length, 4096); at += 16) {
    const part = [...bytes.slice(at, at + 16)];
    lines.push(`${at.toString(16).padStart(6, "0")}  ` +
      part.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(48) + "  " +
      part.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : ".")).join(""));
  }
  return lines.join("\n");
}

async function bodyNode(message) {
  const type = field(message, "content-type");
  if (/^image\/(png|jpeg|gif|webp)/.test(type) && message.body_encoding === "base64") {
    const image = element("img");
    image.alt = "the body, an image";
    image.src = `data:${type.split(";")[0]};base64,${message.body}`;
    return image;
  }
  const bytes = await decoded(message);
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (type.includes("json")) text = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    text = text === undefined ? hexOf(bytes) : text;
  }
  return element("pre", text);
}

async function messageNodes(title, message) {
  const list = element("dl");
  for (const { name, value } of message.fields) list.append(element("dt", name), element("dd", value));
  const nodes = [element("h2", title), list];
  if (message.body_bytes > 0) {
    const cut = message.body_cut ? `, of which the first ${size(message.body_kept)} are kept` : "";
    nodes.push(element("p", `Body: ${size(message.body_bytes)}${cut}`));
    if (message.body_kept > 0) nodes.push(await bodyNode(message));
  }
  return nodes;
}

function frameNodes(one) {
  const table = element("table");
  for (const frame of one.frames) {
    const row = element("tr");
    const notes = [frame.fin ? "" : "to be continued", frame.compressed ? "compressed" : "",
      frame.broken_off ? "broken off" : "", frame.bytes_kept < frame.bytes ? "cut" : ""];
    row.append(element("td", `${frame.at_ms.toFixed(1)} ms`),
      element("td", frame.from === "visitor" ? "visitor \u2192" : "\u2190 service"),
      element("td", frame.type), element("td", size(frame.bytes)),
      element("td", notes.filter(Boolean).join(", ")));
    const cell = element("td");
    const payload = { body: frame.payload, body_encoding: frame.encoding };
    cell.append(element("pre", frame.encoding ? hexOf(bytesOf(payload)) : frame.payload));
    row.append(cell);
    table.append(row);
  }
  const gone = one.frames_seen - one.frames.length;
  return [element("h2", "Frames"), element("p", `${one.frames_seen} have passed` +
    (gone > 0 ? `, the newest ${one.frames.length} are kept` : "")), table];
}

async function replay(id) {
  const answer = await fetch(`/api/replay?id=${id}`, {
    method: "POST", headers: { "X-Weir-Inspect": "1" } });
  const result = await answer.json();
  if (result.error) {
    byId("state").textContent = `Not sent again: ${result.error}`;
  } else {
    selected = result.id;
    await poll(0);
    await show();
  }
}

function timesNode(one) {
  const list = element("dl");
  const rows = [["Sent in", one.send_ms], ["Waited", one.wait_ms], ["Received in", one.receive_ms]];
  for (const [name, ms] of rows) {
    if (ms !== undefined) list.append(element("dt", name), element("dd", `${ms.toFixed(1)} ms`));
  }
  list.append(element("dt", "From"), element("dd", one.source_ip || "this page"),
    element("dt", "Tunnel"), element("dd", one.tunnel));
  return list;
}

async function show() {
  const detail = byId("detail");
  if (selected === null) {
    detail.hidden = true;
    return;
  }
  const id = selected;
  const answer = await fetch(`/api/exchange?id=${id}`);
  if (id !== selected) return;
  const one = await answer.json();
  const nodes = [];
  if (one.error) {
    nodes.push(element("p", one.error));
  } else {
    const again = element("button", "Replay");
    again.type = "button";
    again.id = "replay";
    again.addEventListener("click", () => replay(id));
    const har = element("a", "HAR of this one");
    har.href = `/api/har?id=${id}`;
    nodes.push(element("h2", `${one.method || one.kind} ${one.target || ""}`),
      element("p", `${one.status ? `${one.status} ${one.reason}: ` : ""}${one.state_text}`,
        statusClass(one)));
    if (one.note) nodes.push(element("p", one.note));
    if (one.problem) nodes.push(element("p", one.problem, "bad"));
    if (one.method) nodes.push(again, " ", har);
    nodes.push(timesNode(one), ...await messageNodes("Request", one.request),
      ...await messageNodes("Answer", one.answer));
    if (one.frames) nodes.push(...frameNodes(one));
  }
  if (id === selected) {
    detail.replaceChildren(...nodes);
    detail.hidden = false;
  }
}

// ---- News

async function poll(wait) {
  const answer = await fetch(`/api/exchanges?after=${Math.max(revision, 0)}&wait=${revision < 0 ? 0 : wait}`);
  const news = await answer.json();
  if (news.revision < revision) exchanges.clear(); // another process
  revision = news.revision;
  for (const one of news.exchanges) exchanges.set(one.id, one);
  for (const id of exchanges.keys()) if (id < news.oldest) exchanges.delete(id);
  if (!paused) render();
  if (news.exchanges.some((one) => one.id === selected)) await show();
  byId("state").textContent = `${exchanges.size} kept`;
}

async function follow() {
  for (;;) {
    try {
      await poll(25);
    } catch {
      byId("state").textContent = "no connection to weir; trying again";
      revision = -1;
      exchanges.clear();
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

function choose(event) {
  const row = event.target.closest("tr[data-id]");
  if (!row || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
  event.preventDefault();
  selected = Number(row.dataset.id);
  render();
  show();
}

byId("rows").addEventListener("click", choose);
byId("rows").addEventListener("keydown", choose);
byId("filter").addEventListener("input", render);
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) render();
});
byId("clear").addEventListener("click", async () => {
  await fetch("/api/clear", { method: "POST", headers: { "X-Weir-Inspect": "1" } });
  exchanges.clear();
  selected = null;
  render();
  show();
});
follow();
