
"use strict";
const $ = (id) => document.getElementById(id);
const make = (tag, cls, text) => {
  const node = document.createElement(tag);
  if (cls) node.className = cls;
  if (text !== undefined) node.textContent = text;
  return node;
};
const state = { models: [], history: [], abort: null, after: null, poll: 0 };

// -- talking to the gateway ------------------------------------------------------------------
function headers(more) {
  const key = sessionStorage.getItem("nexus-key");
  return key ? { ...more, authorization: "Bearer " + key } : { ...more };
}
async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.ok) return response;
  if (response.status === 401) askForKey();
  let message = "HTTP " + response.status;
  try { message = (await response.json()).error.message; } catch { /* the status must do */ }
  throw new Error(message);
}
const json = (body) => ({
  method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" },
});
function askForKey() {
  if (!$("key").open) $("key").showModal();
}
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("nexus-key", $("key-input").value.trim());
  $("key").close();
  loadModels();
  loadReports();
});

// -- models ------------------------------------------------------------------------------------
async function loadModels() {
  let list;
  try {
    list = (await (await call("/v1/models")).json()).data.filter((m) => m.kind === "chat");
  } catch (error) {
    $("model-note").textContent = error.message;
    setTimeout(loadModels, 5000);
    return;
  }
  const before = $("model").value;
  state.models = list;
  $("model").replaceChildren(...list.map((model) => {
    const option = make("option", "", model.ready ? model.id : model.id + " (starting)");
    option.value = model.id;
    return option;
  }));
  if (list.some((m) => m.id === before)) $("model").value = before;
  describeModel();
  if (!list.length || list.some((m) => !m.ready)) setTimeout(loadModels, 2000);
}
const chosen = () => state.models.find((m) => m.id === $("model").value);
function describeModel() {
  const model = chosen();
  $("docs-toggle").hidden = !(model && model.index);
  $("model-note").textContent = !model ? "No model is served yet"
    : model.index ? "answers from " + model.index : "without documents";
  if (!$("docs").hidden) refreshDocuments();
}
$("model").addEventListener("change", describeModel);

// -- asking ------------------------------------------------------------------------------------
$("question").addEventListener("input", grow);
function grow() {
  const box = $("question");
  box.rows = Math.min(8, box.value.split("\n").length);
}
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("composer").requestSubmit();
  }
});
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = $("question").value.trim();
  if (!question || state.abort || !chosen()) return;
  $("question").value = "";
  grow();
  ask(question);
});
$("stop").addEventListener("click", () => state.abort && state.abort.abort());
$("new").addEventListener("click", () => {
  if (state.abort) state.abort.abort();
  state.history = [];
  $("log").replaceChildren($("log").firstElementChild);
  $("welcome").hidden = false;
  $("question").focus();
});

function busy(abort) {
  state.abort = abort;
  $("send").hidden = Boolean(abort);
  $("stop").hidden = !abort;
}
async function ask(question) {
  $("welcome").hidden = true;
  const asked = make("div", "turn asked");
  asked.append(make("p", "", question));
  const card = make("article", "turn answer busy");
  card.setAttribute("aria-label", "Answer");
  card.setAttribute("aria-busy", "true");
  card.append(make("p", "label", "✦ AI-generated"));
  const text = make("p", "text", "");
  card.append(text);
  $("log").append(asked, card);
  card.scrollIntoView({ block: "end" });
  const abort = new AbortController();
  busy(abort);
  const messages = [...state.history, { role: "user", content: question }];
  const answer = { id: "", text: "", citations: [], annotations: [] };
  try {
    const body = { model: chosen().id, messages, stream: true };
    const response = await call("/v1/chat/completions", { ...json(body), signal: abort.signal });
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      answer.id = answer.id || chunk.id;
      if (chunk.citations) answer.citations = chunk.citations;
      const delta = (chunk.choices[0] || {}).delta || {};
      if (delta.annotations) answer.annotations = delta.annotations;
      if (delta.content) {
        answer.text += delta.content;
        text.textContent = answer.text;
        const log = $("log");
        if (log.scrollHeight - log.scrollTop - log.clientHeight < 160) log.scrollTop = log.scrollHeight;
      }
    }
    state.history = [...messages, { role: "assistant", content: answer.text }];
    finish(card, text, answer);
  } catch (error) {
    const stopped = error.name === "AbortError";
    const note = make("p", stopped ? "note" : "failed", stopped ? "Stopped." : error.message);
    if (!stopped) note.setAttribute("role", "alert");
    card.append(note);
  } finally {
    card.classList.remove("busy");
    card.removeAttribute("aria-busy");
    busy(null);
    card.scrollIntoView({ block: "nearest" });
    $("question").focus();
  }
}
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("The answer ended before it was complete.");
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: ?/, "");
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

// -- the finished answer -------------------------------------------------------------------------
const place = (c) => [c.document, c.page ? "page " + c.page : "", c.section || ""].filter(Boolean).join(" · ");

function finish(card, text, answer) {
  const shown = new Map(answer.citations.map((c, n) => [c.number, n + 1]));
  const marks = answer.annotations.map((a) => a.url_citation)
    .filter((u) => shown.has(u.number)).sort((a, b) => a.end_index - b.end_index);
  const letters = Array.from(answer.text);  // offsets count characters, not UTF-16 units
  const nodes = [];
  let from = 0;
  for (const mark of marks) {
    nodes.push(letters.slice(from, mark.end_index).join(""));
    nodes.push(reference(answer.citations[shown.get(mark.number) - 1], shown.get(mark.number)));
    from = mark.end_index;
  }
  text.replaceChildren(...nodes, letters.slice(from).join(""));
  if (answer.citations.length) {
    const list = make("ul", "sources");
    list.setAttribute("aria-label", "Sources");
    answer.citations.forEach((citation, n) => {
      const item = make("li");
      const chip = make("button", "chip");
      chip.type = "button";
      chip.append(make("b", "", String(n + 1)), make("span", "", place(citation)));
      chip.setAttribute("aria-label", "Source " + (n + 1) + ": " + place(citation) + ". Show the passage.");
      chip.addEventListener("click", () => showPassage(citation, n + 1));
      item.append(chip);
      list.append(item);
    });
    card.append(list);
  }
  card.append(feedbackTools(card, answer));
}
function reference(citation, number) {
  const ref = make("button", "ref", String(number));
  ref.type = "button";
  ref.setAttribute("aria-label", "Source " + number + ": " + place(citation));
  ref.addEventListener("click", () => showPassage(citation, number));
  return ref;
}
function showPassage(citation, number) {
  $("passage-title").textContent = "[" + number + "] " + citation.document;
  $("passage-place").textContent = [
    citation.page ? "Page " + citation.page : "", citation.section || "",
    "characters " + citation.start + "–" + citation.end, "score " + citation.score.toFixed(2),
  ].filter(Boolean).join(" · ");
  $("passage-text").textContent = citation.text;
  openable($("passage-link"), citation.url);
  $("passage").showModal();
}
function openable(link, url) {
  link.href = url.startsWith("/v1/") ? url : "#";
  link.onclick = async (event) => {
    if (!sessionStorage.getItem("nexus-key")) return;
    event.preventDefault();  // a plain link cannot carry the key
    const [path, page] = url.split("#");
    const blob = await (await call(path)).blob();
    window.open(URL.createObjectURL(blob) + (page ? "#" + page : ""), "_blank", "noopener");
  };
}
for (const button of document.querySelectorAll("dialog .close")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
$("passage").addEventListener("click", (event) => {
  if (event.target === $("passage")) $("passage").close();
});

// -- feedback --------------------------------------------------------------------------------------
function feedbackTools(card, answer) {
  const row = make("div", "tools");
  const note = make("span", "note");
  note.setAttribute("role", "status");
  const up = make("button", "ghost thumb"), down = make("button", "ghost thumb down");
  up.append(thumb());
  down.append(thumb());
  up.type = down.type = "button";
  up.setAttribute("aria-label", "Good answer");
  down.setAttribute("aria-label", "Bad answer");
  const send = async (rating, more) => {
    try {
      await call("/v1/feedback", json({ response_id: answer.id, rating, ...more }));
      up.setAttribute("aria-pressed", String(rating === 1));
      down.setAttribute("aria-pressed", String(rating === -1));
      note.textContent = "Thank you.";
    } catch (error) { note.textContent = error.message; }
  };
  up.addEventListener("click", () => send(1, {}));
  down.addEventListener("click", () => {
    send(-1, {});
    if (!card.querySelector(".feedback")) card.append(correction(send));
  });
  row.append(up, down, note);
  return row;
}
function thumb() {
  const ns = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(ns, "svg");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(ns, "path");
  path.setAttribute("d", "M7 10v11H3V10zm0 0 5-8c1.7 0 3 1.3 3 3v4h5.2c1.2 0 2.1 1.1 1.8 2.3l-1.7 7.5c-.2.9-1 1.6-2 1.6H7");
  icon.append(path);
  return icon;
}
function correction(send) {
  const form = make("form", "feedback");
  const label = make("label", "", "What would have been right? (optional)");
  const better = make("textarea");
  better.rows = 2;
  label.append(better);
  const button = make("button", "ghost", "Send");
  button.type = "submit";
  const row = make("div", "row");
  row.append(button);
  form.append(label, row);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (better.value.trim()) await send(-1, { corrected_answer: better.value.trim() });
    form.remove();
  });
  setTimeout(() => better.focus());
  return form;
}

// -- documents -------------------------------------------------------------------------------------
const documentsPath = () => "/v1/indexes/" + encodeURIComponent(chosen().index) + "/documents";
$("docs-toggle").addEventListener("click", () => {
  const open = $("docs").hidden;
  $("docs").hidden = !open;
  $("docs-toggle").setAttribute("aria-expanded", String(open));
  if (open) refreshDocuments();
});
$("choose").addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => { upload($("files").files); $("files").value = ""; });
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && !$("docs").hidden) upload(event.dataTransfer.files);
  });
}
async function upload(files) {
  if (!files.length || !chosen() || !chosen().index) return;
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  $("upload-note").textContent = "Uploading " + files.length + (files.length === 1 ? " file …" : " files …");
  try {
    await call(documentsPath(), { method: "POST", body: form });
    $("upload-note").textContent = "Uploaded. Indexing begins by itself.";
  } catch (error) { $("upload-note").textContent = error.message; }
  refreshDocuments();
}
async function refreshDocuments(after) {
  clearTimeout(state.poll);
  const model = chosen();
  if (!model || !model.index || $("docs").hidden) return;
  let page;
  try {
    const query = after ? "?after=" + encodeURIComponent(after) : "";
    page = await (await call(documentsPath() + query)).json();
  } catch (error) {
    $("docs-count").textContent = error.message;
    return;
  }
  const rows = page.documents.map(row);
  if (after) $("doc-list").append(...rows); else $("doc-list").replaceChildren(...rows);
  $("docs-count").textContent = page.counts.indexed + " indexed"
    + (page.counts.pending ? ", " + page.counts.pending + " pending" : "")
    + (page.counts.failed ? ", " + page.counts.failed + " failed" : "");
  state.after = page.next;
  $("more").hidden = !page.next;
  if (page.counts.pending && !after) state.poll = setTimeout(refreshDocuments, 1500);
}
function row(doc) {
  const item = make("li");
  const name = make("a", "name", doc.document);
  name.target = "_blank";
  name.rel = "noopener noreferrer";
  openable(name, doc.status_url + "/content");
  item.append(name, make("span", "state " + doc.state, doc.state));
  if (doc.message && doc.state === "failed") item.append(make("span", "why", doc.message));
  return item;
}
$("more").addEventListener("click", () => refreshDocuments(state.after));

// -- reports ---------------------------------------------------------------------------------------
async function loadReports() {
  let list = [];
  try {
    list = (await (await call("/v1/reports")).json()).reports;
  } catch { /* a key that may not read reports sees no button */ }
  $("reports-open").hidden = !list.length;
  $("report-list").replaceChildren(...list.map((report) => {
    const item = make("li");
    const link = make("a", "name", (report.job ? report.job + " · " : "") + report.run);
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    openable(link, report.url);
    item.append(link, make("span", "note", report.created_at.slice(0, 16).replace("T", " ")));
    return item;
  }));
}
$("reports-open").addEventListener("click", () => { loadReports(); $("reports").showModal(); });

loadModels();
loadReports();
