// The page of `napo serve`: a history on one side, what each run recommends after it on the other.
// All text goes in as text: a title is never read as HTML.

const $ = (id) => document.getElementById(id);
const state = { history: [], models: [], skipped: new Set(), events: false, token: sessionStorage.getItem("napo.token") };
const BAR_LEAST = 2; // per cent: something was bought once

function element(tag, attributes = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) made.addEventListener(event, act);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...inside.filter((one) => one !== null));
  return made;
}

function say(text) {
  $("said").replaceChildren(text ? element("span", {}, text) : "");
}

// --- the server -----------------------------------------------------------------------------------------------

class Refused extends Error {}

async function call(path, body, signal) {
  const headers = state.token ? { Authorization: `Bearer ${state.token}` } : {};
  const given = { headers, signal };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    Object.assign(given, { method: "POST", body: JSON.stringify(body) });
  }
  const answer = await fetch(path, given);
  if (answer.status === 401) {
    $("door").hidden = false;
    $("desk").hidden = true;
    $("token").focus();
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    const errors = (said.errors ?? []).map((one) => [one.what, one.remedy].filter(Boolean).join("; try "));
    throw new Refused(errors.join(". ") || `the server answered ${answer.status}`);
  }
  return answer;
}

const json = async (...given) => (await call(...given)).json();

// What is not an answer is told, and nothing is thrown further: the page stays usable.
async function told(work) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return null;
    say(error instanceof Refused ? error.message : "The server can't be reached.");
    return null;
  }
}

// --- search as you type -----------------------------------------------------------------------------------------

const search = { items: [], active: -1, asking: null };

async function look() {
  search.asking?.abort();
  const q = $("search").value.trim();
  if (!q) return shut();
  if (!state.models.length) return; // not here yet: begin() looks again
  search.asking = new AbortController();
  const path = `/v1/items?limit=8&q=${encodeURIComponent(q)}&model=${encodeURIComponent($("first").value)}`;
  const found = await told(() => json(path, undefined, search.asking.signal));
  if (found === null) return;
  search.items = found.items;
  search.active = found.items.length ? 0 : -1;
  const options = found.items.map((item, place) =>
    element("li", { id: `found-${place}`, role: "option", on: { mousedown: (event) => {
      event.preventDefault(); // the input keeps the focus
      choose(place);
    } } }, item.title));
  $("found").replaceChildren(...options);
  $("found").hidden = !options.length;
  $("search").setAttribute("aria-expanded", String(options.length > 0));
  mark();
  say(options.length ? "" : "No title like that.");
}

function mark() {
  [...$("found").children].forEach((one, place) => {
    one.setAttribute("aria-selected", String(place === search.active));
    if (place === search.active) one.scrollIntoView({ block: "nearest" });
  });
  if (search.active >= 0) $("search").setAttribute("aria-activedescendant", `found-${search.active}`);
  else $("search").removeAttribute("aria-activedescendant");
}

function shut() {
  search.asking?.abort();
  Object.assign(search, { items: [], active: -1 });
  $("found").hidden = true;
  $("found").replaceChildren();
  $("search").setAttribute("aria-expanded", "false");
  mark();
}

function choose(place) {
  const item = search.items[place];
  if (!item) return;
  $("search").value = "";
  shut();
  add(item);
}

function key(event) {
  const count = search.items.length;
  if (event.key === "ArrowDown" && count) search.active = (search.active + 1) % count;
  else if (event.key === "ArrowUp" && count) search.active = (search.active - 1 + count) % count;
  else if (event.key === "Enter" && count) choose(search.active);
  else if (event.key === "Escape") shut();
  else return;
  event.preventDefault();
  mark();
}

// --- the history ------------------------------------------------------------------------------------------------

function add(item) {
  if (state.history.some((one) => one.key === item.key)) return say(`${item.title} is in the history.`);
  state.history.push({ key: item.key, title: item.title });
  show();
  say(`${item.title} added.`);
}

function show() {
  $("history").replaceChildren(...state.history.map((item, place) =>
    element("li", {}, element("div", {}, element("span", {}, item.title),
      element("button", { type: "button", class: "small", "aria-label": `Remove ${item.title}`, on: { click: () => {
        state.history.splice(place, 1);
        show();
        ($("history").children[place] ?? $("history").lastElementChild)?.querySelector("button").focus();
        if (!state.history.length) $("search").focus();
      } } }, "Remove")))));
  $("empty").hidden = state.history.length > 0;
  $("clear").hidden = state.history.length === 0;
  refresh();
}

// --- the lists --------------------------------------------------------------------------------------------------

let asking = null;

function wanted(model) {
  const where = $("where").value.trim();
  return {
    model,
    history: state.history.map((item) => item.key),
    k: Math.min(100, Math.max(1, Number($("k").value) || 10)),
    filter: { where: where ? where.split(";").map((one) => one.trim()).filter(Boolean) : [], block: [...state.skipped] },
  };
}

async function refresh() {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const names = [$("first").value, $("second").value].filter(Boolean);
  for (const list of $("lists").children) list.setAttribute("aria-busy", "true");
  const found = await told(() => Promise.all(names.map((name) => json("/v1/recommend", wanted(name), signal))));
  for (const list of $("lists").children) list.removeAttribute("aria-busy");
  if (found === null || signal.aborted) return;
  const most = Math.max(1, ...found.flatMap((one) => one.items.map((item) => item.popularity)));
  const at = focused();
  $("lists").replaceChildren(...found.map((one, place) => list(one, found[1 - place], most)));
  at?.();
  // only what stands here was shown; nobody waits until it is kept
  if (state.events) for (const one of found) if (one.items.length) told(() => keep(one, one.items, "shown"));
}

// Gives what puts the focus back where it was: on the same button of the line that stands there now, or of the last one.
function focused() {
  const button = document.activeElement, line = button?.closest("#lists li");
  if (!line) return null;
  const section = line.closest(".list");
  const places = [section, line, button].map((one) => [...one.parentElement.children].indexOf(one));
  return () => {
    const lines = $("lists").children[places[0]]?.querySelectorAll("ol > li") ?? [];
    (lines[Math.min(places[1], lines.length - 1)]?.querySelectorAll(".acts button")[places[2]] ?? $("lists")).focus();
  };
}

// Items of a list were taken, skipped or shown. The key follows from what is said: said again, it is the same event.
function keep(found, items, kind) {
  const events = items.map((item) => ({ user: state.user, item: item.key, kind, request: found.request,
    position: item.rank, key: `${found.request}-${item.rank}-${kind}` }));
  return json("/v1/events", { model: found.model, events });
}

function list(found, other, most) {
  const ranks = other ? new Map(other.items.map((item) => [item.key, item.rank])) : null;
  const model = state.models.find((one) => one.name === found.model);
  const report = model?.report
    ? element("a", { href: `/report?model=${encodeURIComponent(found.model)}`, on: { click: opened } }, "Report") : null;
  const lines = found.items.map((item) => line(item, found, ranks, most));
  const named = { class: "list", "aria-label": `List of ${found.model}`, "data-request": found.request };
  return element("section", named,
    element("h2", {}, element("span", {}, found.model), report),
    ...found.notes.map((note) => element("p", { class: "muted" }, note)),
    element("ol", {}, ...lines));
}

// A link can't carry the token: then the report is fetched, and shown from memory.
async function opened(event) {
  if (!state.token) return;
  event.preventDefault();
  const shown = window.open("", "_blank");
  const page = await told(async () => (await call(event.target.getAttribute("href"))).blob());
  if (page && shown) shown.location = URL.createObjectURL(page);
}

function line(item, found, ranks, most) {
  const width = item.popularity ? Math.max(BAR_LEAST, (100 * Math.log1p(item.popularity)) / Math.log1p(most)) : 0;
  const fill = element("i");
  fill.style.width = `${width}%`;
  const said = `${item.popularity.toLocaleString()} ${item.popularity === 1 ? "event" : "events"} in training`;
  const why = element("div", { class: "why", id: `why-${found.model}-${item.item}`, hidden: "" });
  const ask = element("button", { type: "button", class: "small", "aria-expanded": "false", "aria-controls": why.id,
    "aria-label": `Why ${item.title}`, on: { click: () => explain(item, found, ask, why) } }, "Why");
  return element("li", { "data-key": item.key }, element("div", { class: "item" },
    element("span", { class: "rank" }, String(item.rank)),
    element("span", { class: "title" }, item.title),
    ranks ? moved(item.rank, ranks.get(item.key)) : element("span"),
    element("span", { class: "bar", role: "img", "aria-label": said, title: said }, fill),
    element("span", { class: "acts" },
      act(item, found, "took", "Take"), state.events ? act(item, found, "skipped", "Skip") : null, ask)), why);
}

function moved(rank, other) {
  if (other === undefined) return element("span", { class: "moved" }, "here alone");
  if (other === rank) return element("span", { class: "moved muted" }, "same rank");
  const up = other > rank;
  return element("span", { class: `moved ${up ? "up" : "down"}` }, `${up ? "▲" : "▼"} ${other} there`);
}

function act(item, found, kind, text) {
  return element("button", { type: "button", class: "small", "aria-label": `${text} ${item.title}`, on: { click: async () => {
    if (state.events && (await told(() => keep(found, [item], kind))) === null) return;
    if (kind === "took") add(item);
    else {
      state.skipped.add(item.key);
      say(`${item.title} skipped.`);
      refresh();
    }
  } } }, text);
}

async function explain(item, found, button, why) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  why.hidden = open;
  if (open || why.childElementCount) return;
  why.append(element("p", { class: "muted" }, "Working it out"));
  const body = { model: found.model, history: state.history.map((one) => one.key), titles: [item.key], explain: true };
  const answer = await told(() => json("/v1/score", body));
  const reason = answer?.scores[0].why;
  if (!reason) return why.replaceChildren(element("p", { class: "muted" }, "It can't be said."));
  const number = (value) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(2);
  const rows = [...reason.history].sort((a, b) => Math.abs(b.change) - Math.abs(a.change)).slice(0, 5);
  const lift = `The history makes it ${Math.exp(Math.abs(reason.lift)).toFixed(1)} times ` +
    `${reason.lift >= 0 ? "likelier" : "less likely"} than without one.`;
  why.replaceChildren(element("p", {}, lift), rows.length ? table("What each title of the history changes, nats", ["Title", "Change"],
    rows.map((one) => [one.title, number(one.change)])) : "",
  table("Token by token, log-probability", ["Token", "With history", "Without"],
    reason.tokens.map((one) => [one.text, number(one.log_prob), number(one.prior)])));
}

function table(caption, heads, rows) {
  return element("table", {}, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map(([head, ...cells]) =>
      element("tr", {}, element("th", { scope: "row" }, head), ...cells.map((cell) => element("td", {}, cell))))));
}

// --- the beginning ----------------------------------------------------------------------------------------------

async function begin() {
  const said = await told(() => json("/v1/models"));
  if (said === null) return;
  $("door").hidden = true;
  $("desk").hidden = false;
  state.models = said.models;
  const options = () => said.models.map((one) => element("option", { value: one.name }, one.name));
  $("first").replaceChildren(...options());
  $("second").replaceChildren(element("option", { value: "" }, "nothing"), ...options());
  if (said.models.length > 1) $("second").value = said.models[1].name;
  const paths = (await told(() => json("/openapi.json")))?.paths ?? {};
  state.events = "/v1/events" in paths;
  columns();
  show();
  look();
}

function columns() {
  const model = state.models.find((one) => one.name === $("first").value);
  const names = model?.columns ?? [];
  $("columns").textContent = names.length
    ? `Columns: ${names.join(", ")}. Such as ${names[0]}=...; several conditions part by ";".` : "This catalog has no columns.";
  $("where").disabled = !names.length;
}

function later(act, wait) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(act, wait);
  };
}

state.user = localStorage.getItem("napo.user") ?? `page-${Math.random().toString(36).slice(2, 12)}`;
localStorage.setItem("napo.user", state.user);
$("search").addEventListener("input", later(look, 120));
$("search").addEventListener("keydown", key);
$("search").addEventListener("blur", shut);
$("clear").addEventListener("click", () => {
  state.history = [];
  state.skipped.clear();
  show();
  $("search").focus();
});
for (const id of ["first", "second"]) $(id).addEventListener("change", () => { columns(); refresh(); });
for (const id of ["k", "where"]) $(id).addEventListener("input", later(refresh, 400));
$("door").addEventListener("submit", (event) => {
  event.preventDefault();
  state.token = $("token").value;
  sessionStorage.setItem("napo.token", state.token);
  begin();
});
begin();
