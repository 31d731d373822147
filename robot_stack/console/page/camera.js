"use strict";
// One camera, in a thread of its own: its connection, its pictures and the path of the tool over them. However busy or stuck it is,
// the page's keyboard and STOP are not.

let canvas, size = { width: 0, height: 0, scale: 1 }, armed = false, shown = 0, wait = 250;

onmessage = ({ data }) => {
  if (data.size) size = data.size;
  if (data.armed !== undefined) armed = data.armed;
  if (data.canvas) {
    canvas = data.canvas;
    open(data.url, data.ratio);
  }
};

function open(url, ratio) {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { wait = 250; postMessage({ up: true }); socket.send("next"); };
  socket.onclose = () => {
    postMessage({ up: false });
    setTimeout(() => open(url, ratio), wait);
    wait = Math.min(2 * wait, 2000);
  };
  socket.onmessage = async ({ data }) => {
    const length = new DataView(data).getUint32(0);
    try {
      if (data.byteLength > 4) {
        const drawn = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
        const picture = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
        paint(picture, drawn, ratio);
        picture.close();
        postMessage({ shown: ++shown });
      }
    } finally {
      socket.send("next"); // only now: a slow browser gets the newest next, and nothing waits for it
    }
  };
}

function paint(picture, drawn, ratio) {
  const { width, height, scale } = size, draw = canvas.getContext("2d");
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  draw.setTransform(scale, 0, 0, scale, 0, 0);
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
  const colour = armed ? "37,224,255" : "200,206,214";
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
