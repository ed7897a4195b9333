// Asks the API as any client does, shows answers as they come, and sends what was said of them.

const byId = (id) => document.getElementById(id);
const session = [...crypto.getRandomValues(new Uint8Array(8))]
  .map((byte) => byte.toString(16).padStart(2, "0")).join("");
let turns = [];
let stopping = null;

function headers() {
  const key = byId("key") && byId("key").value;
  return {
    "content-type": "application/json",
    "x-session-id": `playground-${session}`,
    "x-surface": "playground",
    ...(key ? { authorization: `Bearer ${key}` } : {}),
  };
}

// What is asked of the API: where, and with which body.
function requestOf(message) {
  const chat = byId("kind").value === "chat";
  const shared = {
    model: byId("answerer").value,
    temperature: Number(byId("temperature").value),
    max_tokens: Number(byId("most").value),
    stream: true,
  };
  if (!chat) return { path: "/v1/completions", body: { ...shared, prompt: message } };
  const messages = [...turns, { role: "user", content: message }];
  return { path: "/v1/chat/completions", body: { ...shared, messages } };
}

function curlOf({ path, body }) {
  const json = JSON.stringify({ ...body, stream: false }).replaceAll("'", "'\\''");
  const key = byId("key") ? " -H \"authorization: Bearer $API_KEY\"" : "";
  return `curl ${location.origin}${path} -H 'content-type: application/json'${key} \\\n  -d '${json}'`;
}

// The texts of a stream of chunks. Throws what the API says went wrong.
async function* read(response) {
  let rest = "";
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = (rest + decoder.decode(value, { stream: true })).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (!event.startsWith("data: ") || data === "[DONE]") continue;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      const choice = chunk.choices && chunk.choices[0];
      if (choice) yield choice.delta ? choice.delta.content || "" : choice.text || "";
    }
  }
}

async function failure(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The service answered ${response.status}.`;
  }
}

function addTurn(template, text) {
  const item = byId(template).content.firstElementChild.cloneNode(true);
  item.querySelector("pre").textContent = text;
  byId("talk").append(item);
  return item;
}

async function report(item, generation, feedback) {
  const thanks = item.querySelector(".thanks");
  const response = await fetch("/v1/feedback", {
    method: "POST", headers: headers(), body: JSON.stringify({ generation, ...feedback }),
  });
  thanks.textContent = response.ok ? "Recorded." : await failure(response);
  return response.ok;
}

// What can be said of an answer once it is there.
function takeReactions(item, generation, text) {
  const seen = item.querySelector(".seen");
  seen.href = `/answers/${encodeURIComponent(generation)}`;
  for (const part of [seen, item.querySelector(".rate"), item.querySelector(".better")]) part.hidden = false;
  for (const button of item.querySelectorAll("[data-signal]")) {
    const { signal, value } = button.dataset;
    button.addEventListener("click", () => report(item, generation, { signal, value: Number(value) }));
  }
  const correction = item.querySelector(".correct textarea");
  correction.value = text;
  const forms = { correct: ["correction", correction], comment: ["comment", item.querySelector(".comment input")] };
  for (const [name, [signal, field]] of Object.entries(forms)) {
    item.querySelector(`.${name}`).addEventListener("submit", async (event) => {
      event.preventDefault();
      const sent = await report(item, generation, { signal, text: field.value });
      if (sent) item.querySelector(".better").open = false;
    });
  }
}

function setBusy(busy) {
  byId("send").disabled = busy;
  byId("stop").hidden = !busy;
  byId("talk").setAttribute("aria-busy", String(busy));
}

async function ask(message) {
  const request = requestOf(message);
  addTurn("asked", message);
  const item = addTurn("answered", "");
  const shown = item.querySelector("pre");
  item.querySelector(".curl pre").textContent = curlOf(request);
  const state = byId("state");
  let text = "";
  let generation = null;
  stopping = new AbortController();
  setBusy(true);
  state.textContent = "Answering…";
  try {
    const response = await fetch(request.path, {
      method: "POST", headers: headers(), body: JSON.stringify(request.body), signal: stopping.signal,
    });
    if (!response.ok) throw new Error(await failure(response));
    generation = response.headers.get("x-generation-id");
    item.querySelector(".by").textContent = response.headers.get("x-checkpoint") || request.body.model;
    for await (const part of read(response)) {
      text += part;
      shown.textContent = text;
    }
    state.textContent = text ? "Answered." : "It chose to say nothing.";
    if (request.body.messages) turns = [...request.body.messages, { role: "assistant", content: text }];
  } catch (error) {
    state.textContent = error.name === "AbortError" ? "Stopped." : error.message;
  } finally {
    setBusy(false);
  }
  if (generation) takeReactions(item, generation, text);
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = byId("message").value;
  byId("message").value = "";
  ask(message);
});
byId("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("ask").requestSubmit();
});
byId("stop").addEventListener("click", () => stopping.abort());
byId("anew").addEventListener("click", () => {
  turns = [];
  byId("talk").replaceChildren();
  byId("state").textContent = "";
  byId("message").focus();
});
