// A completion product in small: ask, show, and say what became of it.
//
//     cd examples && npm install && npx tsx complete.ts
//
// OPENAI_BASE_URL and OPENAI_API_KEY say where the service is, as for any OpenAI client.
import { randomUUID } from "node:crypto";
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8090/v1",
  apiKey: process.env.OPENAI_API_KEY ?? "none",
});

type Signal = "accepted" | "rejected" | "edited" | "correction" | "thumbs" | "comment" | "reward" | "shown";

/** It resolved: the feedback is durable. The id makes sending it twice harmless. */
async function react(generation: string, signal: Signal, said: { text?: string; value?: number } = {}) {
  await client.post("/feedback", { body: { generation, signal, id: randomUUID(), ...said }, maxRetries: 5 });
}

const answer = await client.completions.create({
  model: "code",
  prompt: "def area(width, height):\n    return",
  max_tokens: 24,
  temperature: 0,
  stop: ["\n"],
  user: "u-17",
  // The session stays on one side of a canary; the surface is where it was shown.
  // @ts-expect-error the client's types know metadata for chats only
  metadata: { session: "s-4", surface: "editor", language: "python" },
});
const { checkpoint } = answer as typeof answer & { checkpoint: string };
const text = answer.choices[0]?.text ?? "";
console.log(`${checkpoint} suggests ${JSON.stringify(text)}`);
if (text.trim() === "width * height") {
  await react(answer.id, "accepted");
} else {
  await react(answer.id, "rejected");
  await react(answer.id, "correction", { text: " width * height" });
}

const stream = await client.chat.completions.create({
  model: "code",
  messages: [{ role: "user", content: "Say hello in one word." }],
  max_tokens: 16,
  stream: true,
  metadata: { session: "s-5", surface: "chat" },
});
let generation = "";
for await (const chunk of stream) {
  generation = chunk.id;
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
}
process.stdout.write("\n");
await react(generation, "thumbs", { value: 1 });
await react(generation, "comment", { text: "short, as I asked" });
console.log("recorded");
