// Runs the shared scenarios with the official Node client: node scenarios.mjs CLIENT SCENARIOS URLS
// URLS maps what the engine says to a server's base URL; the results go to stdout as JSON.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [client, scenarios, urls] = process.argv.slice(2);
const { default: OpenAI } = await import(pathToFileURL(client).href);
const servers = JSON.parse(urls);

function method(openai, path) {
  const parts = path.split(".");
  const name = parts.pop();
  const owner = parts.reduce((object, part) => object[part], openai);
  return owner[name].bind(owner);
}

async function run(scenario, stream) {
  const openai = new OpenAI({ apiKey: "any", baseURL: servers[scenario.says ?? ""], maxRetries: 0 });
  const call = method(openai, scenario.call);
  try {
    if (!stream) return await call(scenario.parameters);
    const events = [];
    for await (const event of await call({ ...scenario.parameters, stream: true })) events.push(event);
    return events;
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return { error: { status: error.status, code: error.code, param: error.param } };
  }
}

const results = {};
for (const scenario of JSON.parse(readFileSync(scenarios, "utf8"))) {
  results[scenario.name] = [];
  for (const stream of scenario.streams === false ? [false] : [false, true]) {
    results[scenario.name].push(await run(scenario, stream));
  }
}
console.log(JSON.stringify(results));
