// The form, the connection, and the text as it is written.

import { Gates } from "./gates.js";

const part = (id) => document.getElementById(id);
const [form, go, text, written, state] = ["ask", "go", "text", "written", "status"].map(part);
const gates = new Gates(part("gates"), part("reading"));
let socket, writing = false, count = 0, looks = false;

function say(words, wrong = false) {
  state.textContent = words;
  state.classList.toggle("wrong", wrong);
}

function set(now) {
  writing = now;
  go.textContent = now ? "Stop" : "Start";
  go.classList.toggle("stop", now);
  text.classList.toggle("writing", now);
}

// A promise of an open connection, whose first message was read.
function connect() {
  return new Promise((opened, refused) => {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    socket = new WebSocket(`${scheme}//${location.host}/write`);
    socket.addEventListener("message", (event) => hear(JSON.parse(event.data), opened));
    socket.addEventListener("close", ({ code, reason }) => {
      socket = undefined;
      set(false);
      say(`The connection is closed: ${reason || `code ${code}`}. Start connects again.`, true);
      refused(new Error(reason));
    });
  });
}

function hear(message, opened) {
  if (message.ready) {
    const { net, gates: names, units, limits } = message.ready;
    part("net").textContent = net;
    part("length").max = limits.length;
    looks = names.length > 0;
    gates.describe(names, units);
    say("Ready");
    opened();
  } else if (message.error) {
    set(false);
    say(message.error, true);
  } else if (message.done) {
    set(false);
    say(`${message.done === "stop" ? "Stopped after" : "Written:"} ${message.written} characters`);
  } else {
    const low = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
    written.append(message.text);
    count += 1;
    if (message.gates) gates.add(message.text, count, message.gates);
    if (low) text.scrollTop = text.scrollHeight;
  }
}

async function start() {
  if (!socket) await connect();
  const number = (id) => part(id).valueAsNumber;
  const prompt = part("prompt").value;
  part("given").textContent = prompt;
  written.replaceChildren();
  gates.clear();
  count = 0;
  set(true);
  say("Writing");
  socket.send(JSON.stringify({
    prompt,
    length: number("length"),
    temperature: number("temperature"),
    seed: number("seed"),
    rate: number("rate"),
    gates: looks,
  }));
}

const stop = () => socket?.send(JSON.stringify({ stop: true }));

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (writing) stop();
  else start().catch(() => {}); // said where the connection closed
});
for (const id of ["temperature", "rate"]) {
  part(id).addEventListener("input", () => (part(`${id}-said`).textContent = part(id).value));
}
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && writing) stop();
  if (event.key === "Enter" && event.ctrlKey) {
    event.preventDefault(); // in a field it would submit once more
    if (!writing) form.requestSubmit();
  }
});
connect().catch(() => {});
