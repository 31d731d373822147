"use strict";
// What is drawn: the cameras with the path of the tool, and the joints over time. STOP does not need this file.

const PAST_S = 10, AHEAD_S = 1.6;
const past = []; // {at, q, command}: what the joint plot shows

function canvasOf(canvas) { // its context, sized for this screen, in CSS pixels
  const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const draw = canvas.getContext("2d");
  draw.setTransform(scale, 0, 0, scale, 0, 0);
  return [draw, width, height];
}

function watch({ name, width, height }) {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas"), caption = document.createElement("figcaption");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `camera ${name} with the path of the tool`);
  figure.dataset.camera = name;
  figure.dataset.shown = 0;
  caption.textContent = `${name}: no picture yet`;
  figure.append(canvas, caption);
  $("cameras").append(figure);
  let at = 0;
  const link = connect(name, `/camera/${encodeURIComponent(name)}`, {
    opened: () => link.send("next"),
    hear: async ({ data }) => {
      const length = new DataView(data).getUint32(0);
      try {
        if (data.byteLength > 4) {
          const drawn = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
          const picture = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
          paint(canvas, picture, drawn, width / height);
          picture.close();
          at = performance.now();
          figure.dataset.shown = Number(figure.dataset.shown) + 1;
        }
      } finally {
        link.send("next"); // only now: a slow browser gets the newest next, and nothing waits for it
      }
    },
  });
  setInterval(() => {
    const silent = performance.now() - at > STALE_MS;
    figure.dataset.old = silent;
    caption.textContent = silent ? `${name}: no picture${at ? ` for ${((performance.now() - at) / 1000).toFixed(0)} s` : " yet"}` : name;
  }, 300);
}

function paint(canvas, picture, drawn, ratio) {
  const [draw, width, height] = canvasOf(canvas);
  const w = Math.min(width, height * ratio), h = w / ratio, x0 = (width - w) / 2, y0 = (height - h) / 2;
  const x = (share) => x0 + share * w, y = (share) => y0 + share * h;
  draw.fillStyle = "#000";
  draw.fillRect(0, 0, width, height);
  draw.imageSmoothingQuality = "high";
  draw.drawImage(picture, x0, y0, w, h);
  draw.save();
  draw.beginPath();
  draw.rect(x0, y0, w, h);
  draw.clip();
  for (const [u, v, r] of drawn.hazards ?? []) ring(draw, x(u), y(v), r * w, "#ff3b3b", 3, [8, 5]);
  path(draw, (drawn.path ?? []).map((point) => point && [x(point[0]), y(point[1]), point[2]]));
  draw.restore();
}

function path(draw, points) { // bright where it is soon, fading towards the end of the chunk; a ring where the tool is
  const armed = shownMode === "policy" || shownMode === "teleop", colour = armed ? "37,224,255" : "200,206,214";
  const last = points.length ? points[points.length - 1]?.[2] || 1 : 1;
  draw.lineCap = "round";
  for (let i = 1; i < points.length; i++) {
    if (!points[i - 1] || !points[i]) continue;
    for (const [wide, ink] of [[7, "0,0,0"], [4, colour]]) {
      draw.strokeStyle = `rgba(${ink},${1 - 0.7 * Math.min(1, points[i][2] / last)})`;
      draw.lineWidth = wide;
      draw.beginPath();
      draw.moveTo(points[i - 1][0], points[i - 1][1]);
      draw.lineTo(points[i][0], points[i][1]);
      draw.stroke();
    }
  }
  const end = points.length > 1 && points[points.length - 1];
  if (end) { draw.fillStyle = `rgb(${colour})`; draw.beginPath(); draw.arc(end[0], end[1], 6, 0, 7); draw.fill(); }
  if (points[0]) ring(draw, points[0][0], points[0][1], 10, "#fff", 3, []);
}

function ring(draw, x, y, radius, colour, wide, dash) {
  draw.setLineDash(dash);
  for (const [w, ink] of [[wide + 3, "#000a"], [wide, colour]]) {
    draw.strokeStyle = ink;
    draw.lineWidth = w;
    draw.beginPath();
    draw.arc(x, y, radius, 0, 7);
    draw.stroke();
  }
  draw.setLineDash([]);
}

function remember(state) {
  const at = performance.now() / 1000;
  past.push({ at, q: state.q, command: state.command });
  while (past.length && past[0].at < at - PAST_S) past.shift();
}

function plot(state) {
  const [draw, width, height] = canvasOf($("plot")), joints = facts.joints, columns = width > 900 ? 2 : 1;
  const rows = Math.ceil(joints.length / columns), h = height / rows, w = width / columns;
  draw.clearRect(0, 0, width, height);
  joints.forEach((joint, j) => strip(draw, joint, j, state, Math.floor(j / rows) * w, (j % rows) * h, w - 16, h));
}

function strip(draw, joint, j, state, x0, y0, w, h) { // name and value, where it is between its limits, then time from left to right
  const label = h > 44 ? 150 : 236, gauge = 12, left = x0 + label + gauge + 16, wide = w - (left - x0), now = performance.now() / 1000;
  const value = state.q?.[j] ?? null, share = (v) => (v - joint.min) / (joint.max - joint.min);
  const near = value !== null && Math.min(share(value), 1 - share(value)) < 0.05;
  draw.font = "600 17px system-ui, 'DejaVu Sans', sans-serif";
  draw.textBaseline = "middle";
  draw.fillStyle = "#9aa7b5";
  draw.fillText(joint.name, x0, y0 + h / 2 - (h > 44 ? 11 : 0), h > 44 ? label : label - 112);
  draw.fillStyle = near ? "#ffb020" : "#eef2f6";
  draw.textAlign = h > 44 ? "left" : "right";
  draw.fillText(`${number(value)} ${joint.unit}`, h > 44 ? x0 : x0 + label, y0 + h / 2 + (h > 44 ? 12 : 0));
  draw.textAlign = "left";
  draw.fillStyle = "#0c1016";
  draw.fillRect(x0 + label + 6, y0 + 4, gauge, h - 8);
  draw.fillRect(left, y0 + 4, wide, h - 8);
  if (value !== null) {
    draw.fillStyle = near ? "#ffb020" : "#fff";
    draw.fillRect(x0 + label + 6, y0 + 4 + (h - 12) * (1 - Math.max(0, Math.min(1, share(value)))), gauge, 4);
  }
  const ahead = (state.ahead?.t ?? []).map((t, i) => [now + t, state.ahead.q[i][j]]);
  const lines = [
    [past.map((p) => [p.at, p.command?.[j] ?? null]), "#2fbf71", 2, []],
    [past.map((p) => [p.at, p.q?.[j] ?? null]), "#fff", 2.5, []],
    [ahead, "#25e0ff", 3, [3, 4]],
  ];
  const all = lines.flatMap(([points]) => points.map((p) => p[1])).filter((v) => v !== null);
  if (!all.length) return;
  const middle = (Math.max(...all) + Math.min(...all)) / 2;
  const span = Math.max(1.15 * (Math.max(...all) - Math.min(...all)), 0.06 * (joint.max - joint.min));
  const x = (t) => left + (wide * (t - now + PAST_S)) / (PAST_S + AHEAD_S), y = (v) => y0 + h / 2 - ((v - middle) / span) * (h - 14);
  draw.save();
  draw.beginPath();
  draw.rect(left, y0 + 4, wide, h - 8);
  draw.clip();
  draw.fillStyle = "#29323d";
  draw.fillRect(x(now), y0, 2, h);
  draw.fillStyle = "rgba(255,59,59,.35)";
  draw.fillRect(left, y0 - 1e4, wide, y(joint.max) - y0 + 1e4);
  draw.fillRect(left, y(joint.min), wide, 1e4);
  for (const [points, colour, thick, dash] of lines) curve(draw, points, x, y, colour, thick, dash);
  draw.restore();
}

function curve(draw, points, x, y, colour, thick, dash) {
  draw.strokeStyle = colour;
  draw.lineWidth = thick;
  draw.setLineDash(dash);
  draw.beginPath();
  let down = false;
  for (const [t, v] of points) {
    if (v === null) down = false;
    else if (down) draw.lineTo(x(t), y(v));
    else { draw.moveTo(x(t), y(v)); down = true; }
  }
  draw.stroke();
  draw.setLineDash([]);
}
