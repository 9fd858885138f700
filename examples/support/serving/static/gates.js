// The picture of the gates: a column for each of the last characters, a row for each unit, a panel
// for each gate.

const NAMES = { i: "input", f: "forget", g: "candidate", o: "output", r: "reset", z: "update", n: "candidate" };
const SIGNED = new Set(["g", "n"]); // from -1 to 1; the others from 0 to 1
const MOST = 100; // characters
const LEFT = 78, BOTTOM = 18, GAP = 7, NARROWEST = 6.5; // in CSS pixels

export class Gates {
  constructor(canvas, reading) {
    this.canvas = canvas;
    this.reading = reading;
    this.said = reading.textContent;
    this.names = [];
    this.units = 0;
    this.clear();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointermove", (event) => this.point(event));
    canvas.addEventListener("pointerleave", () => this.look(null));
    canvas.addEventListener("blur", () => this.look(null));
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  // What the network has: the names of its gates, and how many units.
  describe(names, units) {
    this.names = names;
    this.units = units;
    const panel = Math.min(192, Math.max(64, units)); // no unit is left out, where there is room
    this.canvas.style.height = `${names.length * (panel + GAP) + BOTTOM}px`;
    this.clear();
  }

  clear() {
    this.columns = []; // {text, at, gates}: at is its place in the whole text
    this.place = null; // what is looked at: {at, row}, row over all panels
    this.draw();
  }

  add(text, at, gates) {
    this.columns.push({ text, at, gates });
    if (this.columns.length > MOST) this.columns.shift();
    this.draw();
  }

  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      this.paint();
    });
  }

  // Where things are, in CSS pixels.
  layout() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const fits = Math.max(1, Math.min(MOST, Math.floor((width - LEFT) / NARROWEST)));
    const panel = (height - BOTTOM) / Math.max(1, this.names.length) - GAP;
    return { width, height, fits, panel, across: (width - LEFT) / fits };
  }

  paint() {
    const { width, height, fits, panel, across } = this.layout();
    const ratio = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.textBaseline = "middle";
    const shown = this.columns.slice(-fits);
    this.names.forEach((name, k) => {
      const top = k * (panel + GAP);
      pen.fillStyle = colour("shut");
      pen.fillRect(LEFT, top, width - LEFT, panel);
      pen.fillStyle = colour("ink");
      pen.font = `13px ${style.fontFamily}`;
      pen.textAlign = "right";
      pen.fillText(NAMES[name] ?? name, LEFT - 10, top + panel / 2 - 8);
      pen.fillStyle = colour("quiet");
      pen.font = "italic 13px serif";
      pen.fillText(name, LEFT - 10, top + panel / 2 + 9);
      if (shown.length && this.units) {
        const table = scale(SIGNED.has(name), colour);
        pen.imageSmoothingEnabled = this.units > panel;
        pen.drawImage(this.image(shown, name, table), LEFT, top, shown.length * across, panel);
      }
    });
    pen.font = "11px ui-monospace, monospace";
    pen.textAlign = "center";
    pen.fillStyle = colour("quiet");
    shown.forEach(({ text }, c) => {
      pen.fillText(visible(text), LEFT + (c + 0.5) * across, height - BOTTOM / 2);
    });
    this.mark(pen, shown, { panel, across }, colour("cursor"));
  }

  // One gate of the columns shown, a pixel for each value.
  image(shown, name, table) {
    const drawn = new ImageData(shown.length, this.units);
    const pixels = new Uint32Array(drawn.data.buffer);
    shown.forEach(({ gates }, c) => {
      gates[name].forEach((value, u) => {
        pixels[u * shown.length + c] = table[value + 100];
      });
    });
    const canvas = new OffscreenCanvas(shown.length, this.units);
    canvas.getContext("2d").putImageData(drawn, 0, 0);
    return canvas;
  }

  mark(pen, shown, { panel, across }, colour) {
    const c = this.place === null ? -1 : shown.findIndex(({ at }) => at === this.place.at);
    if (c < 0) return;
    const k = Math.floor(this.place.row / this.units), unit = this.place.row % this.units;
    pen.strokeStyle = colour;
    pen.lineWidth = 1.5;
    this.names.forEach((_, i) => pen.strokeRect(LEFT + c * across, i * (panel + GAP), across, panel));
    const y = k * (panel + GAP) + ((unit + 0.5) * panel) / this.units;
    pen.beginPath();
    pen.arc(LEFT + (c + 0.5) * across, y, 4, 0, 2 * Math.PI);
    pen.stroke();
  }

  point(event) {
    const { fits, panel, across } = this.layout();
    const column = this.columns.slice(-fits)[Math.floor((event.offsetX - LEFT) / across)];
    const k = Math.floor(event.offsetY / (panel + GAP));
    const inside = (event.offsetY - k * (panel + GAP)) / panel;
    const there = column && event.offsetX >= LEFT && k < this.names.length && inside < 1;
    this.look(there ? { at: column.at, row: k * this.units + Math.floor(inside * this.units) } : null);
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const move = moves[event.key];
    const shown = this.columns.slice(-this.layout().fits);
    if (!move || !shown.length) return;
    event.preventDefault();
    const [first, last] = [shown[0].at, shown.at(-1).at];
    const { at, row } = this.place ?? { at: last - move[0], row: -move[1] };
    this.look({
      at: Math.min(last, Math.max(first, at + move[0])),
      row: Math.min(this.names.length * this.units - 1, Math.max(0, row + move[1])),
    });
  }

  look(place) {
    this.place = place;
    const i = place === null ? -1 : this.columns.findIndex(({ at }) => at === place.at);
    if (i < 0) {
      this.reading.textContent = this.said;
    } else {
      const name = this.names[Math.floor(place.row / this.units)], unit = place.row % this.units;
      const value = (this.columns[i].gates[name][unit] / 100).toFixed(2);
      const text = (part) => part.map((column) => visible(column.text)).join("");
      const near = `${text(this.columns.slice(Math.max(0, i - 14), i))}[${visible(this.columns[i].text)}]`;
      const after = text(this.columns.slice(i + 1, i + 9));
      this.reading.textContent = `${NAMES[name] ?? name} ${name}, unit ${unit + 1}: ${value}   at ${near}${after}`;
    }
    this.draw();
  }
}

const visible = (text) => ({ "\n": "↵", " ": "·", "\t": "→", "": "…" })[text] ?? text;

// Colours for -100 to 100 as pixels, between those of the style sheet.
function scale(signed, colour) {
  const [shut, half, open, minus] = ["shut", "half", "open", "minus"].map((name) => parts(colour(name)));
  return Uint32Array.from({ length: 201 }, (_, i) => {
    const value = (i - 100) / 100;
    if (value < 0) return signed ? between(shut, minus, -value) : between(shut, half, 0);
    return value < 0.5 ? between(shut, half, 2 * value) : between(half, open, 2 * value - 1);
  });
}

const parts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function between(a, b, share) {
  const [red, green, blue] = a.map((x, i) => Math.round(x + (b[i] - x) * share));
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
