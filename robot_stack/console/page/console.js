"use strict";
// The operator's page. STOP comes first: its own connection, opened first, and nothing it needs waits for anything below it.

const $ = (id) => document.getElementById(id);
const STALE_MS = 1000, STOP_MS = 1500, ANSWER_MS = 8000, TWICE_MS = 3000;

const token = (() => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", "/"); // not to be read over a shoulder, nor kept in the history
  }
  return given || sessionStorage.getItem("token") || "";
})();

const banners = {};
function banner(of, text) {
  banners[of] = text;
  const all = Object.values(banners).filter(Boolean).join("  ·  ");
  $("banner").hidden = !all;
  $("banner").textContent = all;
}

const urlOf = (path) => `ws://${location.host}${path}?token=${encodeURIComponent(token)}`;
function lamp(name) {
  const light = document.createElement("li");
  light.textContent = name;
  $("links").append(light);
  return light;
}

// A connection that comes back by itself. `hear` gets the event, `opened` and `closed` are told.
function connect(name, path, { hear, opened = () => {}, closed = () => {} }) {
  const light = lamp(name);
  let socket, wait = 250, everOpen = false;
  const open = () => {
    socket = new WebSocket(urlOf(path));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { wait = 250; everOpen = true; light.dataset.up = true; banner("link", ""); opened(); };
    socket.onmessage = hear;
    socket.onclose = () => {
      light.dataset.up = false;
      closed();
      if (name === "stop") explain(everOpen);
      setTimeout(open, wait);
      wait = Math.min(2 * wait, 2000);
    };
  };
  open();
  return { send: (text) => socket.readyState === WebSocket.OPEN && (socket.send(text), true) };
}

async function explain(everOpen) {
  const there = await fetch("/console.css", { cache: "no-store" }).then((answer) => answer.ok, () => false);
  if (there && !everOpen) banner("link", "Refused: this address has no valid token. Open the address the console printed.");
  else if (!there) banner("link", "The console does not answer: STOP here does nothing now. Use the robot's emergency stop.");
}

// ---- STOP

const pressed = [];
function stopSaid(state, text) {
  $("stop").dataset.state = state;
  $("stop-said").dataset.state = state;
  $("stop-said").textContent = text;
}
const stopLink = connect("stop", "/stop", {
  hear: ({ data }) => {
    const press = pressed.shift(), answer = JSON.parse(data), ms = performance.now() - press.at;
    $("stop").dataset.ms = ms.toFixed(2);
    stopSaid(answer.ok ? "acked" : "failed", answer.ok ? `acked in ${ms.toFixed(0)} ms` : `failed: ${answer.said}`);
  },
  opened: () => stopSaid("ready", "ready"),
  closed: () => {
    stopSaid("failed", pressed.length ? "failed: connection lost" : "not connected");
    pressed.length = 0;
  },
});
function stop() {
  const press = { at: performance.now() };
  if (!stopLink.send("stop")) return stopSaid("failed", "failed: not connected. Use the emergency stop");
  pressed.push(press);
  stopSaid("sent", "sent…");
  setTimeout(() => { if (pressed.includes(press)) stopSaid("failed", "failed: no answer. Use the emergency stop"); }, STOP_MS);
}
$("stop").addEventListener("pointerdown", stop); // not `click`: that waits for the finger to be lifted
$("stop").addEventListener("click", (event) => { if (event.detail === 0) stop(); }); // pressed by a screen reader
const keys = (typing) => { $("stop").lastChild.textContent = typing ? "Esc" : "Space or Esc"; };
$("instruction").addEventListener("focus", () => keys(true));
$("instruction").addEventListener("blur", () => keys(false));
document.addEventListener("keydown", (event) => {
  const typing = event.target === $("instruction");
  const stops = event.key === "Escape" || (event.key === " " && !typing) || (event.key === "Enter" && event.target === $("stop"));
  if (stops) {
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) stop();
  } else if (event.key.toLowerCase() === "d" && !typing && !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey) {
    ask(document.querySelector("[data-do=disarm]"));
  }
}, true);
document.addEventListener("keyup", (event) => { // Space let go on a focused button would press it
  if (event.key === " " && event.target !== $("instruction")) event.preventDefault();
}, true);

// ---- other commands, one at a time

const asked = [];
function settle(entry, state, said) {
  clearTimeout(entry.timer);
  if (entry.button) entry.button.dataset.state = state;
  entry.line.dataset.state = state;
  entry.line.textContent = `${entry.name}: ${said}`;
}
const askLink = connect("commands", "/ask", {
  hear: ({ data }) => {
    const entry = asked.shift(), answer = JSON.parse(data);
    settle(entry, answer.ok ? "acked" : "failed", answer.ok ? answer.said || "done" : `refused: ${answer.said}`);
  },
  closed: () => { while (asked.length) settle(asked.shift(), "failed", "connection lost; it may or may not have been done"); },
});
function ask(button, text = "") {
  const what = button.dataset.do || "instruction";
  if ("twice" in button.dataset && button.dataset.state !== "asking") {
    button.dataset.state = "asking";
    setTimeout(() => { if (button.dataset.state === "asking") button.dataset.state = ""; }, TWICE_MS);
    return note(button.firstChild.textContent, "sent", "press again to throw the recording away");
  }
  const entry = { name: button.firstChild.textContent, button, line: note(button.firstChild.textContent, "sent", "sent…") };
  if (!askLink.send(JSON.stringify({ do: what, text }))) return settle(entry, "failed", "not connected");
  button.dataset.state = "sent";
  asked.push(entry);
  entry.timer = setTimeout(() => settle(entry, "failed", `no answer for ${ANSWER_MS / 1000} s`), ANSWER_MS);
}
function note(name, state, text) {
  const line = document.createElement("li");
  line.dataset.state = state;
  line.textContent = `${name}: ${text}`;
  $("answers").prepend(line);
  while ($("answers").children.length > 4) $("answers").lastChild.remove();
  return line;
}
for (const button of document.querySelectorAll("[data-do]")) button.addEventListener("click", () => ask(button));
$("instruct").addEventListener("submit", (event) => {
  event.preventDefault();
  ask($("instruct").querySelector("button"), $("instruction").value);
});

// ---- state

let facts = null, plot = null, heardAt = 0, stopShown = false;
const stateLink = connect("state", "/state", {
  opened: () => stateLink.send("next"),
  hear: ({ data }) => {
    const said = JSON.parse(data);
    if (said.facts) return meet(said.facts);
    heardAt = performance.now();
    try { show(said); } finally { stateLink.send("next"); }
  },
});

function meet(known) {
  if (facts) return; // the same console, after its connection was lost
  facts = known;
  document.title = `${facts.robot} console`;
  $("robot").textContent = `${facts.robot} (${facts.driver}), ${facts.source}${facts.shadow ? ", in shadow: nothing is sent" : ""}`;
  $("task").textContent = facts.instruction;
  $("instruction").value = facts.instruction;
  for (const camera of facts.cameras) watch(camera);
  plot = worker("plot.js", $("plot"), { joints: facts.joints });
}

// What is drawn is drawn by threads of their own: the keyboard waits for none of it.
function worker(file, canvas, given) {
  const there = new Worker(file), offscreen = canvas.transferControlToOffscreen();
  there.postMessage({ canvas: offscreen, ...given }, [offscreen]);
  const size = () => ({ width: canvas.clientWidth, height: canvas.clientHeight, scale: window.devicePixelRatio || 1 });
  new ResizeObserver(() => there.postMessage({ size: size() })).observe(canvas);
  return there;
}

const cameras = [];
function watch({ name, width, height }) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `camera ${name} with the path of the tool`);
  figure.dataset.shown = 0;
  figure.append(canvas, caption);
  $("cameras").append(figure);
  const light = lamp(name), camera = worker("camera.js", canvas, { url: urlOf(`/camera/${encodeURIComponent(name)}`), ratio: width / height });
  let at = 0;
  camera.onmessage = ({ data }) => {
    if (data.up !== undefined) light.dataset.up = data.up;
    if (data.shown) { figure.dataset.shown = data.shown; at = performance.now(); }
  };
  cameras.push(camera);
  setInterval(() => {
    const silent = performance.now() - at > STALE_MS;
    figure.dataset.old = silent;
    caption.textContent = silent ? `${name}: no picture${at ? ` for ${((performance.now() - at) / 1000).toFixed(0)} s` : " yet"}` : name;
  }, 300);
}

const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));

function show(state) {
  const silent = state.mode === null || state.ages.verdict > facts.oldest.verdict;
  const mode = silent ? "unknown" : state.mode;
  if ($("mode-box").dataset.mode !== mode) for (const camera of cameras) camera.postMessage({ armed: mode === "policy" || mode === "teleop" });
  $("mode-box").dataset.mode = mode;
  $("mode").textContent = silent ? "no verdict" : state.mode;
  $("mode-why").textContent = silent
    ? (state.mode === null ? "arm_node has said nothing yet" : `arm_node is silent; last: ${state.mode}, ${state.why}`)
    : `${ago(state.mode_s)} · ${state.why}`;
  if (state.mode === "stop") stopShown = true;
  else if (stopShown) { stopShown = false; stopSaid("ready", "ready"); }
  if (state.instruction !== null) $("task").textContent = state.instruction;
  tiles(state);
  score(state);
  ages(state.ages);
  events(state.events);
  health(state.health);
  recording(state.recording);
  plot.postMessage({ state: { q: state.q, command: state.command, ahead: state.ahead } });
}

function tiles(state) {
  const counts = state.counts && `${number(Math.min(...state.counts), 1)}–${number(Math.max(...state.counts), 1)}`;
  const shown = [
    ["Margin", number(state.margin), state.margin === null ? "" : state.margin < 0 ? "bad" : state.margin < 0.02 ? "look" : ""],
    ["Filter", state.decision ?? "–", state.mode === "disarmed" ? "" : { hold: "look", stop: "bad", limit: "look" }[state.decision] ?? ""],
    ["Pseudo-count", number(state.count, 1), "", counts ? `of ${state.counts.length}: ${counts}` : "the policy has no selector"],
    ["Thinking", state.thinking_ms === null ? "–" : `${state.thinking_ms.toFixed(0)} ms`, ""],
  ];
  const boxes = $("tiles").children;
  for (const [i, [name, value, look, title = ""]] of shown.entries()) {
    const box = boxes[i] ?? $("tiles").appendChild(tile(name));
    box.lastChild.textContent = value;
    box.dataset.state = look;
    box.title = title;
  }
}
function tile(name) {
  const box = document.createElement("div");
  box.append(document.createElement("dt"), document.createElement("dd"));
  box.firstChild.textContent = name;
  return box;
}

function score(state) {
  const [bar, line] = $("score").children;
  const top = Math.max(1.5 * (state.threshold ?? 1), state.score ?? 0, 1e-9);
  $("score").dataset.alarm = state.alarm;
  bar.style.width = `${(100 * (state.score ?? 0)) / top}%`;
  line.style.left = `${(100 * (state.threshold ?? 0)) / top}%`;
  $("score-text").textContent = `${number(state.score)} of ${number(state.threshold)}${state.cause ? ` · ${state.cause}` : ""}`;
}

function ages(known) {
  const body = $("ages").firstElementChild;
  for (const [i, name] of Object.keys(facts.oldest).entries()) {
    const row = body.rows[i] ?? body.insertRow();
    while (row.cells.length < 3) row.insertCell();
    const age = known[name] ?? null, limit = facts.oldest[name];
    row.cells[0].textContent = name;
    row.cells[1].textContent = age === null ? "none" : age.toFixed(2);
    row.cells[2].textContent = limit.toFixed(2);
    row.dataset.old = age === null || age > limit;
  }
}

const listed = {};
function list(id, items, line) { // leaves the page alone while nothing changed
  const now = JSON.stringify(items);
  if (listed[id] !== now) $(id).replaceChildren(...items.map(line));
  listed[id] = now;
}

const ago = (s) => (s < 100 ? `${s.toFixed(0)} s` : `${(s / 60).toFixed(0)} min`);
function events(told) {
  const shown = told.slice(0, 20).map(({ what, mode, text, bad, ago_s, for_s, ticks }) => {
    const change = what === "mode", long = ticks > 1 ? ` (${ago(for_s)}, ${ticks} ticks)` : "";
    return { what, bad, parts: [["time", ago(ago_s)], ["b", change ? mode : what], ["span", change ? text || "first seen" : text + long]] };
  });
  list("events", shown, ({ what, bad, parts }) => {
    const line = document.createElement("li");
    Object.assign(line.dataset, { what, bad });
    for (const [tag, text] of parts) line.appendChild(document.createElement(tag)).textContent = text;
    return line;
  });
}

function health(told) {
  $("unwell").textContent = told === null ? "nothing heard on /diagnostics" : told.length ? `${told.length} not well` : "all well";
  const order = { error: 0, stale: 1, warn: 2 };
  list("health", (told ?? []).sort((a, b) => order[a.level] - order[b.level]).slice(0, 6), ({ name, level, said }) => {
    const line = document.createElement("li");
    line.dataset.level = level;
    line.textContent = `${name}: ${said}`;
    return line;
  });
}

function recording(now) {
  const box = $("recording"), name = now?.path.split("/").pop();
  box.dataset.state = now === null ? "unknown" : now.fault ? "fault" : now.path ? "on" : "none";
  const marked = now?.mark ? ` · marked ${now.mark}` : "", lost = now?.dropped ? ` · ${now.dropped} messages dropped` : "";
  box.textContent = { unknown: "recorder does not answer", none: `not recording${marked && ", the last one"}${marked}`,
    on: `● REC ${ago(now?.for_s ?? 0)} · ${name}${marked}${lost}`, fault: `● REC ${name}: ${now?.fault}` }[box.dataset.state];
}

setInterval(() => {
  const silent = performance.now() - heardAt > STALE_MS;
  banner("state", silent && facts ? `Nothing heard for ${((performance.now() - heardAt) / 1000).toFixed(0)} s: what is shown is old.` : "");
  if (silent) { $("mode-box").dataset.mode = "unknown"; $("mode").textContent = "not connected"; }
}, 500);
