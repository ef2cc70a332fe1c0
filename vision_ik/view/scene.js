function (svg, data) {
  const groups = [...svg.querySelectorAll("g[data-i]")];
  let azimuth = data.azimuth, elevation = data.elevation, zoom = 1, waiting = false;
  function draw() {
    waiting = false;
    const a = azimuth * Math.PI / 180, e = elevation * Math.PI / 180;
    const right = [-Math.sin(a), Math.cos(a), 0];
    const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
    const near = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const dot = (p, d) => (p[0] - data.centre[0]) * d[0] + (p[1] - data.centre[1]) * d[1] + (p[2] - data.centre[2]) * d[2];
    const s = data.scale * zoom, [w, h] = data.size, depth = new Map();
    for (const g of groups) {
      const points = data.points[g.dataset.i];
      const xy = points.map(p => [w / 2 + s * dot(p, right), h / 2 - s * dot(p, up)]);
      depth.set(g, g.classList.contains("floor") ? -1e9 : points.reduce((sum, p) => sum + dot(p, near), 0) / points.length);
      const shape = g.firstElementChild;
      if (shape.tagName === "circle") { shape.setAttribute("cx", xy[0][0]); shape.setAttribute("cy", xy[0][1]); }
      else shape.setAttribute("points", xy.map(p => p[0].toFixed(1) + "," + p[1].toFixed(1)).join(" "));
      const text = g.querySelector("text");
      if (text) { text.setAttribute("x", xy[0][0] + 6); text.setAttribute("y", xy[0][1] - 6); }
    }
    for (const g of [...groups].sort((one, other) => depth.get(one) - depth.get(other))) svg.appendChild(g);
  }
  function later() { if (!waiting) { waiting = true; requestAnimationFrame(draw); } }
  let from = null;
  svg.addEventListener("pointerdown", event => { from = [event.clientX, event.clientY]; svg.setPointerCapture(event.pointerId); });
  svg.addEventListener("pointerup", () => { from = null; });
  svg.addEventListener("pointercancel", () => { from = null; });
  svg.addEventListener("pointermove", event => {
    if (!from) return;
    azimuth -= 0.4 * (event.clientX - from[0]);
    elevation = Math.max(-89, Math.min(89, elevation + 0.4 * (event.clientY - from[1])));
    from = [event.clientX, event.clientY];
    later();
  });
  svg.addEventListener("wheel", event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom = Math.max(0.3, Math.min(8, zoom * Math.exp(-0.002 * event.deltaY)));
    later();
  }, { passive: false });
  svg.addEventListener("dblclick", () => { azimuth = data.azimuth; elevation = data.elevation; zoom = 1; later(); });
}
