// Vercel's AI SDK: a tool is called and its answer is told, streamed and whole.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [baseURL, , streamed] = process.argv.slice(2);
const cities = [];
const asked = {
  model: createOpenAICompatible({ name: "liveweights", baseURL, apiKey: "any" })("tiny"),
  prompt: "How is the weather in Rome?",
  maxRetries: 0,
  stopWhen: stepCountIs(3),
  tools: {
    get_weather: tool({
      description: "The weather in a city.",
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => {
        cities.push(city);
        return `sunny in ${city}`;
      },
    }),
  },
};

let text;
if (streamed === "streamed") {
  let failed;
  const answer = streamText({ ...asked, onError: ({ error }) => (failed = error) });
  const pieces = [];
  for await (const piece of answer.textStream) pieces.push(piece);
  if (failed) throw failed;
  text = pieces.join("");
} else {
  text = (await generateText(asked)).text;
}
console.log(JSON.stringify({ text, cities }));
