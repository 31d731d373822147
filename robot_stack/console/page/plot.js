"use strict";
// The joints over time, drawn in a thread of its own: measured, commanded, and what the chunk wants next.

const PAST_S = 10, AHEAD_S = 1.6;
const past = []; // {at, q, command}
let canvas, joints, size = { width: 0, height: 0, scale: 1 };

onmessage = ({ data }) => {
  if (data.canvas) ({ canvas, joints } = data);
  if (data.size) size = data.size;
  if (data.state) {
    const at = performance.now() / 1000;
    past.push({ at, q: data.state.q, command: data.state.command });
    while (past.length && past[0].at < at - PAST_S) past.shift();
    plot(data.state);
  }
};

function plot(state) {
  const { width, height, scale } = size, draw = canvas.getContext("2d"), columns = width > 900 ? 2 : 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  draw.setTransform(scale, 0, 0, scale, 0, 0);
  const rows = Math.ceil(joints.length / columns), h = height / rows, w = width / columns;
  draw.clearRect(0, 0, width, height);
  joints.forEach((joint, j) => strip(draw, joint, j, state, Math.floor(j / rows) * w, (j % rows) * h, w - 16, h));
}

const number = (value) => (value === null ? "–" : value.toFixed(3));

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
