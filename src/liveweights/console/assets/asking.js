// What is asked of the API, the same as a program, and what comes back as it comes.

// The body of a request; `about` is what the form says. Throws what is wrong with it, in words.
export function requestOf(about, turns, message) {
  const shared = {
    model: about.model, temperature: about.temperature, max_tokens: about.most, stream: true,
  };
  if (about.kind !== "chat") {
    if (about.tools || about.schema) throw new Error("Tools and a schema are of a chat.");
    const logprobs = about.tokens ? { logprobs: 5 } : {};
    return { path: "/v1/completions", body: { ...shared, ...logprobs, prompt: message } };
  }
  const body = { ...shared, messages: messagesOf(about, turns, message) };
  if (about.tokens) Object.assign(body, { logprobs: true, top_logprobs: 5 });
  if (about.tools) {
    body.tools = parse(about.tools, "The tools");
    if (!Array.isArray(body.tools)) throw new Error("The tools are not a JSON list: begin with [.");
  }
  if (about.schema) {
    const schema = parse(about.schema, "The schema");
    body.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  }
  return { path: "/v1/chat/completions", body };
}

function messagesOf(about, turns, message) {
  const system = about.system ? [{ role: "system", content: about.system }] : [];
  return [...system, ...turns, ...(message === null ? [] : [{ role: "user", content: message }])];
}

function parse(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} are not JSON: ${error.message}.`.replace("schema are", "schema is"));
  }
}

export function curlOf({ path, body }, keyed) {
  const json = JSON.stringify({ ...body, stream: false }).replaceAll("'", "'\\''");
  const key = keyed ? " -H \"authorization: Bearer $API_KEY\"" : "";
  return `curl ${location.origin}${path} -H 'content-type: application/json'${key} \\\n  -d '${json}'`;
}

export function pythonOf({ path, body }, keyed) {
  const { stream, ...asked } = body;
  const key = keyed ? "os.environ[\"API_KEY\"]" : "\"unused\"";
  const what = path.endsWith("chat/completions") ? "chat.completions" : "completions";
  const words = Object.entries(asked).map(([name, value]) => `    ${name}=${literal(value)},\n`);
  const said = path.endsWith("chat/completions") ? "message.content" : "text";
  return [
    keyed ? "import os\n\n" : "", "from openai import OpenAI\n\n",
    `client = OpenAI(base_url="${location.origin}/v1", api_key=${key})\n`,
    `answer = client.${what}.create(\n${words.join("")})\n`,
    `print(answer.choices[0].${said})\n`,
  ].join("");
}

// A value of JSON as Python writes it; its texts are written alike.
function literal(value) {
  if (value === null) return "None";
  if (value === true || value === false) return value ? "True" : "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one)}`);
  return `{${members.join(", ")}}`;
}

// The pieces of a stream of chunks: text, thoughts, tokens with their probabilities, calls of
// tools. Throws what the API says went wrong.
export async function* read(response) {
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
      if (chunk.choices && chunk.choices[0]) yield pieceOf(chunk.choices[0]);
    }
  }
}

function pieceOf(choice) {
  const delta = choice.delta || {};
  return {
    text: delta.content || choice.text || "",
    thought: delta.reasoning_content || "",
    calls: delta.tool_calls || [],
    tokens: tokensOf(choice.logprobs),
  };
}

// Of either dialect: each token's text, its log-probability, and the likeliest in its place.
function tokensOf(logprobs) {
  if (!logprobs) return [];
  if (logprobs.content) {
    return logprobs.content.map((one) => ({
      text: one.token,
      logprob: one.logprob,
      others: (one.top_logprobs || []).map((other) => [other.token, other.logprob]),
    }));
  }
  return (logprobs.tokens || []).map((text, place) => ({
    text,
    logprob: logprobs.token_logprobs[place],
    others: Object.entries((logprobs.top_logprobs || [])[place] || {}),
  }));
}

export async function failure(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The service answered ${response.status}.`;
  }
}
