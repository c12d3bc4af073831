// Asks the server by OpenAI's own client for Node, and prints what came.

import { createRequire } from "node:module";

const [baseURL, token, rare, packages] = process.argv.slice(2);
const { default: OpenAI } = createRequire(`${packages}/`)("openai");
const client = new OpenAI({ baseURL, apiKey: token, maxRetries: 0 });
const messages = [
  { role: "system", content: "Be brief." },
  { role: "user", content: "word ".repeat(2_000_000) },
  { role: "assistant", content: "Yes?" },
  { role: "user", content: "How long?" },
];

async function refused(answer) {
  try {
    await answer;
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error;
    throw error;
  }
  throw new Error("it was answered");
}

function ask(content = "?", settings = {}, by = client, options = {}) {
  const body = { model: "abyme", messages: [{ role: "user", content }], ...settings };
  return by.chat.completions.create(body, options);
}

const whole = await client.chat.completions.create({
  model: "abyme",
  messages,
  temperature: 0.2,
  max_tokens: 50,
});
let streamed = "";
let thoughts = "";
let usage = null;
const stream = await client.chat.completions.create({
  model: "abyme",
  messages,
  stream: true,
  stream_options: { include_usage: true },
});
for await (const chunk of stream) {
  usage = chunk.usage ?? usage;
  for (const { delta } of chunk.choices) {
    streamed += delta.content ?? "";
    thoughts += delta.reasoning_content ?? "";
  }
}

const wrongToken = await refused(ask("?", {}, new OpenAI({ baseURL, apiKey: `${token}x`, maxRetries: 0 })));
const wrongModel = await refused(ask("?", { model: "gpt-5" }));
const wrongContent = await refused(ask([{ type: "image_url", image_url: { url: "data:," } }]));
// With its retries, which the server asks it not to make.
const failed = await refused(ask("fail_auth", {}, client, { maxRetries: 3 }));
let failedStream = false;
try {
  for await (const _ of await ask("fail_auth", { stream: true }));
} catch (error) {
  failedStream = String(error).includes("the key of the server's model is wrong");
}
const limited = new OpenAI({ baseURL, apiKey: rare, maxRetries: 0 });
await ask("?", {}, limited);
const tooOften = await refused(ask("?", {}, limited));
const wait = Number(tooOften.headers.get("retry-after"));

const models = [];
for await (const model of await client.models.list()) models.push(model.id);
const counts = (it) => [it.prompt_tokens, it.completion_tokens, it.total_tokens];
console.log(
  JSON.stringify({
    models,
    answer: whole.choices[0].message.content,
    finish_reason: whole.choices[0].finish_reason,
    usage: [...counts(whole.usage), whole.usage.prompt_tokens_details.cached_tokens],
    streamed,
    streamed_usage: counts(usage),
    thought: thoughts.includes("length = sum("),
    wrong_token: [wrongToken.status, wrongToken.code],
    wrong_model: [wrongModel.status, wrongModel.code],
    wrong_content: [wrongContent.status, wrongContent.param],
    failed: failed.status,
    failed_stream: failedStream,
    too_often: [tooOften.status, wait > 0 && wait <= 60],
  }),
);
